"""Workers, pilot and job server are killed at random moments: still every event is worked through and told once."""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest
import requests

from pilot.lib.program import own_command, own_environment
from pilot.server.launch import running_server
from tests import hzz

PATIENCE_S = 180.0
ENOUGH_DEATHS = 5
pytestmark = hzz.needs_data


def descendants(pid: int) -> list[int]:
    found: list[int] = []
    try:
        for task in Path(f"/proc/{pid}/task").iterdir():
            for child in map(int, (task / "children").read_text().split()):
                found += [child, *descendants(child)]
    except OSError:
        pass  # it has ended meanwhile
    return found


def workers(pilot: subprocess.Popen) -> list[int]:
    """The worker processes of the payload of our own pilot."""
    found = []
    for pid in descendants(pilot.pid):
        try:
            if b"\0work\0" in Path(f"/proc/{pid}/cmdline").read_bytes():
                found.append(pid)
        except OSError:
            pass  # it has ended meanwhile
    return found


class Site:
    """A server that may be restarted on its port, and a directory in which pilots live and die."""

    def __init__(self, folder: Path, dice: random.Random) -> None:
        self.folder, self.dice = folder, dice
        self.outputs = folder / "outputs"
        self.outputs.mkdir()
        self.pilot: subprocess.Popen | None = None
        self.pilots = 0

    def start_pilot(self, url: str) -> None:
        if self.pilot is not None:
            self.pilot.wait()
        self.pilots += 1
        command = own_command(
            "run", "--url", url, "--queue", "HERE", "--jobs", "1", "--workdir", str(self.folder / "w")
        )
        command += ["--output-dir", str(self.outputs), "--wait", "0.2", "--cleanup", "none", "--reruns", "100"]
        with (self.folder / "pilot.err").open("ab") as log:
            self.pilot = subprocess.Popen(command, env=own_environment(), stdout=log, stderr=log)

    def kill_worker(self) -> None:
        found = workers(self.pilot)
        if found and self.most_deaths() < ENOUGH_DEATHS:
            os.kill(self.dice.choice(found), signal.SIGKILL)

    def most_deaths(self) -> int:
        """How many workers have died over one range, at most. A range over which eight die fails, as it should: on a
        slow machine the last ranges would come to that."""
        path = self.folder / "w" / "pilot.db"
        if not path.exists():
            return 0
        with contextlib.closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=10)) as db:
            try:
                return db.execute("SELECT coalesce(max(tries), 0) FROM event_ranges").fetchone()[0]
            except sqlite3.OperationalError:
                return 0  # the pilot is about to make its tables

    def kill_pilot(self) -> None:
        self.pilot.kill()

    def close(self) -> None:
        if self.pilot is not None:
            for pid in descendants(self.pilot.pid):
                os.kill(pid, signal.SIGKILL)
            self.pilot.kill()
            self.pilot.wait()


@pytest.mark.parametrize("seed", range(int(os.environ.get("PILOT_TEST_SEEDS", "2"))))
def test_all_events_are_done_once_whoever_is_killed(tmp_path: Path, seed: int) -> None:
    dice = random.Random(seed)
    site = Site(tmp_path, dice)
    (tmp_path / "payload.py").write_text(hzz.PAYLOAD)
    job = {
        "transformation": sys.executable,
        "jobPars": f"{tmp_path / 'payload.py'} 4 0.1",
        "inFiles": "HZZ.root",
        "inFilePaths": str(hzz.HZZ),
        "scopeIn": "test",
        "eventService": "True",
        "nEvents": hzz.EVENTS,
        "nEventsPerRange": 50,
        "taskID": 4,
        "jobsetID": 5,
        "coreCount": 1,
    }
    db, log = tmp_path / "server.db", tmp_path / "server.err"
    deadline = time.monotonic() + PATIENCE_S
    number, url, port = 0, "", 0
    try:
        while time.monotonic() < deadline:
            with running_server(db, port=port, log=log) as server:
                url, port = server.url, int(server.url.rpartition(":")[2])
                if not number:
                    answer = requests.post(f"{url}/submit", json=[job], timeout=5)
                    assert answer.status_code == 200, answer.text
                    number = answer.json()["jobs"][0]["PandaID"]
                    site.start_pilot(url)
                ended = _live(site, server, number, deadline)
            if ended:
                break
            time.sleep(dice.uniform(0.0, 0.3))
        with running_server(db, port=port, log=log) as server:
            _check(site, server.url, number)
    finally:
        site.close()


def _live(site: Site, server, number: int, deadline: float) -> bool:
    """Do harm until the server is killed (False) or the job has ended (True)."""
    while time.monotonic() < deadline:
        time.sleep(site.dice.uniform(0.1, 0.9))
        if site.pilot.poll() is not None:
            state = requests.get(f"{server.url}/jobs/{number}", timeout=5).json()["state"]
            if state in ("finished", "failed", "cancelled", "closed"):
                return True
            site.start_pilot(server.url)
        harm = site.dice.choice(["worker"] * 6 + ["pilot", "server"] + ["nothing"] * 2)
        if harm == "worker":
            site.kill_worker()
        elif harm == "pilot" and site.pilots < 6:
            site.kill_pilot()
        elif harm == "server" and site.dice.random() < 0.5:
            server.process.kill()
            return False
    return False


def _check(site: Site, url: str, number: int) -> None:
    said = (site.folder / "pilot.err").read_text()[-4000:]
    job = requests.get(f"{url}/jobs/{number}", timeout=5).json()
    ranges = requests.get(f"{url}/jobs/{number}/ranges", timeout=5).json()
    assert job["state"] == "finished", (job, ranges, said)
    pieces = hzz.pieces(sorted(site.outputs.glob("EventService_premerge_*.tar")))
    with contextlib.closing(sqlite3.connect(f"file:{site.folder / 'w' / 'pilot.db'}?mode=ro", uri=True)) as db:
        heard, events = db.execute("SELECT count(*), sum(last_event - start_event + 1) FROM event_ranges").fetchone()
    # A pilot killed between the server's answer and its own note of it has not heard of the ranges in that answer: they
    # are ready for others when the job ends.
    expected = {"finished": heard, "ready": 49 - heard} if heard < 49 else {"finished": 49}
    assert {word: count for word, count in ranges["states"].items() if count} == expected, (ranges, said)
    assert heard == 49 or site.pilots > 1
    done, counts = hzz.merged(pieces.values())
    assert done == events
    assert heard < 49 or counts == hzz.reference()
    assert job["final_reports"] == 1
    assert json.loads((site.folder / "w" / f"job-{number}.1" / "heartbeat.json").read_text())["state"] == "finished"
