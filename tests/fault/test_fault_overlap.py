"""kill -9 while inputs are fetched ahead and outputs are sent beside the next payload: nothing lost, nothing twice."""

from __future__ import annotations

import random
import threading
import time
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from tests.bench import shell_job
from tests.copytools.webserver import Handler, WebServer, serving
from tests.pilots import Site, assert_reported_once

LINE = b"some input\n"


class Gate(Handler):
    """Answers for files whose names begin with `held` only once the gate is open; notes what was taken whole."""

    def _wait(self) -> None:
        if Path(self.path).name.startswith("held"):
            self.server.count["held"] += 1
            opened(self.server).wait(60)

    def do_GET(self) -> None:
        self._wait()
        super().do_GET()
        self.server.count["got " + Path(self.path).name] += 1

    def do_PUT(self) -> None:
        self._wait()
        super().do_PUT()
        self.server.count["put " + Path(self.path).name] += 1


def opened(server: WebServer) -> threading.Event:
    """The gate of a server: it is a part of it, so that each test has its own."""
    event: threading.Event = server.__dict__.setdefault("gate", threading.Event())
    return event


@pytest.fixture
def web(tmp_path: Path) -> Iterator[WebServer]:
    with serving(tmp_path / "web", Gate) as server:
        yield server
        opened(server).set()


def job_with(inputs: dict[str, str], script: str, *outputs: str, **more: Any) -> dict[str, Any]:
    described = shell_job(0, script, outputs=outputs)
    described |= {"inFiles": ",".join(inputs), "scopeIn": ",".join("test" for _ in inputs)}
    return described | {"inFilePaths": ",".join(inputs.values())} | more


def killed(site: Site, pilot: Any) -> None:
    pilot.kill()
    pilot.wait()


def assert_no_halves(*folders: Path) -> None:
    assert not [path for folder in folders for path in folder.rglob("*.part")]


@pytest.mark.parametrize("checksum", [True, False], ids=["checksums", "no-checksums"])
def test_inputs_that_a_dead_pilot_has_brought_are_not_fetched_again(site: Site, web: WebServer, checksum: bool) -> None:
    content = LINE * 1000
    names = ("a.txt", "b.txt", "held.txt")
    for name in names:
        (web.root / name).write_bytes(content)
    inputs = {name: f"{web.url}/{name}" for name in names}
    known = {"checksum": ",".join([f"ad:{zlib.adler32(content):08x}"] * 3)} if checksum else {}
    (number,) = site.submit(job_with(inputs, "cat a.txt b.txt held.txt > out.txt", "out.txt", **known))
    pilot = site.start("--jobs", "1")
    site.wait_for(lambda: web.count["held"] and len(site.job(number).get("transfers", ())) == 2)
    killed(site, pilot)
    opened(web).set()
    assert site.run("--jobs", "1") == 0, site.log()
    assert_reported_once(site, number, "finished")
    assert (site.outputs / "out.txt").read_bytes() == content * 3
    assert (web.count["got a.txt"], web.count["got b.txt"]) == (1, 1)
    files = {(f["direction"], f["lfn"]): f for f in site.job(number)["files"]}
    assert all(files["in", name]["source"] == inputs[name] for name in names)
    assert_no_halves(site.folder)


def test_an_input_that_was_damaged_while_no_pilot_lived_is_fetched_again(site: Site, web: WebServer) -> None:
    content = LINE * 1000
    for name in ("a.txt", "held.txt"):
        (web.root / name).write_bytes(content)
    inputs = {name: f"{web.url}/{name}" for name in ("a.txt", "held.txt")}
    known = {"checksum": ",".join([f"ad:{zlib.adler32(content):08x}"] * 2)}
    (number,) = site.submit(job_with(inputs, "cat a.txt > out.txt", "out.txt", **known))
    pilot = site.start("--jobs", "1")
    site.wait_for(lambda: web.count["held"] and len(site.job(number).get("transfers", ())) == 1)
    killed(site, pilot)
    (site.directory(number) / "a.txt").write_bytes(b"X" + content[1:])
    opened(web).set()
    assert site.run("--jobs", "1") == 0, site.log()
    assert_reported_once(site, number, "finished")
    assert (site.outputs / "out.txt").read_bytes() == content
    assert web.count["got a.txt"] == 2


