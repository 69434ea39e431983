import os
import threading
from pathlib import Path

import pytest

from pilot.core.transfer import Endpoint, Transfer
from pilot.lib import sharedread
from pilot.lib.sharedread import BLOCK, SharedRead
from tests.copytools.making import carry, content
from tests.copytools.webserver import serving

SIZE = 20 * BLOCK + 123


def drain(shared: SharedRead, reader: int, got: dict[int, bytes], step: int) -> None:
    view = memoryview(bytearray(step))
    whole = bytearray()
    descriptor = os.open(shared.path, os.O_RDONLY)
    while count := shared.read(descriptor, reader, view, len(whole)):
        whole += view[:count]
    os.close(descriptor)
    shared.leave(reader)
    got[reader] = bytes(whole)


def test_readers_of_any_pace_get_the_file_from_one_read(tmp_path: Path) -> None:
    data = os.urandom(SIZE)
    shared = SharedRead(str(content(tmp_path / "f", data)), 3)
    got: dict[int, bytes] = {}
    threads = [
        threading.Thread(target=drain, args=(shared, i, got, step)) for i, step in enumerate((4096, 99_999, 3 * BLOCK))
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [got[i] == data for i in range(3)] == [True, True, True]
    assert shared.reads == 21


def test_a_reader_that_hangs_is_left_behind_and_reads_for_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sharedread, "_PATIENCE_S", 0.01)
    monkeypatch.setattr(sharedread, "_MOST_KEPT", 4)
    data = os.urandom(SIZE)
    shared = SharedRead(str(content(tmp_path / "f", data)), 3)
    got: dict[int, bytes] = {}
    drain(shared, 0, got, BLOCK)
    assert shared.reads == 21
    drain(shared, 1, got, 1000)
    drain(shared, 2, got, BLOCK)
    assert got[0] == got[1] == got[2] == data
    assert shared.reads == 21, "those who read for themselves read for nobody else"


def test_one_that_goes_on_too_slowly_is_left_behind_as_well(tmp_path: Path) -> None:
    data = os.urandom(SIZE)
    shared = SharedRead(str(content(tmp_path / "f", data)), 2, most_wait_s=0.05)
    over = threading.Event()

    def slow() -> None:
        while not over.is_set():
            shared.touch(1)
            over.wait(0.001)

    thread = threading.Thread(target=slow)
    thread.start()
    got: dict[int, bytes] = {}
    try:
        drain(shared, 0, got, BLOCK)
    finally:
        over.set()
        thread.join()
    drain(shared, 1, got, BLOCK)
    assert got[0] == got[1] == data


def test_one_that_is_at_work_is_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sharedread, "_MOST_KEPT", 4)
    data = os.urandom(SIZE)
    shared = SharedRead(str(content(tmp_path / "f", data)), 2)
    got: dict[int, bytes] = {}
    fast = threading.Thread(target=drain, args=(shared, 0, got, BLOCK))
    fast.start()
    descriptor = os.open(shared.path, os.O_RDONLY)
    for number in range(22):
        assert shared.reads <= number + 4, "more is read ahead than is kept"
        assert shared.block(descriptor, 1, number) == data[number * BLOCK : (number + 1) * BLOCK]
    shared.leave(1)
    os.close(descriptor)
    fast.join(60)
    assert got[0] == data
    assert shared.reads == 21


def test_nobody_waits_any_more_once_all_have_to_hurry(tmp_path: Path) -> None:
    data = os.urandom(SIZE)
    shared = SharedRead(str(content(tmp_path / "f", data)), 2)
    got: dict[int, bytes] = {}
    waiting = threading.Thread(target=drain, args=(shared, 0, got, BLOCK))
    waiting.start()
    shared.hurry()
    waiting.join(60)
    assert got[0] == data


def test_a_read_that_fails_is_told_to_who_asked_and_the_next_one_tries_itself(tmp_path: Path) -> None:
    shared = SharedRead(str(content(tmp_path / "f", b"x" * SIZE)), 2)
    wrong = os.open(tmp_path, os.O_RDONLY)
    with pytest.raises(IsADirectoryError):
        shared.block(wrong, 0, 0)
    os.close(wrong)
    shared.leave(0)
    got: dict[int, bytes] = {}
    drain(shared, 1, got, BLOCK)
    assert len(got[1]) == SIZE


def test_two_destinations_are_fed_from_one_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = os.urandom(SIZE)
    made: list[SharedRead] = []

    class Counted(SharedRead):
        def __init__(self, path: str, readers: int, most_wait_s: float) -> None:
            super().__init__(path, readers, most_wait_s)
            made.append(self)

    monkeypatch.setattr("pilot.staging.fanout.SharedRead", Counted)
    source = content(tmp_path / "f", data)
    with serving(tmp_path / "web") as web:
        targets = (Endpoint(f"{web.url}/f"), Endpoint(str(tmp_path / "here" / "f")))
        (outcome,) = carry([Transfer("f", (Endpoint(str(source)),), targets)])
        assert outcome.failure is None, outcome.failure
        assert (web.root / "f").read_bytes() == (tmp_path / "here" / "f").read_bytes() == data
    assert [shared.reads for shared in made] == [21]


def test_one_destination_that_fails_does_not_keep_the_other_from_its_file(tmp_path: Path) -> None:
    data = os.urandom(SIZE)
    source = content(tmp_path / "f", data)
    with serving(tmp_path / "web") as web:
        targets = (Endpoint(f"{web.url}/full/f"), Endpoint(str(tmp_path / "here" / "f")))
        (outcome,) = carry([Transfer("f", (Endpoint(str(source)),), targets)])
    assert outcome.failure and outcome.failure.code == 1333
    assert (tmp_path / "here" / "f").read_bytes() == data
