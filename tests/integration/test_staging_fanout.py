"""Several destinations of one large file: what is truly read of it, counted by the file system that it lies on."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from pilot.core.staging import ToolSettings
from pilot.core.transfer import Direction, Endpoint, Outcome, Transfer
from pilot.lib.cancel import Cancel
from pilot.plugins.copytools.registry import TOOLS, registry
from tests.copytools import fakes
from tests.copytools.making import adler, carry, content
from tests.copytools.places import Place, place_for
from tests.copytools.rudeness import rude
from tests.copytools.webserver import serving
from tests.counted_disk import CountedDisk, counted_disk
from tests.farm import Farm

#: Large enough for parts where a tool sends in parts, and for every reader to wait for the others.
SIZE = 27 * (1 << 20) + 12345
DATA = os.urandom(SIZE)

#: These copy on this machine only.
LOCAL = {"copy", "reflink"}
ABILITIES = {name: registry().load(name).ability for name in TOOLS}
FED = [name for name, ability in ABILITIES.items() if ability.feeds]
#: A script of the site is given a path, the test tool spoils what passes; the others copy nothing or fetch only.
NOT_FED = {"lsm", "chaos", "symlink", "blindlink", "hardlink", "move", "dockerimage", "sifimage"}


@pytest.fixture(autouse=True)
def patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine that is busy with other things is no destination that hangs."""
    monkeypatch.setattr("pilot.lib.sharedread._PATIENCE_S", 600.0)


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[CountedDisk]:
    with counted_disk(tmp_path / "counted", DATA) as made:
        yield made


@pytest.fixture
def place(tool: str, tmp_path: Path) -> Iterator[Place]:
    with place_for(tool, tmp_path / "place") as made:
        made.settings = msgspec.structs.replace(
            made.settings, options={**made.settings.options, "s3": {"part_mb": "5"}}
        )
        yield made


def send(disk: CountedDisk, place: Place, *targets: str, tool: str, **more: int) -> Outcome:
    order = Transfer(
        "f",
        (Endpoint(str(disk.path)),),
        tuple(Endpoint(target) for target in targets),
        direction=Direction.OUT,
        copytool=tool if tool in LOCAL else f"copy {tool}",
    )
    (outcome,) = carry([order], place.settings, **more)
    return outcome


def test_every_tool_is_fed_that_can_be() -> None:
    assert set(FED) == set(TOOLS) - NOT_FED


@pytest.mark.parametrize("tool", FED)
def test_two_destinations_cost_one_read(tool: str, disk: CountedDisk, place: Place, tmp_path: Path) -> None:
    outcome = send(disk, place, place.url("deep/f"), str(tmp_path / "here" / "f"), tool=tool)
    assert outcome.failure is None, outcome.failure
    assert {attempt.copytool for attempt in outcome.attempts} == {tool} | ({"copy"} if tool not in LOCAL else set())
    assert place.read("deep/f") == DATA and (tmp_path / "here" / "f").read_bytes() == DATA
    assert outcome.checksums == {"adler32": adler(DATA)[0].value}
    assert disk.taken == SIZE


@pytest.mark.parametrize("tool", ["lsm"])
def test_a_script_of_the_site_reads_for_itself_and_keeps_nobody_waiting(
    tool: str, disk: CountedDisk, place: Place, tmp_path: Path
) -> None:
    here = (str(tmp_path / "here" / "f"), str(tmp_path / "there" / "f"))
    outcome = send(disk, place, place.url("f"), *here, tool=tool)
    assert outcome.failure is None, outcome.failure
    assert place.read("f") == DATA
    assert disk.taken == 3 * SIZE, "once for the two copies, once for the checksum that the script is told, once by it"


@pytest.mark.parametrize("tool", ["rucio"])
def test_a_storage_that_only_rucio_can_write_to_gets_the_file_all_the_same(
    tool: str, disk: CountedDisk, place: Place, tmp_path: Path
) -> None:
    outcome = send(disk, place, place.url("f").replace("//A/", "//SIGNED/"), str(tmp_path / "here" / "f"), tool=tool)
    assert outcome.failure is None, outcome.failure
    assert place.read("f") == DATA == (tmp_path / "here" / "f").read_bytes()
    assert outcome.checksums == {"adler32": adler(DATA)[0].value}
    assert len(outcome.attempts) == 2, "the one way and the other are one attempt"
    assert disk.taken > SIZE


@pytest.mark.parametrize("tool", [name for name in FED if name not in LOCAL])
def test_a_destination_that_fails_is_tried_again_alone(
    tool: str, disk: CountedDisk, place: Place, tmp_path: Path
) -> None:
    block = tmp_path / "here"
    block.write_text("no directory")
    fixed = threading.Event()

    def repair(attempt: object) -> None:
        if not fixed.is_set():
            fixed.set()
            block.unlink()

    order = Transfer(
        "f",
        (Endpoint(str(disk.path)),),
        (Endpoint(place.url("f")), Endpoint(str(block / "f"))),
        copytool=f"copy {tool}",
    )
    (outcome,) = carry([order], place.settings, on_attempt=repair)
    assert place.read("f") == DATA, "the other one had to arrive all the same"
    assert len([a for a in outcome.attempts if a.copytool == tool]) == 1
    assert disk.taken in (SIZE, 2 * SIZE)


def both(disk: CountedDisk, url: str, here: Path, settings: ToolSettings, tool: str) -> Outcome:
    targets = (Endpoint(url), Endpoint(str(here)))
    order = Transfer("f", (Endpoint(str(disk.path)),), targets, direction=Direction.OUT, copytool=f"copy {tool}")
    (outcome,) = carry([order], settings, max_attempts=1)
    assert here.read_bytes() == DATA, "the other one had to arrive all the same"
    return outcome


