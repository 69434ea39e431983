"""Rucio hears of every transfer of a job where that is asked for, and the job does not care whether it listens."""

from __future__ import annotations

import hashlib
import json
import subprocess
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from pilot.lib.program import own_command, own_environment
from tests.certificates import Authority


class _Rucio(ThreadingHTTPServer):
    def __init__(self, status: int) -> None:
        self.status = status
        self.traces: list[dict[str, Any]] = []
        super().__init__(("127.0.0.1", 0), _Handler)


class _Handler(BaseHTTPRequestHandler):
    server: _Rucio

    def do_POST(self) -> None:
        self.server.traces.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
        self.send_response(self.server.status)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing."""


def _job(folder: Path, status: int, proxy: str = "", **more: str) -> tuple[int, list[dict[str, Any]]]:
    (folder / "in.txt").write_text("data\n")
    job = {
        "PandaID": 5,
        "taskID": 77,
        "transformation": "/bin/cp",
        "jobPars": "in.txt out.txt",
        "inFiles": "in.txt",
        "inFilePaths": str(folder / "in.txt"),
        "scopeIn": "s",
        "outFiles": "out.txt",
        "scopeOut": "s",
        **more,
    }
    (folder / "job.json").write_text(json.dumps(job))
    rucio = _Rucio(status)
    thread = threading.Thread(target=rucio.serve_forever, daemon=True)
    thread.start()
    try:
        url = f"http://127.0.0.1:{rucio.server_address[1]}/traces/"
        command = own_command("run", "--source", "local", "--queue", "Q", "--workdir", str(folder / "w"))
        command += ["--rucio-traces", "true", "--rucio-host", url, str(folder / "job.json")]
        env = own_environment() | ({"X509_USER_PROXY": proxy} if proxy else {})
        done = subprocess.run(command, env=env, capture_output=True, timeout=60, check=False)
    finally:
        rucio.shutdown()
        rucio.server_close()
        thread.join()
    return done.returncode, rucio.traces


def test_each_transfer_is_told(tmp_path: Path) -> None:
    code, traces = _job(tmp_path, 201)
    assert code == 0
    told = {(t["eventType"], t["filename"], t["clientState"], t["filesize"], t["appid"], t["taskid"]) for t in traces}
    assert told == {("get_sm", "in.txt", "DONE", 5, "5", 77), ("put_sm", "out.txt", "DONE", 5, "5", 77)}


def test_a_rucio_that_refuses_costs_no_job(tmp_path: Path) -> None:
    code, traces = _job(tmp_path, 500)
    assert code == 0 and len(traces) >= 1
    assert list((tmp_path / "w" / "storage").rglob("out.txt"))


@pytest.mark.parametrize(("job", "user"), [({}, "/CN=user"), ({"prodUserID": "/CN=Ada"}, "/CN=Ada")])
def test_traces_name_the_job_s_user_else_the_owner_of_the_proxy(tmp_path: Path, job: dict[str, str], user: str) -> None:
    code, traces = _job(tmp_path, 201, str(Authority(tmp_path).proxy), **job)
    assert code == 0
    assert {(t["usrdn"], t["usr"]) for t in traces} == {(user, hashlib.md5(user.encode()).hexdigest())}
