"""What every copy tool owes the staging engine. A test module imports these and gives `name` and `base`."""

from __future__ import annotations

import os
import zlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from pilot.core.staging import ToolSettings
from pilot.lib.cancel import Cancel
from pilot.lib.files import local_path
from pilot.plugins.copytools.base import CopyTool, Fault, Move, Moved, ToolError, Watch
from pilot.plugins.copytools.registry import registry
from tests.copytools.places import Place, place_for

ODD_NAMES = [
    "it's.dat",
    'say "hi"',
    "two words",
    "größe",
    "a+b&c=d#e%20f",
    "semi;colon",
    "-rf",
    "$(id)",
    "x" * 255,
    "new\nline",
    "tab\tand \\back",
]


@pytest.fixture(scope="module")
def tool(name: str, base: Place) -> Iterator[CopyTool]:
    made = registry().load(name)(base.settings)
    yield made
    made.close()
    made.close()


@pytest.fixture(scope="module")
def base(name: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    """The place of the tool `name`, for all tests of a module."""
    with place_for(name, tmp_path_factory.mktemp(name)) as found:
        yield found


@pytest.fixture
def place(base: Place, tmp_path: Path) -> Place:
    return base.below(f"{tmp_path.name}-{os.getpid()}")


def watch(cancel: Cancel | None = None) -> Watch:
    return Watch(cancel or Cancel(), lambda size: 30.0, 10.0)


def run(tool: CopyTool, *moves: Move) -> list[Moved]:
    return list(tool.move(moves, watch()))


def get(place: Place, name: str, here: Path) -> Move:
    here.parent.mkdir(parents=True, exist_ok=True)
    return Move(source=place.url(name), target=str(here), lfn=here.name, kinds=("adler32",))


def put(place: Place, here: Path, name: str) -> Move:
    return Move(source=str(here), target=place.url(name), lfn=here.name, kinds=("adler32",))


def check_sum(tool: CopyTool, moved: Moved, data: bytes) -> None:
    assert moved.fault is None, moved
    assert moved.size == len(data)
    if tool.ability.hashes:
        assert moved.checksums["adler32"] == f"{zlib.adler32(data):08x}"


@pytest.mark.parametrize("size", [0, 1, 4096, 3_000_001])
def test_a_file_comes_whole(tool: CopyTool, place: Place, tmp_path: Path, size: int) -> None:
    data = os.urandom(size)
    place.store("file", data)
    (moved,) = run(tool, get(place, "file", tmp_path / "here" / "file"))
    check_sum(tool, moved, data)
    assert (tmp_path / "here" / "file").read_bytes() == data


@pytest.mark.parametrize("size", [0, 4096, 3_000_001])
def test_a_file_goes_whole_and_replaces_what_was_there(tool: CopyTool, place: Place, tmp_path: Path, size: int) -> None:
    if not tool.ability.put:
        pytest.skip("this tool only fetches")
    data = os.urandom(size)
    place.store("file", b"what was there before")
    (tmp_path / "mine").write_bytes(data)
    (moved,) = run(tool, put(place, tmp_path / "mine", "file"))
    check_sum(tool, moved, data)
    assert place.read("file") == data


def test_odd_names_come_and_go(tool: CopyTool, place: Place, tmp_path: Path) -> None:
    names = [odd for odd in ODD_NAMES if "\n" not in odd or not place.url("").startswith("gsiftp")]  # a line each there
    for i, odd in enumerate(names):
        place.store(odd, b"in %d" % i)
    for i, (odd, moved) in enumerate(
        zip(names, run(tool, *(get(place, odd, tmp_path / "h" / odd) for odd in names)), strict=True)
    ):
        assert moved.fault is None, (odd, moved)
        assert (tmp_path / "h" / odd).read_bytes() == b"in %d" % i
    if tool.ability.put:
        for odd in names:
            source = tmp_path / "mine" / odd
            source.parent.mkdir(exist_ok=True)
            source.write_bytes(odd.encode())
            back = place.below("back")
            (moved,) = run(tool, put(back, source, odd))
            assert moved.fault is None, (odd, moved)
            assert back.read(odd) == odd.encode()


def test_a_missing_file_is_told_and_the_others_come_in_order(tool: CopyTool, place: Place, tmp_path: Path) -> None:
    place.store("a", b"a")
    place.store("b", b"bb")
    moves = [get(place, n, tmp_path / "h" / n) for n in ("a", "missing", "b")]
    first, missing, last = run(tool, *moves)
    assert (first.fault, last.fault) == (None, None)
    assert (first.size, last.size) == (1, 2)
    assert missing.fault is Fault.MISSING
    assert missing.detail
    assert not (tmp_path / "h" / "missing").exists()


def test_a_source_that_vanished_is_told_when_it_is_to_be_sent(tool: CopyTool, place: Place, tmp_path: Path) -> None:
    if not tool.ability.put:
        pytest.skip("this tool only fetches")
    (moved,) = run(tool, put(place, tmp_path / "nope", "nope"))
    assert moved.fault is Fault.MISSING
    assert place.read("nope") is None


def test_a_target_directory_that_is_not_there_is_no_reason_to_stop(
    tool: CopyTool, place: Place, tmp_path: Path
) -> None:
    place.store("a", b"a")
    bad = Move(source=place.url("a"), target=str(tmp_path / "no" / "such" / "a"), lfn="a")
    place.store("b", b"b")
    first, second = run(tool, bad, get(place, "b", tmp_path / "h" / "b"))
    if first.fault is None:
        assert (tmp_path / "no" / "such" / "a").read_bytes() == b"a"
    else:
        assert first.fault in (Fault.NO_DIRECTORY, Fault.REFUSED, Fault.BROKEN)
    assert second.fault is None


def test_a_directory_on_a_storage_is_made_for_the_file_that_needs_it(
    tool: CopyTool, place: Place, tmp_path: Path
) -> None:
    if not tool.ability.put or local_path(place.url("x")) is not None:
        pytest.skip("this tool writes to no storage; directories of this machine are the engine's")
    (tmp_path / "mine").write_bytes(b"data")
    (moved,) = run(tool, put(place, tmp_path / "mine", "not/there/yet/file"))
    assert moved.fault is None, moved
    assert place.read("not/there/yet/file") == b"data"


def test_nothing_begins_once_cancelled(tool: CopyTool, place: Place, tmp_path: Path) -> None:
    place.store("a", b"a")
    cancel = Cancel()
    cancel.set()
    with pytest.raises(ToolError) as caught:
        list(tool.move([get(place, "a", tmp_path / "h" / "a")], watch(cancel)))
    assert caught.value.fault is Fault.CANCELLED
    assert not (tmp_path / "h" / "a").exists()


def test_a_storage_tells_the_size_and_right_checksums_only(tool: CopyTool, place: Place) -> None:
    data = os.urandom(5000)
    place.store("a", data)
    try:
        found = tool.stat(place.url("a"))
    except ToolError as error:
        assert error.fault is Fault.UNSUPPORTED
        return
    assert found.size in (None, 5000)
    assert found.checksums.get("adler32", f"{zlib.adler32(data):08x}") == f"{zlib.adler32(data):08x}"
    with pytest.raises(ToolError) as caught:
        tool.stat(place.url("missing"))
    assert caught.value.fault is Fault.MISSING


def test_what_is_removed_is_gone_and_may_be_removed_again(tool: CopyTool, place: Place) -> None:
    if not tool.ability.removes:
        pytest.skip("this tool does not remove")
    place.store("a", b"a")
    place.store("b", b"b")
    tool.remove(place.url("a"))
    tool.remove(place.url("a"))
    assert place.read("a") is None
    assert place.read("b") == b"b"


def test_a_directory_is_made_once_or_twice(tool: CopyTool, place: Place, tmp_path: Path) -> None:
    if not tool.ability.put:
        pytest.skip("this tool only fetches")
    tool.make_directory(place.url("new/deep"))
    tool.make_directory(place.url("new/deep"))
    (tmp_path / "mine").write_bytes(b"data")
    (moved,) = run(tool, put(place, tmp_path / "mine", "new/deep/file"))
    assert moved.fault is None, moved
    assert place.read("new/deep/file") == b"data"


def test_making_a_tool_needs_nothing(name: str) -> None:
    registry().load(name)(ToolSettings()).close()
