"""The pilot dies at every single commit of a job's life, just before it and just after it: each time the next pilot
in the same directory brings the job to one accepted final report, with its output, and leaves no process behind."""

from __future__ import annotations

import os
import random
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pilot.core.errors import PandaKill
from pilot.core.update import State
from pilot.db.fake import ChaosStore, Died
from pilot.insight.read import Reader
from pilot.lib.process import become_subreaper
from pilot.plugins.sources.dummy import DummySource
from tests.bench import Bench, shell_job

SCRIPT = "echo $$ >> ../pids; cat in.txt in.txt > out.txt; sleep 0.02"


@pytest.fixture(scope="module", autouse=True)
def subreaper() -> None:
    become_subreaper()


def bench_of(folder: Path, script: str = SCRIPT) -> Bench:
    folder.mkdir(exist_ok=True)
    (folder / "in.txt").write_text("some input\n")
    job = shell_job(1, script, outputs=("out.txt",), inputs={"in.txt": folder / "in.txt"})
    return Bench(folder, DummySource([job]))


@pytest.fixture(scope="module")
def commits(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """What a pilot writes for one job, commit by commit."""
    bench = bench_of(tmp_path_factory.mktemp("whole"))
    assert bench.run() == 0
    return bench.store.names


def alive(folder: Path) -> list[int]:
    """The payload processes that still run, of all that were ever started."""
    pids = (folder / "pilot" / "pids").read_text().split() if (folder / "pilot" / "pids").exists() else []
    return [int(pid) for pid in pids if _state(int(pid)) not in ("", "Z", "X")]


def _state(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return ""


@pytest.fixture(autouse=True)
def reaped() -> Iterator[None]:
    """The payloads of dead pilots are this process's children: take their exit status away."""
    yield
    try:
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    except ChildProcessError:
        pass


def check_whole(bench: Bench, state: State = State.FINISHED) -> None:
    assert list(bench.source.final) == ["1.1"]
    final = bench.final(1)
    assert final.state is state, final.error
    assert (bench.outputs / "out.txt").read_text() == "some input\n" * 2
    assert (bench.outputs / "job.1.log.tgz").exists()
    assert {file.lfn for file in final.report or ()} == {"out.txt", "job.1.log.tgz"}
    assert not alive(bench.folder)
    reader = Reader(bench.workdir / "pilot.db")
    job = reader.job("1.1")
    reader.close()
    assert (job["phase"], job["outcome"]) == ("done", "finished")
    assert [m["accepted"] for m in job["messages"] if m["final"]] == [1]
    assert all(process["ended"] for process in job["processes"])


def test_a_life_has_few_commits(commits: list[str]) -> None:
    assert 8 <= len(commits) <= 40, commits


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_pilot_that_dies_at_any_commit_loses_nothing_and_reports_once(
    tmp_path: Path, commits: list[str], when: str
) -> None:
    for number in range(1, len(commits) + 1):
        folder = tmp_path / f"{when}-{number}"
        bench = bench_of(folder)

        def knobs(store: ChaosStore, number: int = number) -> None:
            setattr(store, f"dies_{when}", number)

        try:
            bench.run(knobs=knobs)
        except Died:
            bench.source.jobs.extend(bench_of(folder).source.jobs)  # the server may well offer it again
            bench.run()
        check_whole(bench)


@pytest.mark.parametrize("seed", range(12))
def test_pilots_that_die_again_and_again_still_report_once(tmp_path: Path, commits: list[str], seed: int) -> None:
    dice = random.Random(seed)
    bench = bench_of(tmp_path / "it")
    for death in (dice.choice(["before", "after"]) for _ in range(3)):
        number = dice.randint(1, len(commits))
        try:
            bench.run(reruns=5, knobs=lambda store, d=death, n=number: setattr(store, f"dies_{d}", n))  # type: ignore[misc]
        except Died:
            continue
    bench.run(reruns=5)
    check_whole(bench)


def test_a_payload_beside_which_pilots_keep_dying_is_given_up(tmp_path: Path) -> None:
    bench = bench_of(tmp_path / "it", "echo here > out.txt; echo $$ >> ../pids; sleep 30")

    def die() -> None:
        raise Died

    for _ in range(3):
        bench.at(0.25, die)
        with pytest.raises(Died):
            bench.run()
    assert bench.run() == 0
    final = bench.final(1)
    assert final.state is State.FAILED
    assert final.error is not None and final.error.code == 1319
    assert "died beside this payload 3 times" in final.error.message
    assert {file.lfn for file in final.report or ()} == {"job.1.log.tgz"}
    assert len((bench.workdir / "pids").read_text().split()) == 3
    assert not alive(bench.folder)


def test_a_stop_that_was_noted_before_the_death_is_carried_out_after_it(tmp_path: Path) -> None:
    """The payload is not run again, and what it left is saved in the log."""
    bench = bench_of(tmp_path / "it", "trap '' TERM; echo half > out.txt; echo $$ >> ../pids; sleep 30 & wait; wait")

    def stop_and_die() -> None:
        (run,) = bench.agent.runner.active.values()
        bench.agent.runner.stop(run, PandaKill("the server asked").failure())
        raise Died

    bench.at(0.3, stop_and_die)
    with pytest.raises(Died):
        bench.run()
    assert bench.run() == 0
    final = bench.final(1)
    assert final.error is not None and final.error.code == 1144
    assert len((bench.workdir / "pids").read_text().split()) == 1
    assert not alive(bench.folder)
    with tarfile.open(bench.outputs / "job.1.log.tgz") as archive:
        assert any(name.endswith("/out.txt") for name in archive.getnames())


def test_a_pilot_that_dies_at_any_commit_of_jobs_that_overlap_loses_none_of_them(tmp_path: Path) -> None:
    """One runs, one waits with its inputs, one fetches them: every second commit is the last of a pilot."""
    (tmp_path / "in.txt").write_text("some input\n")

    def jobs() -> list[dict[str, Any]]:
        inputs = {"in.txt": tmp_path / "in.txt"}
        scripts = {n: f"echo $$ >> ../pids; cat in.txt > out.{n}.txt; sleep 0.02" for n in (1, 2, 3)}
        return [shell_job(n, scripts[n], inputs=inputs, outputs=(f"out.{n}.txt",)) for n in scripts]

    number, died = -1, True
    while died:
        number += 2
        folder = tmp_path / str(number)
        folder.mkdir()
        bench = Bench(folder, DummySource(jobs()))
        try:
            bench.run(prefetch_jobs=2, patience_s=60, knobs=lambda store, n=number: setattr(store, "dies_after", n))  # type: ignore[misc]
            died = False
        except Died:
            bench.source.jobs.extend(jobs())
            bench.run(prefetch_jobs=2, patience_s=60)
        assert sorted(bench.source.final) == ["1.1", "2.1", "3.1"]
        for n in (1, 2, 3):
            assert bench.final(n).state is State.FINISHED, (number, bench.final(n).error)
            assert (bench.outputs / f"out.{n}.txt").read_text() == "some input\n"
        assert not alive(folder)
        assert not list(folder.rglob("*.part"))
    assert number > 30
