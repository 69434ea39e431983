"""Event service jobs in a whole pilot: ranges are got, worked through by several workers, packed, stored and told."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path

from pilot.core.errors import CommunicationFailure, OutcomesNotStored
from pilot.core.ranges import RangeStatus
from pilot.plugins.sources.dummy import DummySource
from pilot.plugins.sources.dummy_events import DummyEvents
from tests import hzz
from tests.bench import Bench, shell_job


def event_job(code: str, **more) -> dict:
    return shell_job(1, f"exec {shlex.quote(sys.executable)} -c {shlex.quote(code)}", eventService="True", **more)


def pilot(tmp_path: Path, events: DummyEvents, job: dict) -> Bench:
    source = DummySource([job])
    source.events = events
    return Bench(tmp_path, source)


WORK = """
from pilot.events import ranges
for r in ranges():
    with open(f"out.{r.id}", "w") as file:
        file.write(f"{r.start_event} {r.last_event}")
    r.done(file.name)
"""


def test_every_range_is_worked_through_stored_and_told_once(tmp_path):
    events = DummyEvents(events=95, per_range=10)
    bench = pilot(tmp_path, events, event_job(WORK))
    assert bench.run() == 0
    final = bench.final(1)
    assert final.state == "finished" and final.error is None
    assert final.events == 95
    assert events.finished == [item.id for item in events.ranges] and not events.conflicts
    (chunk,) = events.archives
    stored = bench.outputs / chunk.archive.lfn
    assert chunk.archive.size == stored.stat().st_size and chunk.archive.events == 95
    from pilot.lib.checksum import checksum_of

    assert chunk.archive.adler32 == checksum_of(str(stored), ["adler32"]).values()["adler32"]
    import tarfile

    with tarfile.open(stored) as archive:
        assert sorted(archive.getnames()) == sorted(f"out.{item.id}" for item in events.ranges)
        assert archive.extractfile(f"out.{events.ranges[-1].id}").read() == b"91 95"


def test_the_pilot_asks_for_no_more_than_is_used(tmp_path):
    events = DummyEvents(events=1000, per_range=1)
    code = """
import time
from pilot.events import ranges
for n, r in enumerate(ranges()):
    time.sleep(0.6)
    r.done()
    if n == 2:
        break
"""
    bench = pilot(tmp_path, events, event_job(code))
    assert bench.run() == 0
    assert sum(events.asked) < 30
    assert len(events.finished) == 3
    assert bench.final(1).events == 3


def test_a_failed_range_is_told_with_its_reason_and_fails_no_job(tmp_path):
    events = DummyEvents(events=30, per_range=10)
    code = """
from pilot.events import ranges
for r in ranges():
    if r.start_event == 11:
        r.failed("bad basket", fatal=True)
    else:
        r.done()
