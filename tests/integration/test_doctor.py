"""`pilot doctor`: what it finds on this node, at a server and in credentials."""

from __future__ import annotations

import base64
import json
import threading
import time
from collections.abc import Iterator
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from pilot.cli.doctor import command


class Server(ThreadingHTTPServer):
    """Answers as a job server of one dialect, with a clock that may be wrong."""

    daemon_threads = True
    dialect = "v1"
    ahead_s = 0.0


class Handler(BaseHTTPRequestHandler):
    server: Server

    def date_time_string(self, timestamp: float | None = None) -> str:
        return formatdate(time.time() + self.server.ahead_s, usegmt=True)

    def do_GET(self) -> None:
        v1 = self.path == "/api/v1/system/is_alive" and self.server.dialect == "v1"
        classic = self.path == "/server/panda/isAlive" and self.server.dialect == "classic"
        body = b'{"success": true, "message": "", "data": null}' if v1 else b"alive=yes" if classic else b"no such page"
        self.send_response(200 if v1 or classic else 404)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        return


@pytest.fixture
def server() -> Iterator[Server]:
    with Server(("127.0.0.1", 0), Handler) as found:
        thread = threading.Thread(target=found.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        yield found
        found.shutdown()
        thread.join()


@pytest.fixture
def nothing_to_find(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An environment without credentials."""
    for name in ("X509_USER_PROXY", "OIDC_AUTH_TOKEN", "PANDA_AUTH_TOKEN", "OIDC_AUTH_DIR", "PANDA_AUTH_DIR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    return tmp_path


def doctor(*words: str) -> tuple[int, dict[str, dict[str, str]]]:
    done = CliRunner().invoke(command, [*words, "--json"], standalone_mode=False)
    assert done.exception is None, done.exception
    told: dict[str, Any] = json.loads(done.output)
    assert told["ok"] is (done.return_value == 0)
    return done.return_value, {check["name"]: check for check in told["checks"]}


def token(folder: Path, ends: float, mode: int = 0o600) -> Path:
    claims = base64.urlsafe_b64encode(json.dumps({"exp": ends}).encode()).decode().rstrip("=")
    path = folder / "token"
    path.write_text(f"e30.{claims}.c2ln")
    path.chmod(mode)
    return path


def test_every_part_of_the_node_has_its_line(nothing_to_find: Path) -> None:
    _, found = doctor("--workdir", str(nothing_to_find))
    assert {"python", "disk", "limits", "cgroup", "userns", "containers", "copytools"} <= set(found)
    assert found["python"]["level"] == "OK"
    assert all(check["advice"] for check in found.values() if check["level"] != "OK")


def test_a_copy_tool_without_its_software_is_not_told_as_usable(
    nothing_to_find: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    monkeypatch.setenv("PATH", str(nothing_to_find))
    _, found = doctor("--workdir", str(nothing_to_find))
    usable, _, without = found["copytools"]["said"].partition("; not usable: ")
    lacking = {one.split()[0] for one in without.split("), ")}
    assert lacking == {"xrootd", "s3", "objectstore", "lsm"} and not lacking & set(usable.split(", "))
    assert {"copy", "http"} <= set(usable.split(", ")) and found["copytools"]["level"] == "WARN"
    monkeypatch.setattr("importlib.util.find_spec", lambda name: True)
    _, found = doctor("--workdir", str(nothing_to_find))
    assert found["copytools"]["level"] == "OK" and found["copytools"]["said"].endswith("not usable: lsm (no lsm-get)")


def test_people_get_one_line_each(nothing_to_find: Path) -> None:
    done = CliRunner().invoke(command, ["--workdir", str(nothing_to_find)], standalone_mode=False)
    lines = done.output.splitlines()
    assert len(lines) >= 7
    assert all(line.split()[0] in ("OK", "WARN", "FAIL") for line in lines)


def test_a_directory_that_cannot_be_written_fails(nothing_to_find: Path) -> None:
    code, found = doctor("--workdir", str(nothing_to_find / "absent"))
    assert code == 1
    assert found["disk"]["level"] == "FAIL" and "absent" in found["disk"]["said"]


@pytest.mark.parametrize("dialect", ["v1", "classic"])
def test_a_server_of_either_dialect_is_known(server: Server, nothing_to_find: Path, dialect: str) -> None:
    server.dialect = dialect
    _, found = doctor("--workdir", str(nothing_to_find), "--url", f"http://127.0.0.1:{server.server_port}")
    assert found["server"]["level"] == "OK" and dialect in found["server"]["said"]
    assert found["clock"]["level"] == "OK"


@pytest.mark.parametrize(("ahead_s", "level"), [(60.0, "WARN"), (-60.0, "WARN"), (4000.0, "FAIL")])
def test_a_clock_that_is_off_is_told(server: Server, nothing_to_find: Path, ahead_s: float, level: str) -> None:
    server.ahead_s = ahead_s
    _, found = doctor("--workdir", str(nothing_to_find), "--url", f"http://127.0.0.1:{server.server_port}")
    assert found["clock"]["level"] == level
    assert ("behind" if ahead_s > 0 else "ahead of") in found["clock"]["said"]


def test_something_else_at_the_url_is_no_job_server(server: Server, nothing_to_find: Path) -> None:
    server.dialect = "none"
    code, found = doctor("--workdir", str(nothing_to_find), "--url", f"http://127.0.0.1:{server.server_port}")
    assert code == 1
    assert found["server"]["level"] == "FAIL" and "404" in found["server"]["said"]


def test_a_shut_door_fails(server: Server, nothing_to_find: Path) -> None:
    server.server_close()
    code, found = doctor("--workdir", str(nothing_to_find), "--url", f"http://127.0.0.1:{server.server_port}")
    assert code == 1
    assert found["server"]["level"] == "FAIL" and "clock" not in found


@pytest.mark.parametrize(
    ("ends_in_s", "mode", "level", "words"),
    [
        (7200, 0o600, "OK", "minutes left"),
        (-600, 0o600, "FAIL", "ended 10 minutes ago"),
        (7200, 0o644, "FAIL", "can be read by others"),
    ],
)
def test_a_token_is_looked_at(
    nothing_to_find: Path, monkeypatch: pytest.MonkeyPatch, ends_in_s: int, mode: int, level: str, words: str
) -> None:
    monkeypatch.setenv("PANDA_AUTH_TOKEN", str(token(nothing_to_find, time.time() + ends_in_s, mode)))
    _, found = doctor("--workdir", str(nothing_to_find))
    assert found["token"]["level"] == level and words in found["token"]["said"]
    assert "c2ln" not in json.dumps(found)
