"""The disk under the PilotDB is full, at every single commit: for a moment, or for good."""

from __future__ import annotations

from pathlib import Path

import pytest

from pilot.core.errors import NoLocalSpace
from pilot.core.update import State
from pilot.db.fake import ChaosStore
from pilot.lib.process import become_subreaper
from pilot.plugins.sources.dummy import DummySource
from tests.bench import Bench, patience, shell_job


@pytest.fixture(scope="module", autouse=True)
def subreaper() -> None:
    become_subreaper()


def bench_of(folder: Path, script: str = "echo $$ >> ../pids; echo done > out.txt; sleep 0.02") -> Bench:
    folder.mkdir()
    return Bench(folder, DummySource([shell_job(1, script, outputs=("out.txt",))]))


def no_payload_left(bench: Bench) -> bool:
    pids = bench.workdir / "pids"
    return not pids.exists() or not any(Path(f"/proc/{pid}/exe").exists() for pid in pids.read_text().split())


@pytest.mark.parametrize("number", range(2, 16))
def test_a_disk_that_is_full_for_one_commit_costs_nothing(tmp_path: Path, number: int) -> None:
    bench = bench_of(tmp_path / "it")
    assert bench.run(knobs=lambda store: setattr(store, "full", lambda commit: commit == number)) == 0
    final = bench.final(1)
    assert final.state is State.FINISHED or (final.error is not None and final.error.code == 1098), final.error
    assert no_payload_left(bench)


def test_a_pilot_that_cannot_note_its_own_start_takes_no_job(tmp_path: Path) -> None:
    bench = bench_of(tmp_path / "it")
    with pytest.raises(NoLocalSpace):
        bench.run(knobs=lambda store: setattr(store, "full", lambda commit: True))
    assert not bench.source.capacities


@pytest.mark.parametrize("number", range(3, 16))
def test_a_disk_that_stays_full_leaves_no_payload_and_the_next_pilot_finishes(tmp_path: Path, number: int) -> None:
    bench = bench_of(tmp_path / "it")

    def knobs(store: ChaosStore) -> None:
        store.full = lambda commit: commit >= number

    code = bench.run(knobs=knobs, grace=1.0)
    assert code in (0, 69), code
    assert patience(lambda: no_payload_left(bench))
    if "1.1" not in bench.source.final:
        bench.source.jobs.clear()
        assert bench.run() == 0
    final = bench.final(1)
    assert bench.finals(1) <= 2
    assert final.state is State.FINISHED or (final.error is not None and final.error.code == 1098), final.error
