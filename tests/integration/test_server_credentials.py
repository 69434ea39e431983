"""Certificates, proxies and tokens at the job server, over real TLS."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import requests
from server_client import JSON, spec

from pilot.server.launch import RunningServer, running_server

CREDENTIALS = {
    "tokens": {
        "t-prod": {"name": "robot", "vo": "atlas", "roles": ["production"]},
        "t-user": {"name": "user", "vo": "atlas"},
    },
    "dns": {"/DC=org/CN=Boss": {"roles": ["production"]}, "/DC=org/CN=Pilot": {"roles": ["pilot"]}},
    "proxies": {"": "PROXY", "atlas:/atlas/Role=production": "VOMS"},
    "key_pairs": {"pub": "PUBLIC", "priv": "PRIVATE"},
    "access_tokens": {"pilot_server": {"key": "k1", "token": "NEW"}},
    "user_secrets": {"MB_USERNAME": "u"},
    "pilot_secrets": {"deep": "secret"},
}


class Authority:
    """A CA made for the test, by the openssl command."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._openssl("req", "-x509", *self._new("ca"), "-subj", "/CN=CA", "-days", "2", "-out", "ca.pem",
                      "-addext", "keyUsage=critical,keyCertSign,cRLSign")  # fmt: skip

    def _openssl(self, *args: str) -> None:
        subprocess.run(["openssl", *args], cwd=self.folder, check=True, capture_output=True, timeout=20)

    @staticmethod
    def _new(name: str) -> list[str]:
        return ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-keyout", f"{name}.key"]

    def issue(self, name: str, dn: str, issuer: str = "ca", extensions: str = "") -> Path:
        """A certificate with its key and, for a proxy, its issuer's, all in one file."""
        self._openssl("req", *self._new(name), "-subj", dn, "-out", f"{name}.csr")
        (self.folder / f"{name}.ext").write_text(extensions)
        self._openssl(
            "x509", "-req", "-in", f"{name}.csr", "-CA", f"{issuer}.pem", "-CAkey", f"{issuer}.key", "-days", "1",
            "-CAcreateserial", "-extfile", f"{name}.ext", "-out", f"{name}.pem",
        )  # fmt: skip
        chain = [f"{name}.pem", f"{name}.key"] + ([f"{issuer}.pem"] if issuer != "ca" else [])
        bundle = self.folder / f"{name}.bundle.pem"
        bundle.write_text("".join((self.folder / part).read_text() for part in chain))
        return bundle

    def proxy(self, name: str, dn: str, issuer: str, policy: str = "id-ppl-inheritAll") -> Path:
        return self.issue(name, dn, issuer, f"proxyCertInfo=critical,language:{policy}\n")


@dataclass
class Site:
    """The server with its CA, and clients with each kind of credential."""

    url: str
    folder: Path
    bundles: dict[str, Path]

    def ask(self, verb: str, path: str, who: str | None, body: Any = None, **query: Any) -> requests.Response:
        headers = dict(JSON)
        if who is not None and who.startswith("t-"):
            token, _, origin = who.partition("@")
            headers |= {"Authorization": f"Bearer {token}"} | ({"Origin": origin} if origin else {})
            who = None
        return requests.request(
            verb,
            f"{self.url}/{path}",
            data=None if body is None else json.dumps(body),
            params=query,
            headers=headers,
            verify=str(self.folder / "ca.pem"),
            cert=str(self.bundles[who]) if who else None,
            timeout=5,
        )

    def post(self, path: str, who: str | None, **body: Any) -> dict[str, Any]:
        return dict(self.ask("POST", f"api/v1/{path}", who, body).json())

    def get(self, path: str, who: str | None, **query: Any) -> dict[str, Any]:
        return dict(self.ask("GET", f"api/v1/{path}", who, **query).json())

    def classic(self, method: str, who: str | None, **query: Any) -> dict[str, Any]:
        return dict(self.ask("GET", f"server/panda/{method}", who, **query).json())


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("site")
    ca = Authority(folder)
    host = ca.issue("host", "/CN=localhost", extensions="subjectAltName=IP:127.0.0.1\n")
    bundles = {
        "boss": ca.issue("boss", "/DC=org/CN=Boss"),
        "pilot": ca.issue("pilot", "/DC=org/CN=Pilot"),
        "stranger": ca.issue("stranger", "/DC=org/CN=Stranger"),
        "proxy": ca.proxy("proxy", "/DC=org/CN=Boss/CN=1234", "boss"),
        "limited": ca.proxy("limited", "/DC=org/CN=Boss/CN=777", "boss", "1.3.6.1.4.1.3536.1.1.1.9"),
    }
    (folder / "credentials.json").write_text(json.dumps(CREDENTIALS))
    options = [
        "--tls-cert", str(host), "--client-ca", str(folder / "ca.pem"),
        "--token-file", str(folder / "credentials.json"),
    ]  # fmt: skip
    with running_server(folder / "jobs.db", options=options) as running:
        yield Site(running.url, folder, bundles)


