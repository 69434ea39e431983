"""A file system that does not answer any more below a work directory: payloads are watched and ended all the same."""

from __future__ import annotations

import logging
import os
import queue
import secrets
import select
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from functools import partial
from pathlib import Path

import pytest

from pilot.core.limits import Limits
from pilot.engine.leavings import disk_mb
from pilot.engine.monitor import LimitBroken, Monitor, Sampled
from pilot.lib import process
from pilot.lib.worker import Crew
from pilot.plugins.sources.dummy import DummySource
from tests.bench import Bench, patience, shell_job
from tests.hung_mount import hung_mount


@pytest.fixture
def hung(tmp_path: Path) -> Iterator[tuple[Path, ExitStack]]:
    """The work directory of a payload, in which there is a mount that does not answer until the stack is closed."""
    work = tmp_path / "dead"
    (work / "mnt").mkdir(parents=True)
    with ExitStack() as stack:
        try:
            stack.enter_context(hung_mount(work / "mnt"))
        except OSError as error:
            if os.environ.get("CI") == "true":
                raise
            pytest.skip(f"no FUSE file system can be mounted here: {error}")
        yield work, stack


@pytest.fixture
def dead(hung: tuple[Path, ExitStack]) -> Path:
    """The same directory, for tests in which it never answers."""
    return hung[0]


def start(code: str, work: Path) -> process.Child:
    argv = [sys.executable, "-S", "-E", "-c", "import time\n" + code]
    return process.spawn(argv, cwd=work, env={}, stdout=1, stderr=2, token=secrets.token_hex(8))