def test_outputs_that_a_dead_pilot_has_stored_are_not_sent_again(site: Site, web: WebServer) -> None:
    script = "head -c 300000 /dev/urandom > a.bin; head -c 300000 /dev/urandom > held.bin"
    number = site.shell(script, outputs=("a.bin", "held.bin"))
    pilot = site.start("--jobs", "1", "--output-dir", web.url)
    site.wait_for(lambda: web.count["held"] and web.count["put a.bin"] and site.job(number).get("transfers"))
    killed(site, pilot)
    opened(web).set()
    assert site.run("--jobs", "1", "--output-dir", web.url) == 0, site.log()
    told = assert_reported_once(site, number, "finished")
    assert web.count["put a.bin"] == 1
    assert {"a.bin", "held.bin"} <= set(told["report"])
    stored = f"{zlib.adler32((web.root / 'a.bin').read_bytes()):08x}"
    assert stored in str(told["report"]["a.bin"])


def test_an_output_that_its_storage_has_lost_meanwhile_is_sent_again(site: Site, web: WebServer) -> None:
    number = site.shell("echo a > a.bin; echo b > held.bin", outputs=("a.bin", "held.bin"))
    pilot = site.start("--jobs", "1", "--output-dir", web.url)
    site.wait_for(lambda: web.count["held"] and site.job(number).get("transfers"))
    killed(site, pilot)
    (web.root / "a.bin").unlink()
    opened(web).set()
    assert site.run("--jobs", "1", "--output-dir", web.url) == 0, site.log()
    assert_reported_once(site, number, "finished")
    assert (web.root / "a.bin").read_text() == "a\n" and web.count["put a.bin"] == 2


def test_a_job_that_waits_with_its_inputs_is_taken_up_with_them(site: Site, web: WebServer) -> None:
    (web.root / "a.txt").write_bytes(LINE)
    first = site.shell("touch ../begun; [ -e ../go ] || sleep 60")
    (second,) = site.submit(job_with({"a.txt": f"{web.url}/a.txt"}, "cat a.txt > out.txt", "out.txt", logFile="l2.tgz",
                                     outFiles="out.txt,l2.tgz"))  # fmt: skip
    pilot = site.start("--jobs", "2", "--prefetch-jobs", "1")
    site.wait_for(lambda: (site.workdir / "begun").exists() and site.phase(second) == "running")
    killed(site, pilot)
    (site.workdir / "go").touch()
    assert site.run("--jobs", "2", "--prefetch-jobs", "1") == 0, site.log()
    for number in (first, second):
        assert_reported_once(site, number, "finished")
    assert web.count["got a.txt"] == 1
    assert (site.outputs / "out.txt").read_bytes() == LINE


def test_a_payload_that_ran_finds_the_same_inputs_without_another_transfer(site: Site, web: WebServer) -> None:
    """One input it has changed meanwhile: that comes again."""
    for name in ("a.txt", "b.txt"):
        (web.root / name).write_bytes(LINE)
    inputs = {name: f"{web.url}/{name}" for name in ("a.txt", "b.txt")}
    script = "cat a.txt b.txt > out.txt; [ -e ../again ] && exit; printf 'Some' | dd of=b.txt conv=notrunc; "
    (number,) = site.submit(job_with(inputs, script + "touch junk ../again; sleep 60", "out.txt"))
    pilot = site.start("--jobs", "1")
    site.wait_for(lambda: (site.workdir / "again").exists())
    killed(site, pilot)
    assert site.run("--jobs", "1", "--cleanup", "none") == 0, site.log()
    assert_reported_once(site, number, "finished")
    assert (site.outputs / "out.txt").read_bytes() == LINE * 2
    assert (web.count["got a.txt"], web.count["got b.txt"]) == (1, 2)
    assert not (site.directory(number) / "junk").exists()


def test_an_input_that_was_moved_here_outlives_pilots_and_payloads(site: Site) -> None:
    """With `move` there is no other copy of it: a second run must not lose it."""
    source = site.input("in.txt", LINE)
    script = "cat in.txt > out.txt; [ -e ../again ] && exit; touch ../again; sleep 60"
    (number,) = site.submit(shell_job(0, script, inputs={"in.txt": source}, outputs=("out.txt",)))
    pilot = site.start("--jobs", "1", "--stage-in-mode", "move")
    site.wait_for(lambda: (site.workdir / "again").exists())
    killed(site, pilot)
    assert not source.exists()
    assert site.run("--jobs", "1", "--stage-in-mode", "move") == 0, site.log()
    assert_reported_once(site, number, "finished")
    assert (site.outputs / "out.txt").read_bytes() == LINE