UPDATE = {"job_id": 1, "job_status": "running"}


@pytest.mark.parametrize("who", ["boss", "proxy", "t-prod@atlas:production", "t-prod@atlas.production"])
def test_the_production_role_opens_the_production_methods(site: Site, who: str) -> None:
    assert site.post("pilot/update_job", who, **UPDATE)["success"]
    assert site.classic("updateJob", who, jobId=1, state="running")["StatusCode"] == 0


@pytest.mark.parametrize(
    ("who", "message", "code"),
    [
        (None, "SSL secure connection is required", 60),
        ("limited", "SSL secure connection is required", 0),
        ("stranger", "production or pilot role required", 60),
        ("pilot", "production or pilot role required", 0),
        ("t-user@atlas", "production or pilot role required", 60),
    ],
)
def test_others_are_refused_in_the_shape_of_each_dialect(site: Site, who: str | None, message: str, code: int) -> None:
    answer = site.post("pilot/update_job", who, **UPDATE)
    assert (answer["success"], answer["message"]) == (False, message)
    assert site.classic("updateJob", who, jobId=1, state="running")["StatusCode"] == code


@pytest.mark.parametrize("who", ["t-bad@atlas", "t-prod", "t-prod@cms", "t-prod@atlas:admin"])
def test_a_bad_token_is_403_everywhere(site: Site, who: str) -> None:
    for path in ("api/v1/system/is_alive", "server/panda/isAlive"):
        answer = site.ask("GET", path, who)
        assert answer.status_code == 403
        assert answer.text.startswith("ERROR : ")


def test_everybody_may_ask_whether_the_server_lives(site: Site) -> None:
    assert site.get("system/is_alive", None)["success"]
    assert site.ask("GET", "server/panda/isAlive", None).text == "alive=yes"


def test_without_the_production_role_one_gets_only_jobs_of_his_own(site: Site) -> None:
    own = spec(prodSourceLabel="user", prodUserID="/DC=org/CN=Stranger")
    foreign = spec(prodSourceLabel="user", prodUserID="/DC=org/CN=Boss")
    submitted = site.ask("POST", "submit", "boss", [foreign, own]).json()["jobs"]
    assert not site.post("pilot/acquire_jobs", "stranger", site_name="S")["success"]
    asked = {"site_name": "S", "prod_source_label": "user", "n_jobs": 2, "prod_user_id": "/DC=org/CN=Boss"}
    got = site.post("pilot/acquire_jobs", "stranger", **asked)["data"]["jobs"]
    assert [job["PandaID"] for job in got] == [submitted[1]["PandaID"]]


@pytest.mark.parametrize("path", ["jobs", "jobs/1", "faults", "workers"])
def test_the_servers_own_endpoints_need_the_production_role(site: Site, path: str) -> None:
    assert [site.ask("GET", path, who).status_code for who in (None, "stranger", "t-bad@atlas")] == [403, 403, 403]
    assert site.ask("GET", path, "boss").status_code in (200, 404)


