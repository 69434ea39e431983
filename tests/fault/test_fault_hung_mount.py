"""A file system that does not answer any more below a work directory: payloads are watched and ended all the same."""

from __future__ import annotations

import logging
import os
import queue
import secrets
import select
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from pilot.core.limits import Limits
from pilot.engine.monitor import LimitBroken, Monitor, Sampled
from pilot.lib import process
from tests.hung_mount import hung_mount


@pytest.fixture
def dead(tmp_path: Path) -> Iterator[Path]:
    """The work directory of a payload, in which there is a mount that never answers."""
    work = tmp_path / "dead"
    (work / "mnt").mkdir(parents=True)
    try:
        mount = hung_mount(work / "mnt")
        mount.__enter__()
    except OSError as error:
        if os.environ.get("CI") == "true":
            raise
        pytest.skip(f"no FUSE file system can be mounted here: {error}")
    yield work
    mount.__exit__(None, None, None)


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
