"""Jobs that work through event ranges, in real containers: the workers inside reach the pilot's channel outside."""

from __future__ import annotations

import shlex
import tarfile
from pathlib import Path

import pytest

from pilot.plugins.sources.dummy import DummySource
from pilot.plugins.sources.dummy_events import DummyEvents
from pilot.runtime.containment import Rules
from tests.bench import Bench, shell_job
from tests.system.sites import make_site

#: Two workers at once in one container; each says where it is and what it was given to read.
WORKER = """
import os
from pilot.events import ranges
for r in ranges():
    with open(f"out.{r.id}", "w") as file:
        file.write(f"{r.start_event} {r.last_event} {open('/etc/debian_version').read().strip()} {open(r.path).read()}")
    r.done(file.name)
"""


@pytest.mark.parametrize("name", ["docker", "podman", "bubblewrap", "apptainer"])
def test_every_range_is_worked_through_inside(
    name: str, request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    site = make_site(request, name, tmp_path)
    for variable, value in site.env.items():
        monkeypatch.setenv(variable, value)
    monkeypatch.setattr("pilot.cli.containers.container_rules", lambda experiment: Rules(inside="/srv"))
    events = DummyEvents(events=60, per_range=10)
    lfn = events.ranges[0].lfn
    (tmp_path / lfn).write_text("seven")
    worker = f"python3 -c {shlex.quote(WORKER)}"
    job = shell_job(
        1,
        f"echo $PILOT_EVENTS > endpoint; pwd > where; {worker} & {worker} & wait",
        inputs={lfn: tmp_path / lfn},
        eventService="True",
        container_name=site.image,
    )
    source = DummySource([job])
    source.events = events
    bench = Bench(tmp_path, source)
    assert bench.run(patience_s=120, container=name, cleanup="none") == 0
    final = bench.final(1)
    assert final.state == "finished" and final.error is None, final.error
    assert final.events == 60
    assert events.finished == [item.id for item in events.ranges] and not events.conflicts
    (chunk,) = events.archives
    with tarfile.open(bench.outputs / chunk.archive.lfn) as archive:
        said = archive.extractfile(f"out.{events.ranges[-1].id}")
        assert said is not None
        words = said.read().decode().split()
    assert words[:2] == ["51", "60"] and words[2].startswith("12") and words[3] == "seven"
    said_inside = [(bench.directory(1) / file).read_text().strip() for file in ("where", "endpoint")]
    assert said_inside == ["/srv", "ipc:///srv/events.zmq"]