def test_a_half_output_of_a_job_that_nobody_wants_any_more_is_removed(own_site: Site) -> None:
    site = own_site
    number = site.shell("head -c 400M /dev/zero > big.bin", outputs=("big.bin",))
    pilot = site.start("--jobs", "1")
    site.wait_for(lambda: any(site.outputs.glob(".*.part")))
    killed(site, pilot)
    assert list(site.outputs.glob(".*.part")) and not (site.outputs / "big.bin").exists()
    over = {"job_id": number, "job_status": "failed", "attempt_nr": 1, "pilot_error_code": 1}
    requests.post(f"{site.url}/api/v1/pilot/update_job", json=over, headers={"Accept": "application/json"}, timeout=5)
    assert site.told(number)["state"] == "failed"
    assert site.run("--jobs", "1") == 0, site.log()
    assert not (site.outputs / "big.bin").exists()
    assert_no_halves(site.outputs)


def test_two_payloads_that_ran_are_run_again_one_after_the_other_in_one_slot(site: Site) -> None:
    """The next pilot has less room than the one before, however much it may fetch ahead."""
    script = "echo $$ >> ../pids; [ -e ../go ] || sleep 60; mkdir ../alone || exit 9; sleep 0.3; rmdir ../alone"
    numbers = site.submit(*(shell_job(0, script) for _ in range(3)))
    pilot = site.start("--jobs", "3", "--slots", "3")
    site.wait_for(lambda: (site.workdir / "pids").exists() and len((site.workdir / "pids").read_text().split()) == 3)
    killed(site, pilot)
    (site.workdir / "go").touch()
    assert site.run("--jobs", "3", "--slots", "1", "--prefetch-jobs", "3") == 0, site.log()
    for number in numbers:
        assert_reported_once(site, number, "finished")
    site.assert_nothing_left()


@pytest.mark.parametrize("seed", range(6))
def test_pilots_that_die_at_random_moments_of_overlapping_transfers_lose_nothing(
    site: Site, web: WebServer, seed: int
) -> None:
    """Four jobs in two slots, two more fetched ahead; sources and destinations need a second and more for each file."""
    dice, count = random.Random(seed), 5
    opened(web).set()
    content = bytes(dice.randrange(256) for _ in range(30_000))
    (web.root / "in.bin").write_bytes(content)
    jobs = []
    for n in range(count):
        script = f"cat in.bin > out.{n}.bin; echo {n} >> out.{n}.bin; sleep {dice.uniform(0.05, 0.4):.2f}"
        log = {"logFile": f"log.{n}.tgz", "outFiles": f"out.{n}.bin,log.{n}.tgz"}
        jobs.append(job_with({"in.bin": f"{web.url}/slow/in.bin"}, script, f"out.{n}.bin", fsize="30000", **log))
    numbers = site.submit(*jobs)
    options = ["--jobs", f"{count}", "--slots", "2", "--prefetch-jobs", "2", "--reruns", "9", "--output-dir", web.url]
    for _ in range(dice.choice([1, 2, 3])):
        pilot = site.start(*options)
        site.wait_for(lambda: (site.workdir / ".pilot.lock").exists())
        time.sleep(dice.uniform(0.15, 2.5))
        killed(site, pilot)
    assert site.run(*options, "--getjob-requests", "1") == 0, site.log()
    for n, number in enumerate(numbers):
        told = site.told(number)
        if not site.job(number) and told["state"] == "sent" and told["updates"] == 0:
            continue  # the server gave it away in an answer that the dead pilot had not read
        assert_reported_once(site, number, "finished")
        assert (web.root / f"out.{n}.bin").read_bytes() == content + f"{n}\n".encode()
        assert (web.root / f"log.{n}.tgz").stat().st_size > 100
        tries = [t for t in site.job(number)["transfers"] if t["lfn"] == f"out.{n}.bin" and not t["error_code"]]
        assert len(tries) == 1, "an output that was stored is not sent again"
    assert len(list(site.workdir.glob("job-*"))) <= count
    assert_no_halves(site.folder)
    site.assert_nothing_left()
