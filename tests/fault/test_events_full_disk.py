"""Event ranges on a disk that fills up: what was worked through is stored in small pieces, nothing is told untruly."""

from __future__ import annotations

import shlex
import sys
import tarfile

from pilot.core.ranges import RangeStatus
from pilot.plugins.sources.dummy import DummySource
from pilot.plugins.sources.dummy_events import DummyEvents
from tests.bench import Bench, shell_job
from tests.fault.test_fault_full_disk import Mount, small_disks  # noqa: F401 - a fixture

WORK = """
import os
from pilot.events import ranges
for r in ranges():
    name = f"out.{r.id}"
    try:
        with open(name, "wb") as file:
            file.write(bytes(2_000_000))
    except OSError as error:
        os.unlink(name)
        r.failed(error.strerror)
    else:
        r.done(name)
"""


def test_outputs_that_fill_half_of_the_disk_are_stored_although_no_archive_of_all_fits(
    tmp_path,
    small_disk: Mount,
) -> None:
    """14 MB of outputs on 24 MB: the archive of all needs as much again."""
    small_disk(tmp_path / "pilot", 24)
    events = DummyEvents(events=7, per_range=1)
    job = shell_job(1, f"exec {shlex.quote(sys.executable)} -c {shlex.quote(WORK)}", eventService="True")
    source = DummySource([job])
    source.events = events
    bench = Bench(tmp_path, source)
    bench.run(patience_s=90)
    assert len(events.finished) == 7 and bench.final(1).error is None, events.told
    stored = []
    for path in bench.outputs.glob("EventService_premerge_*.tar"):
        with tarfile.open(path) as archive:
            stored += archive.getnames()
    assert sorted(stored) == sorted(f"out.{id}" for id in events.finished)
    assert len(events.archives) > 1


def test_on_a_disk_that_is_full_what_is_told_is_what_is_stored(tmp_path, small_disk: Mount) -> None:
    """40 MB of outputs on 24 MB: ranges fail for lack of room, or the job does when the PilotDB has none; each range
    has one outcome at most, and it is the true one."""
    small_disk(tmp_path / "pilot", 24)
    events = DummyEvents(events=20, per_range=1)
    job = shell_job(1, f"exec {shlex.quote(sys.executable)} -c {shlex.quote(WORK)}", eventService="True")
    source = DummySource([job])
    source.events = events
    bench = Bench(tmp_path, source)
    bench.run(patience_s=120)
    assert 1 in {update.job_id for update in bench.source.final.values()}
    stored = []
    for path in bench.outputs.glob("EventService_premerge_*.tar"):
        with tarfile.open(path) as archive:
            stored += archive.getnames()
    assert sorted(stored) == sorted(f"out.{id}" for id in events.finished)
    failed = [update for update in events.told.values() if update.status is not RangeStatus.FINISHED]
    assert all("no space" in update.error_text.lower() for update in failed) and not events.conflicts
    error = bench.final(1).error
    if error is None:
        assert len(events.told) == 20 and failed
    else:
        assert error.code == 1098
