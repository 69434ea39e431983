"""Inputs that are fetched ahead: they hold no outputs up, get the room that comes free, and leave the disk alone."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pilot.core.errors import PandaKill
from pilot.core.update import State
from pilot.engine.means import Run
from pilot.plugins.sources.dummy import DummySource
from tests.bench import Bench, shell_job
from tests.copytools.webserver import WebServer, serving
from tests.small_disk import small_disk


@pytest.fixture
def web(tmp_path: Path) -> Iterator[WebServer]:
    with serving(tmp_path / "web") as server:
        (server.root / "in.txt").write_bytes(b"x" * 100_000)
        yield server


def fetching_job(number: int, script: str, url: str, **more: Any) -> dict[str, Any]:
    return shell_job(number, script, **more) | {"inFiles": "in.txt", "scopeIn": "test", "inFilePaths": url}


def when(bench: Bench, found: Any, then: Any) -> None:
    """Do something in the pilot's loop once something is so."""

    def look() -> None:
        if found():
            then()
        else:
            bench.means.loop.after(0.05, look)

    bench.at(0.05, look)


def run_of(bench: Bench, number: int) -> Run | None:
    return bench.agent.runner.active.get(f"{number}.1")


def test_a_job_is_reported_while_all_sources_of_the_next_ones_stall(web: WebServer, tmp_path: Path) -> None:
    stalling = [fetching_job(n, "true", f"{web.url}/stall/in.txt") for n in (2, 3)]
    bench = Bench(tmp_path, DummySource([shell_job(1, "sleep 0.5; echo a > o.txt", outputs=("o.txt",)), *stalling]))
    phases: list[str] = []

    def stop_others() -> None:
        for run in list(bench.agent.runner.active.values()):
            phases.append(run.job.phase)
            bench.agent.runner.stop(run, PandaKill("that is enough").failure())

    when(bench, lambda: "1.1" in bench.source.final and web.count["GET stall"] == 2, stop_others)
    assert bench.run(prefetch_jobs=2, patience_s=60) == 0
    assert bench.final(1).state is State.FINISHED
    assert phases == ["staging_in", "staging_in"]


def test_room_that_comes_free_goes_to_the_job_whose_inputs_are_under_way(web: WebServer, tmp_path: Path) -> None:
    jobs = [shell_job(1, "while [ ! -e ../go ]; do sleep 0.02; done"), shell_job(3, "echo 3 >> ../ran")]
    jobs.insert(1, fetching_job(2, "echo 2 >> ../ran", f"{web.url}/slow/in.txt"))
    bench = Bench(tmp_path, DummySource(jobs))
    when(bench, lambda: web.count["GET slow"], (bench.workdir / "go").touch)
    assert bench.run(prefetch_jobs=1, patience_s=60) == 0
    assert (bench.workdir / "ran").read_text().split() == ["2", "3"]


def test_a_job_that_is_killed_while_it_waits_is_reported_at_once(tmp_path: Path) -> None:
    """There is no disk for its inputs beside those of the job that runs."""
    (tmp_path / "in.txt").write_text("x")
    huge = shell_job(2, "true", inputs={"in.txt": tmp_path / "in.txt"}) | {"fsize": str(1 << 60)}
    bench = Bench(tmp_path, DummySource([shell_job(1, "while [ ! -e ../go ]; do sleep 0.02; done"), huge]))
    phases: list[str] = []

    def kill() -> None:
        run = run_of(bench, 2)
        assert run is not None
        phases.append(run.job.phase)
        bench.agent.runner.stop(run, PandaKill("the server asked").failure())

    when(bench, lambda: run_of(bench, 2) is not None, kill)
    when(bench, lambda: "2.1" in bench.source.final, (bench.workdir / "go").touch)
    assert bench.run(prefetch_jobs=1, patience_s=60) == 0
    assert phases == ["acquired"]
    error = bench.final(2).error
    assert error is not None and error.code == 1144
    assert bench.final(1).state is State.FINISHED


@pytest.mark.parametrize("prefetch", [0, 1, 3])
def test_no_more_jobs_are_taken_than_asked_for_however_many_are_fetched_ahead(tmp_path: Path, prefetch: int) -> None:
    bench = Bench(tmp_path, DummySource([shell_job(n, "sleep 0.1") for n in range(1, 6)]))
    assert bench.run(jobs=2, prefetch_jobs=prefetch, patience_s=60) == 0
    assert sorted(bench.source.final) == ["1.1", "2.1"]
    assert len(bench.source.jobs) == 3