def test_the_sampler_goes_on_and_the_log_tells_whose_disk_is_silent(
    tmp_path: Path, dead: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both jobs are sampled, limits of both hold, disk limits of the healthy one as well."""
    monkeypatch.setattr(logging.getLogger("pilot"), "propagate", True)
    inbox: queue.SimpleQueue[object] = queue.SimpleQueue()
    monitor = Monitor(inbox.put, interval_s=0.2, record_s=0.2, disk_patience_s=0.5)
    monitor.start()
    healthy = tmp_path / "healthy"
    healthy.mkdir()
    one, two = (
        start("time.sleep(60)", dead),
        start("open('big', 'wb').write(bytes(9_000_000)); time.sleep(60)", healthy),
    )
    try:
        monitor.watch("dead", one, dead, Limits(wall_s=4, workdir_mb=1))
        monitor.watch("healthy", two, healthy, Limits(workdir_mb=5, workdir_grace=1.0))
        broken: dict[str, int] = {}
        sampled: dict[str, int] = {}
        end = time.monotonic() + 40
        while len(broken) < 2 and time.monotonic() < end:
            match inbox.get(timeout=30):
                case LimitBroken(key=key, failure=failure):
                    broken[key] = failure.code
                case Sampled(key=key):
                    sampled[key] = sampled.get(key, 0) + 1
        assert broken == {"dead": 1213, "healthy": 1104}
        assert min(sampled.values()) > 1
        for child in (one, two):
            child.kill()
            assert select.select([child.pidfd], [], [], 30)[0]
            child.poll()
        begun = time.monotonic()
        assert monitor.unwatch("dead").wall_s > 4
        assert time.monotonic() - begun < 20
        assert monitor.unwatch("healthy").max_workdir_kb >= 8000
        assert (healthy / "memory_monitor_summary.json").exists()
        told = [r.getMessage() for r in caplog.records if "does not answer" in r.getMessage()]
        assert told and all("job dead:" in text for text in told)
    finally:
        for child in (one, two):
            child.kill()
            child.poll() or select.select([child.pidfd], [], [], 10)
            child.poll()
            child.close()
        monitor.close()
    assert "monitor" not in [thread.name for thread in threading.enumerate()]


def test_the_size_of_a_disk_that_does_not_answer_is_not_waited_for(tmp_path: Path, dead: Path) -> None:
    monitor = Monitor(lambda message: None)
    try:
        assert monitor.on_disk("1.1", lambda: disk_mb(dead / "mnt"), -1) == -1
        assert monitor.on_disk("2.1", lambda: disk_mb(tmp_path), -1) > 0, "others are served meanwhile"
        with pytest.raises(FileNotFoundError):
            monitor.on_disk("3.1", lambda: disk_mb(tmp_path / "nowhere"), -1)
    finally:
        monitor.close()


def test_a_pilot_serves_its_other_jobs_beside_last_words_on_a_disk_that_does_not_answer(
    tmp_path: Path, hung: tuple[Path, ExitStack]
) -> None:
    """The first payload leaves a standard error that nobody can read; its log waits for the disk, the next job does
    not."""
    dead, mount = hung
    lost = f"rm payload.stderr; ln -s {dead / 'mnt' / 'file'} payload.stderr; exit 3"
    bench = Bench(tmp_path, DummySource([shell_job(1, lost), shell_job(2, "echo fine")]))
    served: list[bool] = []

    def heal() -> None:
        end = time.monotonic() + 60
        while "2.1" not in bench.source.final and time.monotonic() < end:
            time.sleep(0.1)
        served.append("2.1" in bench.source.final)
        mount.close()

    healer = threading.Thread(target=heal)
    healer.start()
    bench.run(patience_s=120, slots="1", jobs=2)
    healer.join()
    assert served == [True] and bench.final(2).error is None
    assert bench.final(1).error.code == 1305 and "exit code 3" in bench.final(1).error.message


def test_a_payload_stuck_in_the_kernel_is_told_as_idle_with_its_state(tmp_path: Path, dead: Path) -> None:
    """Its directory is fine, but it has opened a file on the mount that never answers: state D."""
    work = tmp_path / "work"
    work.mkdir()
    inbox: queue.SimpleQueue[object] = queue.SimpleQueue()
    monitor = Monitor(inbox.put, interval_s=0.2)
    monitor.start()
    child = start(f"open({str(dead / 'mnt' / 'file')!r})", work)
    monitor.watch("1.1", child, work, Limits(idle_s=1))
    try:
        while not isinstance(message := inbox.get(timeout=40), LimitBroken):
            pass
        assert message.failure.code == 1150 and "(1D)" in message.failure.message
        assert f"== process {child.pid} (state D)" in (work / "stacks.txt").read_text()
        child.kill()
        assert select.select([child.pidfd], [], [], 30)[0]
        child.poll()
        monitor.unwatch("1.1")
    finally:
        child.kill()
        child.close()
        monitor.close()


def test_other_jobs_heartbeats_and_the_pilots_end_go_on_beside_a_job_whose_directory_hangs(
    tmp_path: Path, dead: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The disk dies under the first job's payload. Both are told of to the server all the time, others begin and end,
    the first payload's end is seen, and a signal ends the pilot within its grace."""
    monkeypatch.setattr(logging.getLogger("pilot"), "propagate", True)
    others = [shell_job(number, "echo fine > out.txt", outputs=("out.txt",)) for number in (2, 3, 4)]
    source = DummySource([shell_job(1, "touch ../started; exec sleep 4"), *others])
    bench = Bench(tmp_path, source)
    told: list[bool] = []

    def said(words: str) -> bool:
        return any(words in record.getMessage() for record in caplog.records)

    def watch() -> None:
        started = bench.workdir / "started"
        assert patience(lambda: said("job 1.1: payload started") and started.exists(), 90)
        stack.enter_context(hung_mount(bench.directory(1)))
        told.append(patience(lambda: {"2.1", "3.1", "4.1"} <= set(source.final), 90))
        told.append(patience(lambda: said("job 1.1: payload ended"), 90))
        before = sum(update.job_id == 1 for update in source.told)
        told.append(patience(lambda: sum(update.job_id == 1 for update in source.told) >= before + 3, 90))
        os.kill(os.getpid(), signal.SIGTERM)

    watcher = threading.Thread(target=watch)
    with ExitStack() as stack:
        watcher.start()
        begun = time.monotonic()
        assert bench.run(patience_s=280, slots="1", prefetch_jobs=1, heartbeat=0.3, grace=5.0) == 143
        watcher.join()
    assert told == [True, True, True], f"after {time.monotonic() - begun:.0f} s"
    assert all(bench.final(number).error is None for number in (2, 3, 4))
    assert said("its directory does not answer")
    assert bench.finals(1) == 0, "the next pilot finishes it, when its disk is back"
    (run,) = bench.agent.runner.active.values()
    log = bench.directory(1) / "pilot.log"

    def written() -> bool:
        run.log.close()
        return "payload ended" in log.read_text()

    assert patience(written, 60), "what waited for the disk is written when it is back"


def test_inputs_on_a_disk_that_hangs_keep_no_other_jobs_inputs_waiting(
    tmp_path: Path, dead: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One staging thread: it hangs with the first job's input, and another takes its place."""
    monkeypatch.setattr("pilot.engine.means.Crew", partial(Crew, still_s=1.0))
    lost = {"inFiles": "in", "inFilePaths": str(dead / "mnt" / "in"), "scopeIn": "s", "fsize": "1"}
    (tmp_path / "in.txt").write_text("here")
    good = [shell_job(number, "cat in.txt", inputs={"in.txt": tmp_path / "in.txt"}) for number in (2, 3)]
    bench = Bench(tmp_path, DummySource([shell_job(1, "true") | lost, *good]))
    served: list[bool] = []

    def watch() -> None:
        served.append(patience(lambda: {"2.1", "3.1"} <= set(bench.source.final), 90))
        os.kill(os.getpid(), signal.SIGTERM)

    watcher = threading.Thread(target=watch)
    watcher.start()
    assert bench.run(patience_s=200, slots="3", staging_threads=1, grace=2.0) == 143
    watcher.join()
    assert served == [True] and all(bench.final(number).error is None for number in (2, 3))