def test_a_program_that_dies_in_the_middle_leaves_the_others_to_the_same_read(
    disk: CountedDisk, tmp_path: Path
) -> None:
    for name, body in (("xrdcp", "head -c 5000000 > /dev/null; echo '[ERROR] lost' >&2; exit 54"), ("xrdfs", "exit 0")):
        program = content(tmp_path / "bin" / name, f"#!/bin/sh\n{body}\n".encode())
        program.chmod(0o755)
    settings = ToolSettings(environment={"PATH": f"{tmp_path}/bin:{os.environ['PATH']}"})
    outcome = both(disk, "root://host//data/f", tmp_path / "here" / "f", settings, "xrootd")
    assert outcome.failure and "lost" in outcome.failure.message
    assert disk.taken == SIZE


def test_a_helper_process_that_dies_in_the_middle_leaves_the_others_to_the_same_read(
    disk: CountedDisk, tmp_path: Path
) -> None:
    with place_for("gfal", tmp_path / "place") as place:
        module = tmp_path / "place" / "lib" / "gfal2.py"
        body = module.read_text()
        died = "self.stream.tell() > 5000000 and os._exit(3)"
        module.write_text(body.replace("return self.stream.write(data)", f"{died}; return self.stream.write(data)"))
        outcome = both(disk, place.url("f"), tmp_path / "here" / "f", place.settings, "gfal")
    assert outcome.failure and "helper process" in outcome.failure.message
    assert disk.taken == SIZE


def test_gfal_s_programs_read_for_themselves_and_keep_nobody_waiting(disk: CountedDisk, tmp_path: Path) -> None:
    path = fakes.gfal_programs(tmp_path / "bin", tmp_path / "store")
    settings = ToolSettings(environment={"PATH": path}, options={"gfal": {"how": "program"}})
    outcome = both(disk, "srm://h/deep/f", tmp_path / "here" / "f", settings, "gfal")
    assert outcome.failure is None, outcome.failure
    assert (tmp_path / "store" / "deep" / "f").read_bytes() == DATA
    assert disk.taken == 3 * SIZE, "once for the copy, once for the checksum, once by gfal-copy"


def test_many_files_at_once_are_each_read_once(disk: CountedDisk, tmp_path: Path) -> None:
    """As many as there are, and though their host takes no more than two at a time."""
    with serving(tmp_path / "web") as web:
        orders = [
            Transfer(
                f"f{n}",
                (Endpoint(str(disk.path)),),
                (Endpoint(f"{web.url}/a/f{n}"), Endpoint(f"{web.url}/b/f{n}"), Endpoint(str(tmp_path / f"f{n}"))),
            )
            for n in range(5)
        ]
        outcomes = carry(orders, host_limit=2)
        assert [outcome.failure for outcome in outcomes] == [None] * 5
        assert all((web.root / side / f"f{n}").read_bytes() == DATA for n in range(5) for side in "ab")
    assert disk.taken == 5 * SIZE


def test_a_destination_that_stalls_is_given_up_and_the_other_one_gets_its_file(
    disk: CountedDisk, tmp_path: Path
) -> None:
    with rude("silent") as port:
        order = Transfer(
            "f", (Endpoint(str(disk.path)),), (Endpoint(f"http://127.0.0.1:{port}/f"), Endpoint(str(tmp_path / "f")))
        )
        (outcome,) = carry([order], ToolSettings(stall_s=1.0), max_attempts=1, stall_s=1.0)
    assert outcome.failure is not None
    assert (tmp_path / "f").read_bytes() == DATA
    assert disk.taken == SIZE


def test_a_cancel_wakes_who_waits_for_the_others(disk: CountedDisk, tmp_path: Path) -> None:
    cancel = Cancel()
    with rude("silent") as port:
        order = Transfer(
            "f", (Endpoint(str(disk.path)),), (Endpoint(f"http://127.0.0.1:{port}/f"), Endpoint(str(tmp_path / "f")))
        )
        outcomes: list[Outcome] = []
        thread = threading.Thread(target=lambda: outcomes.extend(carry([order], cancel=cancel)))
        thread.start()
        while disk.taken < 16 << 20 and thread.is_alive():
            thread.join(0.01)
        cancel.set()
        thread.join(15)
        assert not thread.is_alive(), "it still waits for a server that says nothing"
    assert outcomes[0].failure and "cancelled" in outcomes[0].failure.message
    assert not (tmp_path / "f").exists()


def test_an_output_of_a_job_that_two_storages_want_is_read_once(tmp_path: Path) -> None:
    farm = Farm(tmp_path, "STAGE")
    farm.store("in")
    size = 96 << 20
    before = read_so_far()
    # The payload makes it, a hole with a few words in it, without reading anything.
    farm.run(
        f"-c 'cat in > /dev/null; truncate -s {size - 6} big; echo words >> big'",
        "in",
        options=["--staging-site", "*=STAGE"],
        outFiles="big",
        intermediateOutput="big",
    )
    taken = read_so_far() - before
    assert farm.outcome == "finished", farm.log
    assert farm.place("big").read_bytes() == farm.place("big", "STAGE").read_bytes() == bytes(size - 6) + b"words\n"
    assert all(farm.place("big", at).stat().st_blocks * 512 < size / 2 for at in ("DISK", "STAGE")), "holes stay holes"
    assert size <= taken < 1.6 * size, f"{taken / size:.2f} times the file was read"


def read_so_far() -> int:
    """Bytes that this process, and those of its children that have ended, have read by system calls."""
    lines = Path("/proc/self/io").read_text().splitlines()
    return int(next(line.split()[1] for line in lines if line.startswith("rchar")))