def test_a_client_certificate_from_elsewhere_is_turned_away(site: Site, tmp_path: Path) -> None:
    other = Authority(tmp_path)
    site.bundles["forged"] = other.issue("forged", "/DC=org/CN=Boss")
    with pytest.raises(requests.RequestException):
        site.get("system/is_alive", "forged")


def test_credentials_are_handed_out_in_both_dialects(site: Site) -> None:
    role, pair = "atlas:/atlas/Role=production", {"public_key_name": "pub", "private_key_name": "priv"}
    assert site.get("creds/get_proxy", "boss", role=role)["data"] == {"user_proxy": "VOMS"}
    assert site.get("creds/get_key_pair", "boss", **pair)["data"] == {"public_key": "PUBLIC", "private_key": "PRIVATE"}
    fresh = site.get("creds/get_access_token", "boss", client_name="pilot_server", token_key="k1")
    assert fresh["data"] == {"user_proxy": "NEW"}
    assert site.get("creds/get_token_key", "boss", client_name="pilot_server")["data"] == {"tokenKey": "k1"}
    assert site.get("creds/get_user_secrets", "boss", keys="MB_USERNAME")["data"] == {"MB_USERNAME": "u"}
    assert site.classic("getProxy", "boss", role=role) == {"StatusCode": 0, "userProxy": "VOMS"}
    keys = {"publicKeyName": "pub", "privateKeyName": "priv"}
    assert site.classic("getKeyPair", "boss", **keys)["privateKey"] == "PRIVATE"
    token = site.classic("get_access_token", "boss", client_name="pilot_server", token_key="k1")
    assert token == {"StatusCode": 0, "userProxy": "NEW"}


def test_what_is_not_there_or_not_allowed_has_its_code(site: Site) -> None:
    keys = {"publicKeyName": "pub", "privateKeyName": "none"}
    assert site.classic("getKeyPair", "boss", **keys)["StatusCode"] == 80
    assert site.classic("get_access_token", "boss", client_name="pilot_server", token_key="x")["StatusCode"] == 50
    assert site.classic("get_token_key", "boss", client_name="other")["StatusCode"] == 80
    assert site.classic("getProxy", "boss", role="other")["StatusCode"] == 90
    assert site.classic("getProxy", "stranger")["StatusCode"] == 70
    assert not site.get("creds/get_proxy", None)["success"]


def test_pilot_secrets_are_only_for_jobs_in_debug_mode(site: Site) -> None:
    site.ask("POST", "submit", "boss", spec())
    (job,) = site.post("pilot/acquire_jobs", "boss", site_name="S")["data"]["jobs"]
    told = {"job_id": job["PandaID"], "job_status": "running"}
    assert site.post("pilot/update_job", "boss", **told)["data"] == {"StatusCode": 0, "command": None}
    answer = site.post("job/set_debug_mode", "boss", job_id=job["PandaID"], mode=True)
    assert (answer["success"], answer["message"]) == (False, "Succeeded"), "this flag is upside down at the real one"
    assert site.post("pilot/update_job", "boss", **told)["data"]["pilotSecrets"] == {"deep": "secret"}


def test_the_token_file_is_read_strictly(tmp_path: Path) -> None:
    (tmp_path / "c.json").write_text('{"tokns": {}}')
    options = ["--token-file", str(tmp_path / "c.json")]
    with pytest.raises(RuntimeError, match="exit code 2"), running_server(tmp_path / "jobs.db", options=options):
        pass


def test_tokens_work_without_tls(tmp_path: Path) -> None:
    (tmp_path / "c.json").write_text(json.dumps(CREDENTIALS))
    options = ["--token-file", str(tmp_path / "c.json")]
    running: RunningServer
    with running_server(tmp_path / "jobs.db", options=options) as running:
        plain = Site(running.url, tmp_path, {})
        assert plain.post("pilot/update_job", "t-prod@atlas:production", **UPDATE)["success"]
        assert not plain.post("pilot/update_job", None, **UPDATE)["success"]
