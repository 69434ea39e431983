"""`pilot submit` against a real server."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

from pilot.server.launch import RunningServer, running_server

JOB = {"transformation": "/bin/true"}
CREDENTIALS = {"tokens": {"t-prod": {"name": "robot", "vo": "atlas", "roles": ["production"]}}}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    folder = tmp_path_factory.mktemp("server")
    (folder / "cache").mkdir()
    (folder / "cache" / "run.sh").write_text("#!/bin/sh\n")
    with running_server(folder / "jobs.db", options=["--cache", str(folder / "cache")]) as running:
        yield running


def submit(url: str, text: str, *options: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "pilot", "submit", "-", "--url", url, *options]
    return subprocess.run(command, input=text, capture_output=True, text=True, timeout=10, check=False)


@pytest.mark.parametrize(
    ("text", "number"),
    [
        (json.dumps(JOB), 1),
        (json.dumps([JOB, JOB]), 2),
        (json.dumps(JOB) + "\n\n" + json.dumps(JOB) + "\n", 2),
        (json.dumps([JOB, JOB], indent=2), 2),
    ],
)
def test_a_document_a_list_and_lines_are_read(server: RunningServer, text: str, number: int) -> None:
    ended = submit(server.url, text, "--json")
    assert ended.returncode == 0, ended.stderr
    assert len(json.loads(ended.stdout)["jobs"]) == number


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("{", "line 1"),
        (json.dumps(JOB) + "\n{]\n", "line 2"),
        (json.dumps([JOB, {"jobName": "mine"}]), "job 1 (mine): transformation"),
        ("3", "job 0"),
    ],
)
def test_a_wrong_file_is_one_line_and_exit_code_2(server: RunningServer, text: str, named: str) -> None:
    ended = submit(server.url, text)
    assert (ended.returncode, ended.stdout) == (2, "")
    assert named in ended.stderr
    assert ended.stderr.count("\n") == 1


def test_a_server_that_is_not_there_is_exit_code_79() -> None:
    ended = submit("http://127.0.0.1:9", json.dumps(JOB))
    assert (ended.returncode, ended.stderr.count("\n")) == (79, 1)
    assert "127.0.0.1:9" in ended.stderr


def test_a_url_of_another_kind_is_refused() -> None:
    assert submit("file:///etc", json.dumps(JOB)).returncode == 2


def test_a_guarded_server_takes_jobs_with_a_token_only(tmp_path: Path) -> None:
    (tmp_path / "credentials.json").write_text(json.dumps(CREDENTIALS))
    (tmp_path / "token").write_text("t-prod\n")
    options = ["--token-file", str(tmp_path / "credentials.json")]
    with running_server(tmp_path / "jobs.db", options=options) as running:
        assert submit(running.url, json.dumps(JOB)).returncode == 1
        token = ["--token", str(tmp_path / "token"), "--origin", "atlas:production"]
        assert submit(running.url, json.dumps(JOB), *token).returncode == 0


def test_the_cache_serves_user_scripts(server: RunningServer) -> None:
    assert requests.get(f"{server.url}/cache/run.sh", timeout=5).text == "#!/bin/sh\n"
    assert requests.get(f"{server.url}/cache/../jobs.db", timeout=5).status_code == 404


def test_wrong_descriptions_pass_unchecked_if_that_is_asked_for(server: RunningServer) -> None:
    bad = {"inFiles": "../../etc/passwd", "fsize": "a,b", "coreCount": "many"}
    assert requests.post(f"{server.url}/submit", json=[bad], timeout=5).status_code == 400
    assert requests.post(f"{server.url}/submit?check=no", json=[bad], timeout=5).status_code == 200
