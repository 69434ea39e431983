"""What `pilot transfer` writes down: every attempt in a PilotDB, on an event stream, and as a trace."""

from __future__ import annotations

import hashlib
import json
import signal
import sqlite3
import subprocess
import sys
import threading
from contextlib import closing
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from tests.certificates import Authority
from tests.copytools.webserver import serving, until
from tests.integration.test_staging_cli import ROOT, SCHEMAS, pilot


def rows(path: Path, sql: str) -> list[tuple[Any, ...]]:
    with closing(sqlite3.connect(path)) as db:
        return db.execute(sql).fetchall()


def events(path: Path) -> list[dict[str, Any]]:
    schema = json.loads((SCHEMAS / "transfer-events.schema.json").read_text())
    found = [json.loads(line) for line in path.read_text().splitlines()]
    for line in found:
        jsonschema.validate(line, schema)
    return found


def listed(folder: Path, *entries: dict[str, Any]) -> Path:
    (folder / "list.json").write_text(json.dumps(entries))
    return folder / "list.json"


def test_every_attempt_is_in_the_db_and_on_the_stream_without_secrets(tmp_path: Path) -> None:
    (tmp_path / "in").write_bytes(b"content")
    with serving(tmp_path / "web") as web:
        (web.root / "good").write_bytes(b"from the web")
        url = f"{web.url}/503-once/good?token=hidden"
        entries = [
            {"type": "transfer", "lfn": "local", "sources": [str(tmp_path / "in")], "targets": [str(tmp_path / "o/l")]},
            {"type": "transfer", "lfn": "good", "sources": [str(tmp_path / "nope"), url], "targets": [f"{tmp_path}/g"]},
            {"type": "transfer", "lfn": "bad", "sources": [f"{web.url}/absent"], "targets": [str(tmp_path / "b")]},
            {"type": "mkdir", "target": {"url": str(tmp_path / "made")}},
        ]
        words = ["transfer", listed(tmp_path, *entries), "--db", "t.db", "--events", "e.jsonl"]
        for number in (1, 2):
            done = pilot(*words, cwd=tmp_path)
            assert done.returncode == 2, done.stderr
            assert rows(tmp_path / "t.db", "SELECT count(*) FROM pilots WHERE exit_code = 2") == [(number,)]
    found = rows(
        tmp_path / "t.db",
        "SELECT lfn, copytool, size, error_code FROM transfers WHERE key = 'transfer.1' ORDER BY lfn, id",
    )
    assert ("local", "copy", 7, None) in found and ("bad", "http", 0, 1103) in found
    assert ("good", "copy", 0, 1103) in found and ("good", "http", 12, None) in found
    assert [row[3] for row in found if row[0] == "good"].count(1324) == 1, found
    files = rows(tmp_path / "t.db", "SELECT lfn, state, size, checksums FROM files WHERE key = 'transfer.1'")
    assert {(lfn, state, size) for lfn, state, size, _ in files} == {
        ("local", "transferred", 7), ("good", "transferred", 12), ("bad", "failed", 0)
    }  # fmt: skip
    assert b"hidden" not in (tmp_path / "t.db").read_bytes() + (tmp_path / "e.jsonl").read_bytes()
    lines = events(tmp_path / "e.jsonl")
    runs = [[line for line in lines if line["pid"] == pid] for pid in dict.fromkeys(line["pid"] for line in lines)]
    for run in runs:
        assert [line["seq"] for line in run] == list(range(1, len(run) + 1))
        assert (run[0]["event"], run[-1]["event"]) == ("transfer.begin", "transfer.end")
    told = [line for line in runs[0] if line["event"] == "transfer.attempt"]
    assert len(told) == len(found)
    assert {line["error"]["name"] for line in told if "error" in line} == {"NoSuchFile", "StorageServiceNotAvailable"}
    assert sorted(line["event"] for line in runs[0][len(told) + 1 : -1]) == ["transfer.file"] * 3 + ["transfer.mkdir"]


def test_an_attempt_is_on_the_stream_and_in_the_db_before_the_rest_is_done(tmp_path: Path) -> None:
    with serving(tmp_path / "web") as web:
        (web.root / "a").write_bytes(b"a")
        (web.root / "b").write_bytes(b"b")
        names = {"a": "a", "b": "stall/b"}
        entries = [
            {"type": "transfer", "sources": [f"{web.url}/{path}"], "targets": [f"{tmp_path}/{name}"]}
            for name, path in names.items()
        ]
        path = listed(tmp_path, *entries)
        words = [sys.executable, "-P", "-m", "pilot", "transfer", str(path), "--events", "e.jsonl", "--db", "t.db"]
        with subprocess.Popen(words, cwd=tmp_path, env={"PYTHONPATH": str(ROOT)}, stderr=subprocess.PIPE) as child:
            try:
                until(lambda: (tmp_path / "e.jsonl").exists() and len(events(tmp_path / "e.jsonl")) == 2)
            finally:
                child.send_signal(signal.SIGTERM)
            assert child.wait(30) == 128 + signal.SIGTERM
    last = events(tmp_path / "e.jsonl")[-1]
    assert (last["event"], last["done"], last["failed"]) == ("transfer.end", 1, 1)
    assert rows(tmp_path / "t.db", "SELECT count(*) FROM transfers") == [(2,)]