def test_jobs_in_hand_are_given_back_when_the_time_is_over(web: WebServer, tmp_path: Path) -> None:
    """One runs, one waits with its inputs, those of one are under way."""
    jobs = [shell_job(1, "sleep 60"), fetching_job(2, "touch ../ran", f"{web.url}/in.txt")]
    jobs.append(fetching_job(3, "touch ../ran", f"{web.url}/stall/in.txt"))
    bench = Bench(tmp_path, DummySource(jobs))
    seen: list[str] = []

    def note() -> None:
        seen.extend(run.job.phase for run in bench.agent.runner.active.values())
        bench.agent._time_is_over("the pilot's lifetime is over")

    def all_in_hand() -> bool:
        second = run_of(bench, 2)
        return second is not None and second.parked and bool(web.count["GET stall"])

    when(bench, all_in_hand, note)
    assert bench.run(prefetch_jobs=2, patience_s=60) == 81
    assert seen == ["running", "running", "staging_in"]
    for number in (1, 2, 3):
        error = bench.final(number).error
        assert error is not None and error.code == 1213, error
        assert bench.finals(number) == 1
    assert not (bench.workdir / "ran").exists()


WRITES = "set -e; for i in $(seq {}); do head -c 1M /dev/zero >> ../big; sleep 0.05; done; rm ../big"


def small_margin(monkeypatch: pytest.MonkeyPatch, megabytes: int) -> None:
    monkeypatch.setattr("pilot.engine.ahead._MARGIN", megabytes << 20)
    monkeypatch.setattr("pilot.engine.ahead._SHORT", megabytes << 19)


def test_inputs_that_are_here_give_way_to_a_job_that_needs_the_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, web: WebServer
) -> None:
    """One waits with its inputs, those of another are under way; both run in the end."""
    small_margin(monkeypatch, 20)
    (web.root / "in.txt").write_bytes(os.urandom(6 << 20))
    second = fetching_job(2, "stat -c %s in.txt > ../second", f"{web.url}/in.txt")
    third = fetching_job(3, "stat -c %s in.txt > ../third", f"{web.url}/stall-once/in.txt")
    with small_disk(tmp_path / "bench" / "pilot", 48):
        script = "while [ ! -e ../go ]; do sleep 0.05; done; " + WRITES.format(42)
        bench = Bench(tmp_path / "bench", DummySource([shell_job(1, script), second, third]))

        def both_ahead() -> bool:
            run = run_of(bench, 2)
            return run is not None and run.parked and bool(web.count["GET stall-once"])

        when(bench, both_ahead, (bench.workdir / "go").touch)
        assert bench.run(prefetch_jobs=2, patience_s=90, monitor_interval=0.05) == 0
        assert [bench.final(n).state for n in (1, 2, 3)] == [State.FINISHED] * 3
        assert (bench.workdir / "second").read_text() == (bench.workdir / "third").read_text() == f"{6 << 20}\n"
        assert (web.count["GET "], web.count["GET stall-once"]) == (2, 2), "the inputs had to come again"


def test_inputs_for_which_there_turns_out_to_be_no_room_wait_until_there_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, web: WebServer
) -> None:
    """Nobody has told their size: neither the job that was only ahead fails for it nor the one that runs."""
    small_margin(monkeypatch, 8)
    (web.root / "in.txt").write_bytes(os.urandom(30 << 20))
    second = fetching_job(2, "stat -c %s in.txt > ../second", f"{web.url}/in.txt")
    with small_disk(tmp_path / "bench" / "pilot", 40) as disk:
        (disk / "big").write_bytes(bytes(16 << 20))  # the running job's
        script = "while [ ! -e ../go ]; do sleep 0.05; done; rm ../big"
        bench = Bench(tmp_path / "bench", DummySource([shell_job(1, script), second]))

        def given_up() -> bool:
            run = run_of(bench, 2)
            return run is not None and run.put_back and run in bench.agent._waiting._jobs

        when(bench, given_up, (bench.workdir / "go").touch)
        assert bench.run(prefetch_jobs=1, patience_s=60) == 0
        assert [bench.final(n).state for n in (1, 2)] == [State.FINISHED] * 2
        assert (bench.workdir / "second").read_text() == f"{30 << 20}\n"
