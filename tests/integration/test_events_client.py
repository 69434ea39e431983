"""The package that a payload gets works alone: without the pilot's own packages, without pyzmq, on an old Python."""

from __future__ import annotations

import ast
import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from pilot.plugins.sources.dummy import DummySource
from pilot.plugins.sources.dummy_events import DummyEvents
from pilot.runtime.eventclient import install
from tests.bench import Bench, shell_job

BARE = [sys.executable, "-S"]  # only the standard library
WORK = """
from pilot.events import ranges
try:
    import zmq
    raise SystemExit("this test needs a Python without pyzmq")
except ImportError:
    pass
for r in ranges():
    r.done()
"""


def job(code: str, **more: object) -> dict:
    words = " ".join(map(shlex.quote, [*BARE, "-c", code]))
    return shell_job(1, f"exec {words}", eventService="True", **more)


def bench(tmp_path: Path, described: dict, ranges: int = 5) -> tuple[Bench, DummyEvents]:
    events = DummyEvents(events=ranges, per_range=1)
    source = DummySource([described])
    source.events = events
    made = Bench(tmp_path, source)
    made.run(patience_s=40, cleanup="none")
    return made, events


def test_a_payload_with_nothing_but_python_works_through_ranges(tmp_path: Path) -> None:
    made, events = bench(tmp_path, job(WORK))
    assert len(events.finished) == 5 and made.final(1).error is None


def test_a_payload_that_makes_its_path_anew_finds_the_package_in_its_directory(tmp_path: Path) -> None:
    lost = "unset PYTHONPATH; export PYTHONPATH=$PWD/events/client; exec "
    described = job(WORK)
    described["jobPars"] = "-c " + shlex.quote(lost + " ".join(map(shlex.quote, [*BARE, "-c", WORK])))
    _, events = bench(tmp_path, described)
    assert len(events.finished) == 5


def alone(folder: Path, code: str, **variables: str) -> subprocess.CompletedProcess:
    env = {"PATH": os.environ["PATH"], "PYTHONPATH": str(install(folder)), **variables}
    return subprocess.run(
        [*BARE, "-c", code], env=env, cwd=folder, capture_output=True, text=True, timeout=60, check=False
    )


def test_the_package_holds_nothing_else_of_the_pilot(tmp_path: Path) -> None:
    assert alone(tmp_path, "import pilot.events").returncode == 0
    assert "ModuleNotFoundError" in alone(tmp_path, "import pilot.core").stderr


@pytest.mark.parametrize(
    ("endpoint", "words"),
    [
        ("", "NoPilot: PILOT_EVENTS is not set: this program is not the payload of an event service job"),
        ("ipc://{folder}/events.zmq", "PilotGone: no pilot listens at {folder}/events.sock"),
        ("tcp://127.0.0.1:9", "pyzmq"),
    ],
)
def test_what_cannot_be_reached_is_told_in_one_line(tmp_path: Path, endpoint: str, words: str) -> None:
    said = alone(tmp_path, WORK, PILOT_EVENTS=endpoint.format(folder=tmp_path))
    assert said.returncode == 1 and words.format(folder=tmp_path) in said.stderr.splitlines()[-1]


def test_the_package_is_read_by_the_oldest_python_that_it_promises() -> None:
    root = Path(__file__).resolve().parents[2] / "pilot" / "events"
    for path in root.glob("*.py"):
        tree = ast.parse(path.read_text(), feature_version=(3, 8))
        first = next(node for node in tree.body if isinstance(node, ast.ImportFrom | ast.Import)) if tree.body else None
        if path.name != "__init__.py":
            assert isinstance(first, ast.ImportFrom) and first.module == "__future__", path
