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


def test_a_reader_that_hangs_holds_nobody_up_for_ever(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sharedread, "_PATIENCE_S", 0.01)
    monkeypatch.setattr(sharedread, "_MOST_KEPT", 4)
    data = os.urandom(SIZE)
    shared = SharedRead(str(content(tmp_path / "f", data)), 2)
    got: dict[int, bytes] = {}
    drain(shared, 0, got, BLOCK)
    drain(shared, 1, got, BLOCK)
    assert got[0] == got[1] == data


def test_two_destinations_are_fed_from_one_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = os.urandom(SIZE)
    made: list[SharedRead] = []

    class Counted(SharedRead):
        def __init__(self, path: str, readers: int) -> None:
            super().__init__(path, readers)
            made.append(self)

    monkeypatch.setattr("pilot.staging.merge.SharedRead", Counted)
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
