"""Whole pilots against a server behind TLS: with a proxy and with a token, and nothing secret is left anywhere."""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import requests

from pilot.lib.program import own_command, own_environment
from pilot.server.launch import running_server
from tests.certificates import Authority

TOKEN = "planted-token-5f3a9c"
KEY = "planted-key-77aa01"
RENEWED = "planted-renewed-b0b1b2"
USER_SECRET = "planted-user-secret-c3d4"
PLANTED = (TOKEN, KEY, RENEWED, USER_SECRET)
PAYLOAD = "env > out.txt; cat panda_secrets.json | wc -c; tr '\\0' ' ' < /proc/$PPID/cmdline; echo; sleep 0.2"


@dataclass
class Site:
    url: str
    authority: Authority

    def submit(self, **more: Any) -> int:
        spec = {"transformation": "sh", "jobPars": f"-c {json.dumps(PAYLOAD)}", "outFiles": "out.txt,log.tgz",
                "logFile": "log.tgz", "computingSite": "SITE", **more}  # fmt: skip
        return int(self.ask("POST", "submit", json=[spec])["jobs"][0]["PandaID"])

    def job(self, number: int) -> dict[str, Any]:
        return self.ask("GET", f"jobs/{number}")

    def ask(self, verb: str, path: str, **more: Any) -> dict[str, Any]:
        answer = requests.request(
            verb, f"{self.url}/{path}", verify=str(self.authority.ca), timeout=10,
            headers={"Authorization": f"Bearer {TOKEN}", "Origin": "atlas:production"}, **more,
        )  # fmt: skip
        assert answer.status_code == 200, answer.text
        return dict(answer.json())


