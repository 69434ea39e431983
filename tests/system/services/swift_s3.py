"""S3 by OpenStack Swift with its s3api: the strict one (signatures, real multipart ETags, part sizes)."""

import secrets
import urllib.error
import urllib.request
from pathlib import Path

from tests.system.services import packages, pki, ports
from tests.system.services.ground import Endpoint, Ground
from tests.system.services.process import spawn, wait_until

NEEDS = ()
PACKAGES = packages.SWIFT

BUCKET = "pilot-test"
REGION = "us-east-1"
STORAGE = ("account", "container", "object")


def install(ground: Ground) -> None:
    """Nothing beside the packages."""


def start(ground: Ground) -> Endpoint:
    """One replica on one device, one pair of keys, one bucket, which exists."""
    folder = ground.folder("swift_s3")
    for part in ("etc", "log", "cache", "device/d1"):
        ground.make("swift_s3", part)
    access, secret = f"test:key{secrets.token_hex(6)}", secrets.token_hex(20)
    proxy, memcached, *storage = ports.free(2 + len(STORAGE))
    _write_configuration(folder, access, secret, proxy, memcached, dict(zip(STORAGE, storage, strict=True)))
    rings = [f"{kind}={port}" for kind, port in zip(STORAGE, storage, strict=True)]
    script = str(Path(__file__).with_name("swift_rings.py"))
    pki.run(folder, "/usr/bin/python3 -P", script, str(folder / "etc"), *rings)
    cache = spawn(folder, ["memcached", "-u", "root", "-l", "127.0.0.1", "-p", str(memcached), "-m", "64"])
    servers = [spawn(folder, [f"swift-{kind}-server", folder / "etc" / f"{kind}-server.conf"]) for kind in STORAGE]
    servers.append(spawn(folder, ["swift-proxy-server", folder / "etc" / "proxy-server.conf"]))
    url = f"http://127.0.0.1:{proxy}"
    wait_until(
        folder, lambda: all(map(ports.answers, (memcached, *storage))) and _healthy(url), "swift", cache, *servers
    )
    endpoint: Endpoint = {
        "endpoint": url,
        "port": proxy,
        "access_key": access,
        "secret_key": secret,
        "region": REGION,
        "bucket": BUCKET,
    }
    _make_bucket(endpoint)
    return endpoint


def _healthy(url: str) -> bool:
    try:
        with urllib.request.urlopen(f"{url}/healthcheck", timeout=10) as answer:
            return bool(answer.status == 200)
    except (urllib.error.URLError, OSError):
        return False


def _make_bucket(endpoint: Endpoint) -> None:
    """Through Swift's own interface: its container is a bucket of the same user."""
    user, key = endpoint["access_key"], endpoint["secret_key"]
    asked = urllib.request.Request(
        f"{endpoint['endpoint']}/auth/v1.0", headers={"X-Storage-User": user, "X-Storage-Pass": key}
    )
    with urllib.request.urlopen(asked, timeout=30) as answer:
        account, token = answer.headers["X-Storage-Url"], answer.headers["X-Auth-Token"]
    made = urllib.request.Request(f"{account}/{endpoint['bucket']}", headers={"X-Auth-Token": token}, method="PUT")
    with urllib.request.urlopen(made, timeout=30):
        pass


def _write_configuration(
    folder: Path, access: str, secret: str, proxy: int, memcached: int, storage: dict[str, int]
) -> None:
    etc = folder / "etc"
    account, _, user = access.partition(":")
    shared = f"""
bind_ip = 127.0.0.1
user = root
workers = 0
swift_dir = {etc}
devices = {folder}/device
mount_check = false
log_level = WARNING
log_to_console = true
"""
    (etc / "swift.conf").write_text("[swift-hash]\nswift_hash_path_suffix = test\nswift_hash_path_prefix = test\n")
    for kind, port in storage.items():
        (etc / f"{kind}-server.conf").write_text(f"""
[DEFAULT]
bind_port = {port}
{shared}
recon_cache_path = {folder}/cache
[pipeline:main]
pipeline = {kind}-server
[app:{kind}-server]
use = egg:swift#{kind}
""")
    (etc / "proxy-server.conf").write_text(f"""
[DEFAULT]
bind_port = {proxy}
{shared}
[pipeline:main]
pipeline = catch_errors gatekeeper healthcheck cache s3api tempauth slo dlo proxy-server
[app:proxy-server]
use = egg:swift#proxy
allow_account_management = true
account_autocreate = true
[filter:catch_errors]
use = egg:swift#catch_errors
[filter:gatekeeper]
use = egg:swift#gatekeeper
[filter:healthcheck]
use = egg:swift#healthcheck
[filter:cache]
use = egg:swift#memcache
memcache_servers = 127.0.0.1:{memcached}
[filter:s3api]
use = egg:swift#s3api
location = {REGION}
[filter:tempauth]
use = egg:swift#tempauth
user_{account}_{user} = {secret} .admin
[filter:slo]
use = egg:swift#slo
[filter:dlo]
use = egg:swift#dlo
""")
