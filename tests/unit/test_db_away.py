"""A PilotDB whose home is a network file system: it works on scratch, and its copy at home can be relied upon."""

from __future__ import annotations

import shutil
from pathlib import Path
from unittest.mock import patch

import pytest

from pilot.core.facts import Facts
from pilot.core.job import JobDefinition
from pilot.core.lifecycle import Job, Phase
from pilot.core.update import State
from pilot.db.away import AwayStore
from pilot.db.store import Store
from pilot.insight.read import Reader
from pilot.lib.filesystem import is_shared
from pilot.lib.process import become_subreaper
from pilot.plugins.sources.dummy import DummySource
from tests.bench import Bench, shell_job


@pytest.fixture
def home(tmp_path: Path) -> Path:
    (tmp_path / "home").mkdir()
    return tmp_path / "home" / "pilot.db"


def with_job(store: Store, phase: Phase = Phase.ACQUIRED) -> None:
    job = Job("1.1")
    store.add_job(JobDefinition(job_id=1, attempt=1), job, Facts(), "/somewhere", 1)
    store.save(Job("1.1", phase), Facts(), "test")


def phase_at(path: Path) -> str:
    reader = Reader(path)
    try:
        return str(reader.jobs()[0]["phase"])
    finally:
        reader.close()


def test_network_file_systems_are_known_by_the_mount_table() -> None:
    mounts = "20 1 8:1 / / rw - ext4 /dev/sda1 rw\n30 20 0:50 / /home rw shared:1 - nfs4 server:/home rw\n"
    assert is_shared("/home/somebody", mounts)
    assert not is_shared("/homework", mounts)
    assert not is_shared("/scratch", mounts)


def test_every_phase_change_is_at_home_at_once_and_whole(home: Path, tmp_path: Path) -> None:
    store = AwayStore(home, tmp_path / "scratch")
    with_job(store)
    store._copy_again_at = 0.0
    for phase in (Phase.STAGING_IN, Phase.RUNNING):
        store.save(Job("1.1", phase), Facts(), "test")
        store._copy_again_at = 0.0
        assert phase_at(home) == phase
    assert [p.name for p in home.parent.iterdir()] == ["pilot.db"], "no journal, no lock, no part"
    store.close()


def test_the_scratch_is_left_clean_and_the_last_word_is_at_home(home: Path, tmp_path: Path) -> None:
    store = AwayStore(home, tmp_path / "scratch")
    with_job(store, Phase.REPORTING)
    store.close()
    assert phase_at(home) == "reporting"
    assert not list((tmp_path / "scratch").iterdir())


def test_after_a_death_the_same_node_goes_on_from_its_scratch(home: Path, tmp_path: Path) -> None:
    dead = AwayStore(home, tmp_path / "scratch")
    dead._copy_again_at = 0.0  # however long the first copy took
    with_job(dead, Phase.STAGING_IN)
    dead._copy_again_at = float("inf")  # the disk at home is slow just now
    dead.save(Job("1.1", Phase.RUNNING), Facts(), "test")
    assert phase_at(home) == "staging_in", "the copy did not get away in time"
    again = AwayStore(home, tmp_path / "scratch")
    assert again.unfinished()[0].job.phase is Phase.RUNNING
    again.close()
    dead._db.close()


def test_another_node_goes_on_from_the_copy_at_home(home: Path, tmp_path: Path) -> None:
    first = AwayStore(home, tmp_path / "node-a")
    with_job(first, Phase.RUNNING)
    first.close()
    second = AwayStore(home, tmp_path / "node-b")
    second.save(Job("1.1", Phase.STAGING_OUT), Facts(), "test")
    second.close()
    third = AwayStore(home, tmp_path / "node-a")
    assert third.unfinished()[0].job.phase is Phase.STAGING_OUT, "not what this node knew earlier"
    third.close()


def test_a_home_that_cannot_be_written_costs_a_warning_and_no_data(
    home: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    store = AwayStore(home, tmp_path / "scratch")
    shutil.rmtree(home.parent)
    with_job(store, Phase.RUNNING)
    store._copy_again_at = 0.0
    store.save(Job("1.1", Phase.STAGING_OUT), Facts(), "test")
    assert "was not copied" in caplog.text
    store.close()
    home.parent.mkdir()
    again = AwayStore(home, tmp_path / "scratch")
    assert again.unfinished()[0].job.phase is Phase.STAGING_OUT
    again.close()


def test_a_whole_pilot_on_a_network_file_system(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    become_subreaper()
    monkeypatch.setenv("TMPDIR", str(tmp_path / "scratch"))
    bench = Bench(tmp_path, DummySource([shell_job(1, "echo x > out.txt", outputs=("out.txt",))]))
    with patch("pilot.lib.filesystem.is_shared", lambda path, mounts=None: True):
        assert bench.run() == 0
    assert bench.final(1).state is State.FINISHED
    assert phase_at(bench.workdir / "pilot.db") == "done"
    assert not list((tmp_path / "scratch").iterdir())
