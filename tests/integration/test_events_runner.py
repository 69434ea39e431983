"""`python3 -m pilot.events -- COMMAND`: programs that know nothing of event ranges work through them."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

from pilot.core.ranges import EventRange, RangeStatus
from pilot.plugins.sources.dummy import DummySource
from pilot.plugins.sources.dummy_events import DummyEvents
from pilot.runtime.eventclient import install
from tests.bench import Bench, shell_job

RUNNER = f"exec {shlex.quote(sys.executable)} -S -m pilot.events"


def run(tmp_path: Path, command: str, events: DummyEvents, **more: object) -> Bench:
    source = DummySource([shell_job(1, f"{RUNNER} {command}", eventService="True", **more)])
    source.events = events
    bench = Bench(tmp_path, source)
    bench.run(patience_s=60, cleanup="none")
    return bench


def members(bench: Bench) -> dict[str, bytes]:
    found = {}
    for path in bench.outputs.glob("EventService_premerge_*.tar"):
        with tarfile.open(path) as archive:
            for member in archive:
                found[member.name] = archive.extractfile(member).read()  # type: ignore[union-attr]
    return found


def test_a_program_is_run_for_each_range_with_its_events(tmp_path: Path) -> None:
    events = DummyEvents(events=60, per_range=10, lfn="in.root")
    words = "-j 3 --output {} -- sh -c 'echo {first}-{last} {lfn} > out.{id}'"
    bench = run(tmp_path, words.replace("{}", "out.txt", 1).replace("> out.{id}", "> out.txt"), events)
    assert len(events.finished) == 6 and bench.final(1).error is None and bench.final(1).events == 60
    texts = sorted(text.decode().strip() for text in members(bench).values())
    assert texts == sorted(f"{first}-{first + 9} in.root" for first in range(1, 61, 10))


POINTS = [{"id": n, "lr": 0.1 * n} for n in range(1, 4)]
STEPS = """import json, os
told = json.load(open(os.environ["PILOT_RANGE"]))
json.dump(told["extra"]["hp_point"], open("point.json", "w"))
"""
TRAIN = """import json, sys
point = json.load(open("point.json"))
if point["id"] == 2:
    sys.exit("the loss is not a number")
json.dump({"loss": 1 / point["lr"]}, open("loss.json", "w"))
"""
AFTER = """import json
json.dump({**json.load(open("point.json")), **json.load(open("loss.json"))}, open("metrics.json", "w"))
"""


def test_the_steps_of_a_hyper_parameter_point_are_run_for_each_range(tmp_path: Path) -> None:
    scripts = {"pre.py": STEPS, "train.py": TRAIN, "post.py": AFTER}
    for name, text in scripts.items():
        (tmp_path / name).write_text(text)
    events = DummyEvents(events=0)
    events.ranges = [EventRange(f"9-1-1-{p['id']}-1", "", 1, 1, extra={"hp_point": p}) for p in POINTS]
    events.ready.extend(events.ranges)
    steps = " && ".join(f"{sys.executable} {tmp_path / name}" for name in scripts)
    bench = run(tmp_path, f"--output metrics.json --loss loss.json -- sh -c {shlex.quote(steps)}", events, isHPO="True")
    assert [json.loads(text)["id"] for _, text in sorted(members(bench).items())] == [1, 3]
    assert events.finished == ["9-1-1-1-1", "9-1-1-3-1"]
    assert [round(events.told[id].loss or 0, 3) for id in events.finished] == [10.0, 3.333]
    failed = events.told["9-1-1-2-1"]
    assert failed.status is RangeStatus.FAILED and "the loss is not a number" in failed.error_text


@pytest.mark.parametrize(
    ("command", "why"),
    [
        ("--output x -- true", "it left no file x"),
        ("--loss x -- true", "it left no loss in x: "),
        ("--loss x -- sh -c 'echo NaN > x'", "the loss is nan"),
        ("--loss x -- sh -c 'echo {} > x'", "it left no loss in x: 'loss'"),
        ("-- sh -c 'echo oh no >&2; exit 7'", "exit code 7; it said: oh no"),
        ("-- /no/such/program", "No such file"),
        ("-- sh -c 'kill -9 $$'", "exit code -9"),
    ],
)
def test_what_a_program_does_not_do_fails_its_range_with_the_reason(tmp_path: Path, command: str, why: str) -> None:
    events = DummyEvents(events=2, per_range=1)
    run(tmp_path, command, events)
    assert [update.status for update in events.told.values()] == [RangeStatus.FAILED] * 2
    assert all(why in update.error_text for update in events.told.values()), events.told


def test_without_a_pilot_it_says_so(tmp_path: Path) -> None:
    env = {"PATH": os.environ["PATH"], "PYTHONPATH": str(install(tmp_path))}
    line = [sys.executable, "-S", "-m", "pilot.events", "--", "true"]
    said = subprocess.run(line, env=env, capture_output=True, text=True, timeout=60, check=False)
    assert said.returncode == 1
    assert said.stderr == (
        "pilot.events: PILOT_EVENTS is not set: this program is not the payload of an event service job\n"
    )
