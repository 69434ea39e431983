"""Small burners: payloads that use up CPU, memory, disk, processes; and a monitor with an inbox to watch them."""

from __future__ import annotations

import queue
from collections.abc import Iterator
from pathlib import Path

import pytest

from pilot.engine.monitor import Monitor
from pilot.lib import process
from tests.spawning import Start, python_children

Inbox = queue.SimpleQueue[object]

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
    monitor = Monitor(inbox.put, interval_s=0.2, record_s=0.2)
    monitor.start()
    yield monitor
    monitor.close()


@pytest.fixture
def payload(tmp_path: Path) -> Iterator[Start]:
    """Start a burner in `tmp_path`; what is left of it is ended after the test."""
    process.become_subreaper()
    with python_children(tmp_path, BURN) as start:
        yield start