@pytest.mark.parametrize("option", ["--db", "--events"])
def test_a_record_that_cannot_be_begun_is_named_before_anything_moves(option: str, tmp_path: Path) -> None:
    (tmp_path / "in").write_bytes(b"x")
    (tmp_path / "file").write_bytes(b"no database")
    path = listed(tmp_path, {"type": "transfer", "sources": [f"{tmp_path}/in"], "targets": [f"{tmp_path}/out"]})
    done = pilot("transfer", path, option, tmp_path / "file" / "x", cwd=tmp_path)
    assert done.returncode != 0 and "file/x" in done.stderr and done.stderr.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_a_full_disk_for_the_records_does_not_stop_the_files(tmp_path: Path) -> None:
    (tmp_path / "in").write_bytes(b"x")
    path = listed(tmp_path, {"type": "transfer", "sources": [f"{tmp_path}/in"], "targets": [f"{tmp_path}/out"]})
    done = pilot("transfer", path, "--events", "/dev/full", cwd=tmp_path)
    assert done.returncode == 0 and (tmp_path / "out").read_bytes() == b"x"
    assert "event stream" in done.stderr and "space" in done.stderr


class Traces(BaseHTTPRequestHandler):
    got: list[dict[str, Any]]

    def do_POST(self) -> None:
        self.server.got.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))  # type: ignore[attr-defined]
        self.send_response(201)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing."""


def test_each_attempt_is_told_to_rucio_where_that_is_asked_for(tmp_path: Path) -> None:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Traces)
    server.got = []  # type: ignore[attr-defined]
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        (tmp_path / "in").write_bytes(b"content")
        with serving(tmp_path / "web") as web:
            (web.root / "f").write_bytes(b"data")
            place = {"url": f"{web.url}/f", "rse": "FAR"}
            more = {"scope": "s", "dataset": "d", "guid": "1-2"}
            entries = [
                {"type": "transfer", "lfn": "f", "sources": [place], "targets": [f"{tmp_path}/f"], **more},
                {"type": "transfer", "lfn": "g", "sources": [f"{tmp_path}/in"], "targets": [f"{web.url}/up"]},
                {"type": "transfer", "lfn": "h", "sources": [f"{tmp_path}/nope"], "targets": [f"{tmp_path}/h"]},
            ]
            url = f"http://127.0.0.1:{server.server_address[1]}/traces/"
            words = ["transfer", listed(tmp_path, *entries), "--traces", url, "--local-site", "HERE"]
            proxy = str(Authority(tmp_path).proxy)
            whose = {"PandaID": "17", "PanDA_TaskID": "3", "PANDA_RESOURCE": "Q", "X509_USER_PROXY": proxy}
            done = pilot(*words, cwd=tmp_path, **whose)
            assert done.returncode == 2, done.stderr
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
    traces = {trace["filename"]: trace for trace in server.got}  # type: ignore[attr-defined]
    assert {t["filename"]: (t["eventType"], t["clientState"], t["remoteSite"]) for t in traces.values()} == {
        "f": ("get_sm", "DONE", "FAR"), "g": ("put_sm", "DONE", "HERE"), "h": ("get_sm", "MISSINGOUTPUTFILE", "HERE")
    }  # fmt: skip
    trace = traces["f"]
    told = [trace[name] for name in ("scope", "dataset", "guid", "filesize", "appid", "taskid", "pq", "localSite")]
    assert told == ["s", "d", "12", 4, "17", 3, "Q", "HERE"]
    assert trace["ip"] == "127.0.0.1" and trace["hostname"] and "+" in trace["eventVersion"]
    assert trace["timeStart"] <= trace["validateStart"] <= trace["timeEnd"]
    assert (trace["usrdn"], trace["usr"]) == ("/CN=user", hashlib.md5(b"/CN=user").hexdigest())
    assert len(trace) == 30


def test_traces_that_nobody_takes_are_told_and_cost_no_file(tmp_path: Path) -> None:
    (tmp_path / "in").write_bytes(b"x")
    path = listed(tmp_path, {"type": "transfer", "sources": [f"{tmp_path}/in"], "targets": [f"{tmp_path}/out"]})
    done = pilot("transfer", path, "--traces", "http://127.0.0.1:1/traces", "--local-site", "HERE", cwd=tmp_path)
    assert done.returncode == 0 and (tmp_path / "out").exists()
    assert "1 traces were not taken" in done.stderr