"""
    bench = pilot(tmp_path, events, event_job(code))
    assert bench.run() == 0
    assert bench.final(1).state == "finished" and bench.final(1).events == 20
    told = events.told[events.ranges[1].id]
    assert (told.status, told.error_code, told.error_text) == (RangeStatus.FATAL, 1228, "bad basket")


def test_an_output_that_is_not_there_fails_its_range(tmp_path):
    events = DummyEvents(events=20, per_range=10)
    code = "from pilot.events import ranges\nfor r in ranges():\n    r.done('nowhere.root')"
    bench = pilot(tmp_path, events, event_job(code))
    assert bench.run() == 0
    told = list(events.told.values())
    assert [t.status for t in told] == [RangeStatus.FAILED] * 2
    assert "nowhere.root cannot be read" in told[0].error_text


def test_there_is_no_payload_without_events(tmp_path):
    events = DummyEvents(events=0)
    bench = pilot(tmp_path, events, event_job("open('ran', 'w')"))
    bench.run()
    assert bench.final(1).error.code == 1238
    assert not (bench.directory(1) / "ran").exists()
    assert events.asked == []


def test_a_payload_that_asks_for_nothing_has_failed(tmp_path):
    events = DummyEvents(events=10)
    bench = pilot(tmp_path, events, event_job("pass"))
    bench.run()
    assert bench.final(1).error.code == 1224
    assert "none of" in bench.final(1).error.message
    assert not events.told


def test_the_server_may_be_away_while_ranges_are_worked_through(tmp_path):
    events = DummyEvents(events=40, per_range=10)
    away = CommunicationFailure("nobody answers")
    events.faults.extend([None, away])
    events.lose_answers = 1
    bench = pilot(tmp_path, events, event_job(WORK))
    assert bench.run() == 0
    assert events.finished == [item.id for item in events.ranges] and not events.conflicts
    assert bench.final(1).events == 40


def test_a_server_that_never_stores_outcomes_fails_the_job_and_the_pilotdb_keeps_them(tmp_path):
    """The payload has ended by then: the report says what the server does not know, and nothing is lost here."""
    events = DummyEvents(events=40, per_range=10)
    events.delay_s = 0.1
    events.update = lambda *given: deaf()
    bench = pilot(tmp_path, events, event_job(WORK))
    assert bench.run(event_tell_tries=2, patience_s=60) == 0
    final = bench.final(1)
    assert final.state == "failed" and final.error.code == 1224
    assert "4 outcomes (4 finished, 0 failed: 9-1-1-1-1, " in final.error.message
    assert "after 2 requests" in final.error.message and "status 500" in final.error.message
    assert final.events == 40
    (archive,) = bench.outputs.glob("EventService_premerge_*.tar")
    with bench.reading() as db:
        assert db.execute("SELECT count(*) FROM event_ranges WHERE state = 4").fetchone() == (4,)
        assert db.execute("SELECT lfn, state FROM event_archives").fetchall() == [(archive.name, "stored")]


def test_a_payload_at_work_is_ended_when_the_server_never_stores_outcomes(tmp_path):
    events = DummyEvents(events=2, per_range=1)
    events.update = lambda *given: deaf()
    code = "import time\nfrom pilot.events import ranges\nfor r in ranges():\n    r.done()\ntime.sleep(300)"
    bench = pilot(tmp_path, events, event_job(code))
    assert bench.run(event_tell_tries=1, patience_s=60) == 0
    assert bench.final(1).error.code == 1224


def deaf():
    raise OutcomesNotStored("status 500")


def test_softkill_lets_the_running_ranges_finish(tmp_path):
    events = DummyEvents(events=100000, per_range=1)
    code = "import time\nfrom pilot.events import ranges\nfor r in ranges():\n    time.sleep(0.05)\n    r.done()"
    bench = pilot(tmp_path, events, event_job(code))
    bench.at(1.0, lambda: bench.agent.runner.events.drain(bench.agent.runner.active["1.1"]))
    assert bench.run() == 0
    assert bench.final(1).state == "finished"
    assert 3 <= len(events.finished) == bench.final(1).events < 60


def test_a_signal_saves_what_has_been_done(tmp_path):
    events = DummyEvents(events=100000, per_range=1)
    code = WORK.replace("    r.done", "    import time; time.sleep(0.02)\n    r.done")
    bench = pilot(tmp_path, events, event_job(code))
    import os
    import signal

    bench.at(1.5, lambda: os.kill(os.getpid(), signal.SIGTERM))
    assert bench.run() == 143
    assert bench.final(1).error.code == 1201
    assert len(events.finished) > 5
    names = {name for chunk in events.archives for name in hzz_names(bench.outputs / chunk.archive.lfn)}
    assert names == {f"out.{id}" for id in events.finished}


def hzz_names(path: Path) -> list[str]:
    import tarfile

    with tarfile.open(path) as archive:
        return archive.getnames()


@hzz.needs_data
def test_a_histogram_made_range_by_range_is_the_one_made_in_one_go(tmp_path):
    events = DummyEvents(events=hzz.EVENTS, per_range=50, lfn="HZZ.root")
    job = shell_job(
        1,
        f"exec {shlex.quote(sys.executable)} payload.py 4",
        inputs={"HZZ.root": hzz.HZZ, "payload.py": write(tmp_path / "payload.py", hzz.PAYLOAD)},
        eventService="True",
    )
    bench = pilot(tmp_path, events, job)
    assert bench.run(patience_s=60) == 0
    assert bench.final(1).error is None and bench.final(1).events == hzz.EVENTS
    pieces = hzz.pieces(bench.outputs / chunk.archive.lfn for chunk in events.archives)
    assert sorted(pieces) == sorted(item.id for item in events.ranges)
    assert hzz.merged(pieces.values()) == (hzz.EVENTS, hzz.reference())


def write(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


def test_paths_are_told_as_a_container_shows_them(tmp_path):
    """A payload that sees its directory as /srv gets such paths and tells such paths."""
    import subprocess
    import threading

    from pilot.core.job import JobDefinition
    from pilot.core.staging import StagingSettings
    from pilot.core.storage import StagingSite
    from pilot.db.store import Store
    from pilot.engine.eventservice.service import EventService, Order
    from pilot.plugins.copytools.registry import ALIASES, by_scheme, registry
    from pilot.staging.toolbox import Toolbox
    from pilot.staging.transfer import Transferer

    job, outputs = tmp_path / "job", tmp_path / "outputs"
    job.mkdir()
    outputs.mkdir()
    Store(tmp_path / "pilot.db").close()
    events, answers, news = DummyEvents(events=2, per_range=1, lfn="in"), [], threading.Event()

    def then(result, error):
        answers.append((result, error))
        news.set()

    transferer = Transferer(StagingSettings(), Toolbox(registry(), by_scheme(), ALIASES))
    service = EventService(events, transferer, str(tmp_path / "pilot.db"), lambda call: call(), then, then)
    order = Order(JobDefinition(1), str(job), StagingSite(output_dir=str(outputs)), "/srv", {"in": "/srv/in"})
    service.open(order, then)
    assert news.wait(10)
    opened, error = answers.pop()
    assert error is None
    assert opened.variables == {"PILOT_EVENTS": "ipc:///srv/events.zmq", "PILOT_EVENTRANGECHANNEL": "/srv/events.sock"}
    assert opened.python_path == "/srv/events/client"
    code = """
from pilot.events import ranges
for r in ranges():
    assert r.path == "/srv/in", r.path
    open(f"out.{r.id}", "w").write("x")
    r.done(f"/srv/out.{r.id}")
"""
    env = {"PYTHONPATH": str(job / "events/client"), "PILOT_EVENTS": f"ipc://{job}/events.zmq"}
    subprocess.run([sys.executable, "-c", code], env=env, cwd=job, check=True, timeout=20)
    news.clear()
    service.finish(order, then)
    assert news.wait(20)
    service.close()
    assert len(events.finished) == 2 and len(hzz_names(next(outputs.iterdir()))) == 2