@pytest.fixture(scope="module", params=["v1", "classic"])
def site(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("site")
    authority = Authority(folder)
    known = {
        "tokens": {text: {"name": "robot", "vo": "atlas", "roles": ["production"]} for text in (TOKEN, RENEWED)},
        "dns": {"/CN=user": {"roles": ["production", "pilot"]}},
        "access_tokens": {"pilot_server": {"key": KEY, "token": RENEWED}},
    }
    (folder / "tokens.json").write_text(json.dumps(known))
    options = ["--tls-cert", str(authority.host), "--client-ca", str(authority.ca), "--token-file"]
    with running_server(folder / "jobs.db", request.param, options=[*options, str(folder / "tokens.json")]) as server:
        yield Site(server.url.replace("localhost", "127.0.0.1"), authority)


def run_pilot(site: Site, workdir: Path, *options: str, **environ: str) -> subprocess.CompletedProcess[str]:
    clean = {k: v for k, v in own_environment().items() if not k.startswith(("PILOT_", "PANDA_", "OIDC_", "X509_"))}
    argv = own_command("run", "--url", site.url, "--queue", "SITE", "--jobs", "1", "--workdir", str(workdir), *options)
    return subprocess.run(
        [*argv, "--cacert", str(site.authority.ca), "--wait", "0.1", "--log-level", "debug"],
        env={**clean, **environ}, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip


def written(workdir: Path) -> Iterator[tuple[Path, bytes]]:
    """Everything that a pilot left, but for its own copies of credentials, which nobody else can read."""
    for path in workdir.rglob("*"):
        if ".credentials" in path.parts:
            assert path.is_dir() or path.stat().st_mode & 0o077 == 0, path
        elif path.is_file():
            yield path, path.read_bytes()


def assert_nothing_planted(workdir: Path, done: subprocess.CompletedProcess[str]) -> None:
    everything = [*written(workdir), (Path("stderr"), done.stderr.encode()), (Path("stdout"), done.stdout.encode())]
    assert len(everything) > 8
    for path, content in everything:
        for text in PLANTED:
            assert text.encode() not in content, f"{text} in {path}"


@pytest.mark.parametrize("how", ["variable", "option", "cacert"])
def test_a_pilot_with_a_proxy_brings_a_job_to_its_end(site: Site, tmp_path: Path, how: str) -> None:
    number = site.submit()
    proxy = str(site.authority.proxy)
    options = {"option": ["--proxy", proxy]}.get(how, [])
    environ = {"X509_USER_PROXY": proxy} if how == "variable" else {}
    if how == "cacert":
        # as wrappers do: the proxy as --cacert, the authorities as a directory
        options, environ = ["--capath", str(site.authority.hashed())], {}
        done = run_pilot_with_proxy_as_cacert(site, tmp_path, proxy, options)
    else:
        done = run_pilot(site, tmp_path, *options, **environ)
    assert done.returncode == 0, done.stderr
    assert site.job(number)["state"] == "finished"


def run_pilot_with_proxy_as_cacert(
    site: Site, workdir: Path, proxy: str, options: list[str]
) -> subprocess.CompletedProcess[str]:
    clean = {k: v for k, v in own_environment().items() if not k.startswith(("PILOT_", "PANDA_", "OIDC_", "X509_"))}
    argv = own_command("run", "--pilot-user", "generic", "-q", "SITE", "-i", "PR", "-a", str(workdir), "-z", "--url")
    argv = [word for word in argv if word != "-z"]
    return subprocess.run(
        [*argv, site.url, "--cacert", proxy, *options, "--jobs", "1", "-w", "generic", "--allow-same-user", "False"],
        env=clean, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip


def test_a_pilot_with_a_token_does_so_and_leaves_nothing_secret(site: Site, tmp_path: Path) -> None:
    secrets = json.dumps({"MY_SECRET": USER_SECRET})
    number = site.submit(secrets=secrets)
    (tmp_path / "auth").mkdir()
    for name, text in (("token", TOKEN), ("key", KEY)):
        (tmp_path / "auth" / name).write_text(text)
    work = tmp_path / "work"
    done = run_pilot(
        site, work, "--cleanup", "none", PANDA_AUTH_TOKEN="token", PANDA_AUTH_DIR=str(tmp_path / "auth"),
        PANDA_AUTH_ORIGIN="atlas:production", PANDA_AUTH_TOKEN_KEY="key",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    end = site.job(number)
    assert end["state"] == "finished"
    assert_nothing_planted(work, done)
    assert not any(text in json.dumps(end["facts"]) for text in PLANTED)
    environment = next(path for path in work.rglob("out.txt")).read_text()
    assert "PANDA_AUTH" not in environment and "X509_USER_PROXY" not in environment


def test_a_payload_that_dies_with_its_secret_on_its_lips_does_not_spread_it(site: Site, tmp_path: Path) -> None:
    payload = "cat panda_secrets.json >&2; exit 5"
    number = site.submit(secrets=json.dumps({"MY_SECRET": USER_SECRET}), jobPars=f"-c {json.dumps(payload)}")
    done = run_pilot(site, tmp_path, "--cleanup", "none", X509_USER_PROXY=str(site.authority.proxy))
    end = site.job(number)
    assert end["state"] == "failed" and "exit code 5" in end["facts"]["pilot_error_diag"]
    assert "[secret]" in end["facts"]["pilot_error_diag"] and USER_SECRET not in json.dumps(end["facts"])
    its_own = {"payload.stderr", "log.tgz"}
    for path, content in [*written(tmp_path), (Path("stderr"), done.stderr.encode())]:
        assert path.name in its_own or USER_SECRET.encode() not in content, path


def test_a_token_that_nobody_knows_ends_the_pilot_with_a_clear_line(site: Site, tmp_path: Path) -> None:
    (tmp_path / "token").write_text("unknown-token-123")
    done = run_pilot(
        site, tmp_path / "w", "--token-file", str(tmp_path / "token"), "--token-origin", "atlas:production"
    )
    assert done.returncode == 79
    assert "refused" in done.stderr and "unknown-token" not in done.stderr


def test_an_expired_credential_is_told_before_anything_is_asked(site: Site, tmp_path: Path) -> None:
    import base64

    parts = [
        base64.urlsafe_b64encode(json.dumps(p).encode()).decode().rstrip("=") for p in ({}, {"exp": time.time() - 9})
    ]
    (tmp_path / "token").write_text(".".join([*parts, "sig"]))
    done = run_pilot(site, tmp_path / "w", "--token-file", str(tmp_path / "token"))
    assert done.returncode == 68 and "ended" in done.stderr, done.stderr


def test_a_server_that_is_not_trusted_gets_no_credential(site: Site, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    stranger = Authority(other)
    (tmp_path / "token").write_text(TOKEN)
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("PILOT_", "PANDA_", "X509_"))}
    argv = own_command("run", "--url", site.url, "--queue", "SITE", "--cacert", str(stranger.ca), "--jobs", "1")
    done = subprocess.run(
        [*argv, "--workdir", str(tmp_path / "w"), "--token-file", str(tmp_path / "token")],
        env={**own_environment(), **clean}, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 79 and "could not be verified" in done.stderr and TOKEN not in done.stderr
