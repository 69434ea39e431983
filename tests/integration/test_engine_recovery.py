"""What a restarted pilot does beyond finishing: heartbeats, quotas, nodes that have shrunk, cancelled stage-ins."""

from __future__ import annotations

from pathlib import Path

import pytest

from pilot.core.errors import PandaKill
from pilot.core.update import State
from pilot.db.fake import Died
from pilot.lib.process import become_subreaper
from pilot.plugins.sources.dummy import DummySource
from tests.bench import Bench, shell_job

SLOW = "echo $$ >> ../pids; [ -e ../again ] && { sleep 0.8; exit; }; touch ../again; sleep 30"


@pytest.fixture(scope="module", autouse=True)
def subreaper() -> None:
    become_subreaper()


def die() -> None:
    raise Died


def killed(bench: Bench, after_s: float = 0.4, **settings: object) -> None:
    bench.at(after_s, die)
    with pytest.raises(Died):
        bench.run(**settings)  # type: ignore[arg-type]


def test_a_job_that_was_taken_up_again_has_heartbeats(tmp_path: Path) -> None:
    bench = Bench(tmp_path, DummySource([shell_job(1, SLOW)]))
    killed(bench)
    before = len(bench.source.told)
    assert bench.run(heartbeat=0.1) == 0
    running = [u for u in bench.source.told[before:] if u.state is State.RUNNING]
    assert len(running) >= 4
    assert bench.final(1).state is State.FINISHED


def test_jobs_taken_up_again_count_for_the_number_of_jobs_to_run(tmp_path: Path) -> None:
    bench = Bench(tmp_path, DummySource([shell_job(1, SLOW), *(shell_job(n, "true") for n in (2, 3))], endless=True))
    killed(bench, jobs=2)
    assert bench.run(jobs=2) == 0
    assert set(bench.source.final) == {"1.1", "2.1"}
    assert len(bench.source.jobs) == 1, "the third stays for others"


def test_a_job_that_this_node_can_never_run_is_reported_and_does_not_block_the_others(tmp_path: Path) -> None:
    """The first pilot had a larger node, or a larger slot."""
    bench = Bench(tmp_path, DummySource([shell_job(1, SLOW) | {"minRamCount": 64}]))
    killed(bench)
    with bench.reading() as db:
        db.execute(
            "UPDATE jobs SET definition = replace(definition, '\"minRamCount\":64', '\"minRamCount\":900000000')"
        )
        db.commit()
    bench.source.jobs.append(shell_job(2, "true"))
    assert bench.run() == 0
    error = bench.final(1).error
    assert error is not None and error.code == 1344
    assert bench.final(2).state is State.FINISHED


def test_a_payload_process_that_was_settled_is_not_looked_for_again(tmp_path: Path) -> None:
    bench = Bench(tmp_path, DummySource([shell_job(1, SLOW)]))
    killed(bench)
    assert bench.run() == 0
    pids = [int(pid) for pid in (bench.workdir / "pids").read_text().split()]
    assert len(pids) == 2
    assert not Path(f"/proc/{pids[0]}/exe").exists()
    with bench.reading() as db:
        assert db.execute("SELECT count(*) FROM processes WHERE ended IS NULL").fetchone() == (0,)


def test_a_stop_while_the_job_waits_ends_it_without_a_payload(tmp_path: Path) -> None:
    bench = Bench(tmp_path, DummySource([shell_job(1, "sleep 0.6"), shell_job(2, "touch ../ran")]))

    def stop_second() -> None:
        run = bench.agent.runner.active.get("2.1")
        if run is not None:
            bench.agent.runner.stop(run, PandaKill("the server asked").failure())

    bench.at(0.3, stop_second)
    assert bench.run(prefetch_jobs=1) == 0
    assert bench.final(1).state is State.FINISHED
    error = bench.final(2).error
    assert error is not None and error.code == 1144
    assert not (bench.workdir / "ran").exists()
    assert {file.lfn for file in bench.final(2).report or ()} == {"job.2.log.tgz"}


def test_jobs_that_wait_with_their_inputs_are_started_once_though_one_of_them_cannot_start(tmp_path: Path) -> None:
    """The room that the failing one gives back goes to the next while the first round of starting goes on."""
    jobs = [
        shell_job(1, "sleep 0.5"),
        shell_job(2, "") | {"transformation": "", "jobPars": ""},
        *(shell_job(n, f"echo {n} >> ../ran; sleep 0.1") for n in (3, 4)),
    ]
    bench = Bench(tmp_path, DummySource(jobs))
    assert bench.run(prefetch_jobs=3) == 0
    assert sorted((bench.workdir / "ran").read_text().split()) == ["3", "4"]
    assert [bench.final(n).state for n in (1, 2, 3, 4)] == [
        State.FINISHED,
        State.FAILED,
        State.FINISHED,
        State.FINISHED,
    ]
    for n in (3, 4):
        with bench.reading() as db:
            sql = "SELECT count(*) FROM phases WHERE key = ? AND event LIKE 'payload start%'"
            assert db.execute(sql, (f"{n}.1",)).fetchone() == (1,)
