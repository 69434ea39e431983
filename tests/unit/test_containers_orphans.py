"""What a dead pilot left is ended all at once: no payload's grace has to be over before the next one hears of it."""

from __future__ import annotations

import os
import secrets
import select
import threading
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from pilot.core.errors import ContainerGeneralFailure
from pilot.db.processes import Process
from pilot.engine.boxes import Boxes
from pilot.engine.recovery import end_orphans
from pilot.lib import process
from pilot.lib.kin import Identity
from pilot.lib.orphans import end_all
from pilot.plugins.containers.base import Container, Host
from pilot.plugins.containers.dummy import DummyContainer, Faults

DEAF = "trap 'echo term {n} >> log' TERM; echo up {n} >> log; while :; do sleep 0.03; echo alive {n} >> log; done"


@pytest.fixture(scope="module", autouse=True)
def subreaper() -> None:
    assert process.become_subreaper()


@pytest.fixture
def payloads(tmp_path: Path) -> Iterator[list[process.Child]]:
    """Three that go on whatever they are told."""
    children = []
    with open(os.devnull, "ab") as out:
        for n in range(3):
            children.append(
                process.spawn(
                    ["/bin/sh", "-c", DEAF.format(n=n)],
                    cwd=tmp_path,
                    env={"PATH": os.environ["PATH"]},
                    stdout=out.fileno(),
                    stderr=out.fileno(),
                    token=secrets.token_hex(8),
                )
            )
    log = tmp_path / "log"
    for _ in range(3000):
        if log.exists() and log.read_text().count("up") == 3:
            break
        select.select([], [], [], 0.01)
    yield children
    for child in children:
        child.kill()
        select.select([child.pidfd], [], [], 10)
        child.poll()
        process.reap_strays({child.sid: 0}, {})
        child.close()


def test_all_are_told_before_the_first_one_is_killed(payloads: list[process.Child], tmp_path: Path) -> None:
    assert end_all([child.identity for child in payloads], 0.5) == [[], [], []]
    lines = (tmp_path / "log").read_text().splitlines()
    last = {n: max(at for at, line in enumerate(lines) if line == f"alive {n}") for n in range(3)}
    for n in range(3):
        assert lines.index(f"term {n}") < min(last.values()), lines
        assert select.select([payloads[n].pidfd], [], [], 10)[0]


class Meeting(DummyContainer):
    """Its `end` returns only when the others are being ended as well."""

    def __init__(self, host: Host, parties: threading.Barrier) -> None:
        super().__init__(host)
        self._parties = parties

    def end(self, name: str) -> None:
        self._parties.wait(30)


def _left(number: int, container: str) -> Process:
    gone = Identity(2**22 + number, f"no-such-boot:{number}", 2**22 + number, f"token{number}")
    return Process(number, f"{number}.1", msgspec.json.encode(gone).decode(), container)


def test_containers_are_ended_side_by_side() -> None:
    meeting = Meeting(Host(), threading.Barrier(4))
    boxes = Boxes(lambda name: meeting)
    assert end_orphans([_left(n, f"dummy:c{n}") for n in range(4)], 1.0, boxes) == [0, 1, 2, 3]


def test_a_runtime_that_does_not_answer_is_told_of_and_holds_nobody_up(caplog: pytest.LogCaptureFixture) -> None:
    def load(name: str) -> Container:
        if name == "gone":
            raise ContainerGeneralFailure("there is no such runtime any more")
        return DummyContainer(Host(), Faults(deaf=name == "deaf"))

    found = end_orphans([_left(1, "deaf:a"), _left(2, "gone:b"), _left(3, "dummy:c"), _left(4, "")], 1.0, Boxes(load))
    assert found == [3, 4], "the others stay noted for the next pilot"
    told = [record.getMessage() for record in caplog.records]
    assert len(told) == 2 and "1.1" in told[0] and "2.1" in told[1]
