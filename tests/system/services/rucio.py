"""A Rucio server on SQLite, with four storage elements: a folder, XRootD, WebDAV (XRootD over https) and gfal2."""

import os
import subprocess
import urllib.error
import urllib.request
from pathlib import Path

from tests.system.services import packages, ports, venvs
from tests.system.services.ground import Endpoint, Ground, ServiceFailed, write_json
from tests.system.services.process import PATH, spawn, wait_until

NEEDS = ("pki", "gfal", "xrootd", "xrootd_tls")
PACKAGES = (*packages.XROOTD, *packages.GFAL, *packages.PYTHON)

USER, PASSWORD = "tester", "loopback-only"
SCOPE = "test"
WORKERS = 2
APPLICATION = "rucio.web.rest.flaskapi.v1.main:application"
PREPARED_WITHIN_S = 120


def install(ground: Ground) -> None:
    """The server and its clients in an environment of their own."""
    venvs.make(ground, "rucio")


def start(ground: Ground) -> Endpoint:
    """`python` with `env` has the Python clients set up (account root); any other installation of rucio-clients needs
    `env` only. `rses` tells of each storage element what it is; `trace_folder` is where the server writes the traces
    that it is sent. PATH is not in `env`: the xrootd element needs `xrdcp` on it."""
    folder = ground.folder("rucio")
    for part in ("etc", "log", "traces", "posix"):
        ground.make("rucio", part)
    python = venvs.python(ground, "rucio")
    (port,) = ports.free()
    url = f"http://127.0.0.1:{port}"
    (folder / "etc" / "rucio.cfg").write_text(_configuration(folder, python, url))
    (folder / "etc" / "alembic.ini").write_text(_migrations(folder, python))
    env = _client_env(ground)
    _python(python, "rucio_boot.py", env=env)
    server = spawn(
        folder,
        [python, "-m", "gunicorn", "--no-control-socket", "--workers", str(WORKERS), "--timeout", "120", "--bind",
         f"127.0.0.1:{port}", "--worker-tmp-dir", folder, APPLICATION],
        env=env,
        name="gunicorn",
    )  # fmt: skip
    wait_until(folder, lambda: _answers(f"{url}/ping"), "rucio", server, within_s=PREPARED_WITHIN_S)
    rses = _storage_elements(ground)
    for rse in rses.values():
        place = Path(str(rse["folder"]))
        place.mkdir(exist_ok=True)
        place.chmod(0o777)
    write_json(folder / "etc" / "rses.json", {"scope": SCOPE, "rses": rses})
    _python(python, "rucio_setup.py", str(folder / "etc" / "rses.json"), env=env)
    return {
        "url": url,
        "port": port,
        "python": str(python),
        "env": env,
        "account": "root",
        "username": USER,
        "password": PASSWORD,
        "scope": SCOPE,
        "rses": {name: {key: rse[key] for key in ("scheme", "folder")} for name, rse in rses.items()},
        "trace_folder": str(folder / "traces"),
        "database": str(folder / "rucio.db"),
    }


def _client_env(ground: Ground) -> dict[str, str]:
    trust, tls = ground.endpoint("pki"), ground.endpoint("xrootd_tls")
    return {
        "RUCIO_HOME": str(ground.folder("rucio")),
        **tls["env"],
        **tls["env_proxy"],
        **ground.endpoint("gfal")["env"],
        "X509_VOMS_DIR": trust["vomsdir"],
    }


def _storage_elements(ground: Ground) -> dict[str, dict[str, object]]:
    plain, tls = ground.endpoint("xrootd"), ground.endpoint("xrootd_tls")
    posix = f"{ground.folder('rucio')}/posix"

    def rse(kind: str, scheme: str, host: str, port: int, prefix: str, folder: str) -> dict[str, object]:
        implementation = f"rucio.rse.protocols.{kind}.Default"
        return {"impl": implementation, "scheme": scheme, "hostname": host, "port": port, "prefix": prefix,
                "folder": folder}  # fmt: skip

    return {
        "SITEA_POSIX": rse("posix", "file", "localhost", 0, f"{posix}/", posix),
        "SITEB_XROOTD": rse("xrootd", "root", "127.0.0.1", plain["port"], "//data/rucio/", f"{plain['folder']}/rucio"),
        "SITEC_WEBDAV": rse(
            "webdav", "https", "localhost", tls["https_port"], "/data/rucio/", f"{tls['folder']}/rucio"
        ),
        "SITED_GFAL": rse("gfal", "root", "127.0.0.1", plain["port"], "//data/gfal/", f"{plain['folder']}/gfal"),
    }


def _python(python: Path, script: str, *words: str, env: dict[str, str]) -> None:
    done = subprocess.run(
        [python, "-P", Path(__file__).with_name(script), *words],
        env={"PATH": PATH, "HOME": env["RUCIO_HOME"], **env},
        cwd=env["RUCIO_HOME"],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
        timeout=PREPARED_WITHIN_S,
    )
    if done.returncode:
        raise ServiceFailed(f"{script} gave {done.returncode}\n{done.stdout[-3000:]}")


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=20) as answer:
            return bool(answer.status == 200)
    except (urllib.error.URLError, OSError):
        return False


def _configuration(folder: Path, python: Path, url: str) -> str:
    return f"""
[common]
logdir = {folder}/log
loglevel = INFO
mailtemplatedir = {python.parents[1]}/rucio/etc/mail_templates
[client]
rucio_host = {url}
auth_host = {url}
auth_type = userpass
username = {USER}
password = {PASSWORD}
account = root
request_retries = 3
protocol_stat_retries = 2
auth_token_file_path = {folder}/client-token
[database]
default = sqlite:///{folder}/rucio.db
echo = 0
pool_reset_on_return = rollback
[bootstrap]
userpass_identity = {USER}
userpass_pwd = {PASSWORD}
userpass_email = tester@localhost
[alembic]
cfg = {folder}/etc/alembic.ini
[policy]
permission = generic
schema = generic
lfn2pfn_algorithm_default = hash
[api]
endpoints_add = traces
[trace]
tracedir = {folder}/traces
trace_host = {url}
brokers = localhost
port = 61013
topic = /topic/rucio.tracer
username = {USER}
password = {PASSWORD}
[monitor]
enable_metrics = False
"""


def _migrations(folder: Path, python: Path) -> str:
    (scripts,) = python.parents[1].glob("lib/python3.*/site-packages/rucio/db/sqla/migrate_repo")
    return f"""
[alembic]
script_location = {scripts}{os.sep}
sqlalchemy.url = sqlite:///{folder}/rucio.db
[loggers]
keys = root
[handlers]
keys = console
[formatters]
keys = generic
[logger_root]
level = WARN
handlers = console
qualname =
[handler_console]
class = StreamHandler
args = (sys.stderr,)
level = NOTSET
formatter = generic
[formatter_generic]
format = %(levelname)s %(message)s
"""
