"""Really full disks: small tmpfs under the work directory, the outputs or the PilotDB."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.pilots import Site, assert_reported_once
from tests.small_disk import small_disk

Mount = Callable[[Path, int], Path]


@pytest.fixture(name="small_disk")
def small_disks() -> Iterator[Mount]:
    with ExitStack() as mounted:
        yield lambda path, size_mb: mounted.enter_context(small_disk(path, size_mb))


def fill(path: Path, leave: int = 0) -> Path:
    """Fill a file system up but for so many bytes."""
    blocker = path / "blocker"
    disk = os.statvfs(path)
    fd = os.open(blocker, os.O_WRONLY | os.O_CREAT)
    os.posix_fallocate(fd, 0, max(1, disk.f_bavail * disk.f_frsize - leave))
    os.close(fd)
    return blocker


def test_a_payload_that_fills_the_disk_fails_with_the_reason_and_its_log_is_kept(site: Site, small_disk: Mount) -> None:
    small_disk(site.workdir, 8)
    script = "echo working; cat /dev/zero > out.txt"
    number = site.shell(script, outputs=("out.txt",))
    assert site.run("--jobs", "1", "--monitor-interval", "30") == 0, site.log()
    told = assert_reported_once(site, number, "failed")
    assert told["facts"]["pilot_error_code"] == 1098, told["facts"]["pilot_error_diag"]
    assert told["facts"]["trans_exit_code"] not in (0, "0")
    assert set(told["report"]) == {"job.0.log.tgz"}
    names = subprocess.run(
        ["tar", "tzf", site.outputs / "job.0.log.tgz"], capture_output=True, text=True, check=True
    ).stdout
    assert "payload.stdout" in names and "pilot.log" in names


def test_the_reason_is_known_although_the_pilot_gave_its_reserve_up_in_between(site: Site, small_disk: Mount) -> None:
    """It does so when a row has to be written while the disk is full: then there is a little room again."""
    small_disk(site.workdir, 8)
    reserve = site.workdir / ".reserve"
    number = site.shell(f"cat /dev/zero > out.txt; code=$?; rm {reserve}; exit $code", outputs=("out.txt",))
    assert site.run("--jobs", "1", "--monitor-interval", "30") == 0, site.log()
    told = assert_reported_once(site, number, "failed")
    assert told["facts"]["pilot_error_code"] == 1098, told["facts"]["pilot_error_diag"]


def test_a_disk_full_of_what_cannot_be_compressed_still_leaves_a_log(site: Site, small_disk: Mount) -> None:
    """The archive of everything does not fit beside it: that of the records does."""
    small_disk(site.workdir, 8)
    number = site.shell("echo working; cat /dev/urandom > noise.bin")
    assert site.run("--jobs", "1", "--monitor-interval", "30") == 0, site.log()
    told = assert_reported_once(site, number, "failed")
    assert told["facts"]["pilot_error_code"] == 1098
    assert set(told["report"]) == {"job.0.log.tgz"}
    names = subprocess.run(
        ["tar", "tzf", site.outputs / "job.0.log.tgz"], capture_output=True, text=True, check=True
    ).stdout
    assert "payload.stdout" in names and "noise.bin" not in names


def test_the_next_job_runs_after_one_that_filled_the_disk(site: Site, small_disk: Mount) -> None:
    small_disk(site.workdir, 8)
    first = site.shell("cat /dev/zero > out.txt", outputs=("out.txt",))
    second = site.shell("echo fine > fine.txt", outputs=("fine.txt",), logFile="l2", outFiles="fine.txt,l2")
    assert site.run("--jobs", "2") == 0, site.log()
    assert_reported_once(site, first, "failed")
    assert_reported_once(site, second, "finished")


def test_a_full_disk_for_outputs_fails_the_job_and_keeps_what_is_there(site: Site, small_disk: Mount) -> None:
    small_disk(site.outputs, 2)
    (site.outputs / "earlier.txt").write_text("earlier")
    script = "head -c 3M /dev/zero > big.bin; echo x > small.txt"
    number = site.shell(script, outputs=("small.txt", "big.bin"))
    assert site.run("--jobs", "1", "--cleanup", "none") == 0, site.log()
    told = assert_reported_once(site, number, "failed")
    assert told["facts"]["pilot_error_code"] in (1098, 1137, 1333), told["facts"]["pilot_error_diag"]
    assert "big.bin" in told["facts"]["pilot_error_diag"]
    assert {"small.txt", "job.0.log.tgz"} <= set(told["report"])
    assert (site.outputs / "small.txt").read_text() == "x\n"
    assert (site.outputs / "earlier.txt").read_text() == "earlier"
    assert not (site.outputs / "big.bin").exists()
    assert not [p for p in site.outputs.iterdir() if p.name.startswith(".")], "no half files"
    assert (site.directory(number) / "big.bin").stat().st_size == 3 << 20, "the source is left"


def test_an_input_that_does_not_fit_is_told_as_such(site: Site, small_disk: Mount) -> None:
    small_disk(site.workdir, 8)
    number = site.shell("touch ../ran", inputs={"in.bin": site.input("in.bin", b"x" * (12 << 20))})
    assert site.run("--jobs", "1") == 0, site.log()
    told = assert_reported_once(site, number, "failed")
    assert told["facts"]["pilot_error_code"] in (1098, 1168), told["facts"]["pilot_error_diag"]
    assert set(told["report"]) == {"job.0.log.tgz"}
    assert not (site.workdir / "ran").exists()


def test_a_pilot_db_whose_disk_gets_full_waits_for_room(site: Site, small_disk: Mount) -> None:
    disk = small_disk(site.folder / "db", 4)
    number = site.shell(
        "touch ../started; while [ ! -e ../go ]; do sleep 0.05; done; echo x > out.txt", outputs=("out.txt",)
    )
    pilot = site.start("--jobs", "1", "--db", disk / "pilot.db", "--monitor-interval", "0.2")
    site.wait_for(lambda: (site.workdir / "started").exists() and site.told(number)["state"] == "running")
    blocker = fill(disk)
    (site.workdir / "go").touch()
    site.wait_for(lambda: "waiting for room" in site.log() or pilot.poll() is not None)
    assert pilot.poll() is None, site.log()
    assert site.told(number)["final_reports"] == 0, "what is not on disk is not told"
    blocker.unlink()
    assert pilot.wait(20) == 0, site.log()
    told = site.told(number)
    assert (told["state"], told["final_reports"]) == ("finished", 1)
    assert (site.outputs / "out.txt").read_text() == "x\n"


def test_a_pilot_on_a_full_disk_takes_no_job_and_says_so(site: Site, small_disk: Mount) -> None:
    small_disk(site.workdir, 4)
    fill(site.workdir, leave=600_000)
    number = site.shell("true")
    assert site.run("--jobs", "1") == 69, site.log()
    assert site.told(number)["state"] == "activated", "somebody else can have it"


def test_a_pilot_db_that_cannot_even_be_made_ends_the_pilot_with_the_code_for_it(site: Site, small_disk: Mount) -> None:
    disk = small_disk(site.folder / "db", 1)
    fill(disk)
    assert site.run("--jobs", "1", "--db", disk / "pilot.db") == 69, site.log()
    assert "Traceback" not in site.log()
