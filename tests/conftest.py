"""What several directories of tests need."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path

import pytest

from pilot.server.launch import RunningServer, running_server
from tests.pilots import Site


@pytest.fixture(autouse=True)
def _own_log() -> Iterator[None]:
    """A command that a test runs in its own process leaves no log behind that writes to the test's streams."""
    log = logging.getLogger("pilot")
    before = (log.handlers[:], log.level, log.propagate)
    yield
    log.handlers[:], log.propagate = before[0], before[2]
    log.setLevel(before[1])


@pytest.fixture(scope="session")
def job_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    """One embedded job server for all tests that leave it in peace: each has a queue of its own."""
    folder = tmp_path_factory.mktemp("job-server")
    with running_server(folder / "jobs.db", log=folder / "log") as running:
        yield running


@pytest.fixture
def site(job_server: RunningServer, tmp_path: Path) -> Iterator[Site]:
    """A site of its own at the common server."""
    made = Site(tmp_path, job_server.url)
    yield made
    made.end()


@pytest.fixture
def own_server(tmp_path: Path) -> Iterator[RunningServer]:
    """A job server that a test may plague."""
    with running_server(tmp_path / "jobs.db", log=tmp_path / "server.log") as running:
        yield running


@pytest.fixture
def own_site(own_server: RunningServer, tmp_path: Path) -> Iterator[Site]:
    """A site at a job server of its own."""
    made = Site(tmp_path, own_server.url)
    yield made
    made.end()
