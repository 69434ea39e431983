"""A PanDA server of the v1 generation: the `panda-server` package, unmodified, over PostgreSQL."""

import json
import subprocess
from pathlib import Path

from tests.system.services import packages, panda_oracle, ports, postgres, venvs
from tests.system.services.ground import Endpoint, Ground, ServiceFailed
from tests.system.services.process import spawn, wait_until

NEEDS = ("pki", "oidc", "postgres")
PACKAGES = (*packages.PKI, *packages.POSTGRES)

QUEUE, STORAGE, VO, ROLE = "PILOT_TEST", "PILOT_TEST_DATADISK", "testvo", "production"
CLIENT = "pilot-test"

_VENV = "panda-oracle"


def install(ground: Ground) -> None:
    """The environment is the oracle's."""
    with ground.building("panda_oracle"):
        panda_oracle.install(ground)


def start(ground: Ground) -> Endpoint:
    """The endpoint's `url` takes tokens and certificates of the test authority, `plain` takes nobody's."""
    return start_server(ground, "panda_server", _VENV)


def start_server(ground: Ground, name: str, venv: str) -> Endpoint:
    """The server of that environment, with a database of its own, in the folder of that service."""
    folder, trust = ground.folder(name), ground.endpoint("pki")
    home = folder / "home"
    database = _fill(ground, name, venv)
    _configure(ground, home, database, venv)
    # It looks for proxies and tokens in one place of the machine, and sees there a folder of its own.
    given, looked_for = home / "proxies", Path("/tmp/proxies")
    for made in (given, looked_for):
        made.mkdir(exist_ok=True)
    plain, secure = ports.free(2)
    server = spawn(
        folder,
        [venvs.python(ground, venv), "-I", Path(__file__).with_name("panda_server_door.py"), home, str(plain),
         str(secure), trust["host_cert"], trust["host_key"], trust["ca"]],
        name="panda",
        env={"REQUESTS_CA_BUNDLE": trust["bundle"], "SSL_CERT_FILE": trust["bundle"]},
        private_mounts=[(given, looked_for)],
    )  # fmt: skip
    wait_until(folder, lambda: ports.answers(plain), "panda-server", server)
    return {
        "url": f"https://localhost:{secure}",
        "plain": f"http://localhost:{plain}",
        "queue": QUEUE,
        "storage": STORAGE,
        "origin": f"{VO}:{ROLE}",
        "groups": [f"{VO}/{ROLE}"],
        "client": CLIENT,
        "log": str(home / "log"),
        "proxies": str(given),
        "database": database,
    }


def psql(database: Endpoint, sql: str) -> str:
    """Runs statements, given on standard input; the rows of the answer as lines of values parted by tabs."""
    done = subprocess.run(
        [f"{database['programs']}/psql", "-h", "127.0.0.1", "-p", str(database["port"]), "-U", database["user"],
         "-d", database["name"], "-qtAF", "\t", "-v", "ON_ERROR_STOP=1"],
        input=sql, capture_output=True, text=True, check=False,
    )  # fmt: skip
    if done.returncode:
        raise ServiceFailed(f"psql failed\n{done.stderr[-2000:]}")
    return done.stdout


def _fill(ground: Ground, name: str, venv: str) -> Endpoint:
    """The database with its tables, one queue and what a queue needs."""
    cluster = ground.endpoint("postgres")
    database: Endpoint = {**{key: cluster[key] for key in ("port", "user", "programs")}, "name": name}
    psql({**database, "name": postgres.USER}, f"DROP DATABASE IF EXISTS {name}; CREATE DATABASE {name};")
    made = subprocess.run(
        [venvs.python(ground, venv), "-I", Path(__file__).with_name("panda_schema.py"), QUEUE, STORAGE],
        env={"PANDA_HOME": str(_shipped(ground.folder(name) / "home", venvs.python(ground, venv)))},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    if made.returncode:
        raise ServiceFailed(f"no tables for panda-server\n{made.stderr[-2000:]}")
    psql(database, made.stdout)
    return database


def _shipped(home: Path, python: Path) -> Path:
    """The configuration as the package ships it, but for where logs go."""
    etc = home / "etc/panda"
    etc.mkdir(parents=True, exist_ok=True)
    (home / "log").mkdir(exist_ok=True)
    for name in ("panda_common.cfg", "panda_server.cfg"):
        text = (python.parent.parent / f"etc/panda/{name}.rpmnew").read_text()
        (etc / name).write_text(text.replace("/var/log/panda", str(home / "log")))
    return home


def _configure(ground: Ground, home: Path, database: Endpoint, venv: str) -> None:
    """The site's choices: the database, who may do what, plug-ins that need no storage."""
    issuer, trust = ground.endpoint("oidc"), ground.endpoint("pki")
    auth = home / "auth"
    auth.mkdir(exist_ok=True)
    (auth / f"{VO}.{ROLE}_auth_config.json").write_text(
        json.dumps(
            {
                "client_id": CLIENT,
                "client_secret": issuer["client_secret"],
                "vo": VO,
                "audience": CLIENT,
                "oidc_config_url": f"{issuer['issuer']}/.well-known/openid-configuration",
            }
        )
    )
    choices = {
        "backend": "postgres", "dbhost": "127.0.0.1", "dbport": database["port"], "dbuser": database["user"],
        "dbpasswd": "none", "dbname": database["name"], "nDBConnection": 3, "usedbtimeout": False,
        "logdir": str(home / "log"), "keyDir": str(home / "keys"), "cache_dir": str(home / "cache"),
        "production_dns": trust["user_dn"],
        "token_cache_config": str(home / "token_cache.json"),
        "token_authType": "oidc", "auth_config": str(auth), "entryVerbose": True,
        "adder_plugins": "any:pandaserver.dataservice.adder_dummy_plugin:AdderDummyPlugin",
        "setupper_plugins": "any:pandaserver.dataservice.setupper_dummy_plugin:SetupperDummyPlugin",
    }  # fmt: skip
    for name in ("cache", "keys"):
        (home / name).mkdir(exist_ok=True)
    for name in ("public", "private"):
        (home / "keys" / name).write_text(f"{name}-half")
    (home / "token_cache.json").write_text(json.dumps({"pilot_server": {"use_token_key": True}}))
    (home / "etc/config_json").mkdir(exist_ok=True)
    (home / "etc/config_json/panda_server_config.json").write_text(json.dumps({"server": choices}))
