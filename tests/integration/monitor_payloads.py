"""Small burners: payloads that use up CPU, memory, disk, processes; and a monitor with an inbox to watch them."""

from __future__ import annotations

import os
import queue
import secrets
import select
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pilot.engine.monitor import Monitor
from pilot.lib import process

Inbox = queue.SimpleQueue[object]
Start = Callable[[str], process.Child]

BURN = """
import os, sys, time
def burn(seconds):
    end = time.process_time() + seconds
    while time.process_time() < end: pass
def hold(mb):
    return bytearray(os.urandom(4096)) * (mb * 256)
def child(work, *args):
    pid = os.fork()
    if pid == 0:
        work(*args)
        os._exit(0)
    return pid
"""


@pytest.fixture
def inbox() -> Inbox:
    return queue.SimpleQueue()


@pytest.fixture
def monitor(inbox: Inbox) -> Iterator[Monitor]:
    process.become_subreaper()
    monitor = Monitor(inbox.put, interval_s=0.2, record_s=0.2)
    monitor.start()
    yield monitor
    monitor.close()


@pytest.fixture
def payload(tmp_path: Path) -> Iterator[Start]:
    """Start a burner in `tmp_path`; what is left of it is ended after the test."""
    children = []

    def spawn(code: str) -> process.Child:
        with open(tmp_path / "payload.stdout", "ab") as out:
            child = process.spawn(
                [sys.executable, "-c", BURN + code],
                cwd=tmp_path,
                env={"PATH": os.environ["PATH"]},
                stdout=out.fileno(),
                stderr=out.fileno(),
                token=secrets.token_hex(8),
            )
        children.append(child)
        return child

    yield spawn
    for child in children:
        child.kill()
        child.poll() or select.select([child.pidfd], [], [], 10)
        child.poll()
        process.reap_strays({child.sid: 0}, {})
        child.close()
