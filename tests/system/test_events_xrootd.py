"""Just the bytes that upcoming events need, out of a large file at an XRootD server: by the package, and by xrdcp."""

from __future__ import annotations

import os
import shlex
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pilot.core.errors import CommunicationFailure, StageInFailed
from pilot.core.ranges import EventRange, RangeStatus
from pilot.lib.extents import fetch
from pilot.lib.extents_xrootd import ByPackage, ByProgram, reader
from pilot.plugins.sources.dummy import DummySource
from pilot.plugins.sources.dummy_events import DummyEvents
from tests.bench import Bench, shell_job

RECORD = 100_000
EVENTS = 300
CODE = """
import os
from pilot.events import ranges
for r in ranges():
    found = os.stat(r.path)
    assert found.st_size == 300 * 100000 and found.st_blocks * 512 < 6 * 1000 * 1000, found
    with open(r.path, "rb") as file:
        for event in range(r.start_event, r.last_event + 1):
            file.seek((event - 1) * 100000)
            assert file.read(100000) == b"%08d" % (event - 1) * 12500, (r.id, event)
    r.done()
"""


@pytest.fixture(params=["package", "xrdcp"])
def how(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, xrootd: dict[str, Any]) -> str:
    for name, value in xrootd["env"].items():
        monkeypatch.setenv(name, value)
    if request.param == "xrdcp":
        monkeypatch.setitem(sys.modules, "XRootD", None)
    elif os.environ.get("CI") != "true":
        pytest.importorskip("XRootD")
    return str(request.param)


@pytest.fixture
def file(xrootd: dict[str, Any]) -> Iterator[Path]:
    path = Path(xrootd["folder"]) / f"events-{os.getpid()}.bin"
    path.write_bytes(b"".join(b"%08d" % n * (RECORD // 8) for n in range(EVENTS)))
    shutil.chown(path, "xrootd")
    yield path
    path.unlink()


def url(xrootd: dict[str, Any], file: Path) -> str:
    return f"{xrootd['root']}/{file.name}"


def test_both_ways_are_there(how: str, xrootd: dict[str, Any], file: Path, tmp_path: Path) -> None:
    made = reader(url(xrootd, file), tmp_path / "x")
    assert isinstance(made, ByPackage if how == "package" else ByProgram)
    data = file.read_bytes()
    for first, count in ((0, 10), (12_345_678, 1_000_000), (len(data) - 5, 100), (len(data), 10)):
        assert made(first, count) == data[first : first + count]
    made.close()
    assert os.listdir(tmp_path) == []


def test_parts_lie_at_their_places_and_nothing_else(
    how: str, xrootd: dict[str, Any], file: Path, tmp_path: Path
) -> None:
    parts = [(500_000, 200_000), (20_000_001, 333_333)]
    assert fetch(url(xrootd, file), parts, tmp_path / "copy", EVENTS * RECORD) == 533_333
    copy, data = (tmp_path / "copy").read_bytes(), file.read_bytes()
    expected = bytearray(len(data))
    for first, count in parts:
        expected[first : first + count] = data[first : first + count]
    assert copy == expected
    assert (tmp_path / "copy").stat().st_blocks * 512 < 1_000_000 and os.listdir(tmp_path) == ["copy"]


def test_what_is_not_there_is_told(how: str, xrootd: dict[str, Any], tmp_path: Path) -> None:
    with pytest.raises(StageInFailed, match=r"(?i)no such file|3011"):
        fetch(f"{xrootd['root']}/nothing.bin", [(0, 10)], tmp_path / "a")
    with pytest.raises(CommunicationFailure):
        fetch("root://127.0.0.1:1//data/x", [(0, 10)], tmp_path / "b")


def test_a_job_reads_the_bytes_of_its_events_alone(
    how: str, xrootd: dict[str, Any], file: Path, tmp_path: Path
) -> None:
    events = DummyEvents(events=0)
    events.ranges = [
        EventRange(
            f"9-1-1-{n + 1}-1", file.name, first, first + 4, extra={"byteRanges": [[(first - 1) * RECORD, 5 * RECORD]]}
        )
        for n, first in enumerate(range(11, 281, 30))
    ]
    events.ready.extend(events.ranges)
    job = shell_job(1, f"exec {shlex.quote(sys.executable)} -c {shlex.quote(CODE)}", eventService="True")
    job |= {
        "inFiles": file.name, "scopeIn": "test", "inFilePaths": url(xrootd, file), "fsize": str(EVENTS * RECORD),
        "usePrefetcher": "True",
    }  # fmt: skip
    source = DummySource([job])
    source.events = events
    bench = Bench(tmp_path, source)
    assert bench.run(patience_s=90, cleanup="none") == 0
    failed = [update.error_text for update in events.told.values() if update.status is not RangeStatus.FINISHED]
    assert len(events.finished) == 9 and not failed, failed
    assert not (bench.directory(1) / file.name).exists(), "the file was not staged in as a whole"
