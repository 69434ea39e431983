"""The PilotDB: its promises hold on disk, in memory and in the twin with knobs; how files of other ages open."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from pilot.core.errors import FileHandlingFailure, GetAdMismatch, NoLocalSpace
from pilot.core.facts import Facts
from pilot.core.job import Exit, JobDefinition
from pilot.core.lifecycle import Job, Phase
from pilot.core.transfer import Attempt, Direction, Outcome
from pilot.core.update import Answer, JobUpdate, State
from pilot.core.usage import Sample
from pilot.db.fake import ChaosStore, Died, MemoryStore
from pilot.db.schema import MIGRATIONS
from pilot.db.store import Store
from pilot.insight.read import Reader

MAKERS: dict[str, Callable[[Path], Store]] = {
    "on disk": lambda folder: Store(folder / "pilot.db"),
    "in memory": lambda folder: MemoryStore(),
    "with knobs": lambda folder: ChaosStore(folder / "pilot.db"),
}


@pytest.fixture(params=MAKERS)
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    made = MAKERS[request.param](tmp_path)
    request.addfinalizer(made.close)
    return made


def definition(number: int = 1) -> JobDefinition:
    return JobDefinition(job_id=number, attempt=1, raw={"PandaID": number, "other": [1, None, "ü\0"]})


def add(store: Store, number: int = 1, acquired: float = 10.0) -> Job:
    job = Job(definition(number).key)
    assert store.add_job(definition(number), job, Facts(acquired=acquired), "/somewhere", 1)
    return job


def update(state: State, number: int = 1) -> JobUpdate:
    return JobUpdate(job_id=number, attempt=1, state=state, at=1.0)


def states(store: Store) -> list[str]:
    return [str(message.update.state) for message in store.open_messages()]


# jobs


def test_an_attempt_is_taken_in_once(store: Store) -> None:
    job = add(store)
    assert not store.add_job(definition(), job, Facts(), "/elsewhere", 2)
    assert store.knows("1.1") and not store.knows("1.2")
    assert store.unfinished()[0].directory == "/somewhere"


def test_an_unfinished_job_comes_back_as_it_was_saved(store: Store) -> None:
    add(store)
    failure = GetAdMismatch("in.txt").failure()
    job = Job("1.1", Phase.STAGING_OUT, failure, stopping=True)
    facts = Facts(acquired=10.0, runs=2, exit=Exit(signal=9), timing_s={"payload": 1.5}, metrics={"a": "b"})
    store.save(job, facts, "stop 1144")
    (found,) = store.unfinished()
    assert (found.job, found.facts) == (job, facts)
    assert found.definition == {"PandaID": 1, "other": [1, None, "ü\0"]}


def test_unfinished_jobs_come_oldest_first_and_done_ones_not_at_all(store: Store) -> None:
    for number, acquired in ((1, 30.0), (2, 10.0), (3, 20.0)):
        add(store, number, acquired)
    store.save(Job("3.1", Phase.DONE), Facts(), "reply reporting")
    assert [found.job.key for found in store.unfinished()] == ["2.1", "1.1"]


# transactions


def test_a_transaction_is_all_or_nothing(store: Store) -> None:
    add(store)
    with pytest.raises(RuntimeError), store.transaction():
        store.save(Job("1.1", Phase.RUNNING), Facts(), "reply staging_in")
        store.put_message(update(State.RUNNING))
        raise RuntimeError
    assert store.unfinished()[0].job.phase is Phase.ACQUIRED
    assert not store.open_messages()


def test_a_nested_transaction_ends_with_the_outermost(store: Store) -> None:
    add(store)
    with pytest.raises(RuntimeError), store.transaction():
        with store.transaction():
            store.put_message(update(State.RUNNING))
        raise RuntimeError
    assert not store.open_messages()
    with store.transaction(), store.transaction():
        store.put_message(update(State.RUNNING))
    assert states(store) == ["running"]


def test_after_a_full_disk_the_next_transaction_is_a_new_one(tmp_path: Path) -> None:
    store = ChaosStore(tmp_path / "pilot.db")
    add(store)
    store.full = lambda number: number == 2
    with pytest.raises(NoLocalSpace), store.transaction():
        store.put_message(update(State.STARTING))
    store.put_message(update(State.RUNNING))
    store.close()
    again = Store(tmp_path / "pilot.db")
    assert states(again) == ["running"]
    again.close()


def test_a_commit_that_fails_leaves_no_transaction_open(tmp_path: Path) -> None:
    """What is written after it must not end up in the failed one, to be lost with it."""
    store = Store(tmp_path / "pilot.db")
    add(store)
    real = store._db

    class Full:
        """A connection whose next COMMIT meets a full disk."""

        in_transaction = property(lambda self: real.in_transaction)

        def execute(self, sql: str, *values: object) -> sqlite3.Cursor:
            if sql == "COMMIT":
                raise sqlite3.OperationalError("database or disk is full")
            return real.execute(sql, *values)

    store._db = Full()  # type: ignore[assignment]
    with pytest.raises(NoLocalSpace), store.transaction():
        store.put_message(update(State.STARTING))
    store._db = real
    assert not real.in_transaction
    store.put_message(update(State.RUNNING))
    store.close()
    again = Store(tmp_path / "pilot.db")
    assert states(again) == ["running"]
    again.close()


@pytest.mark.parametrize(("knob", "kept"), [("dies_before", 0), ("dies_after", 1)])
def test_what_is_committed_survives_the_death_of_the_pilot(tmp_path: Path, knob: str, kept: int) -> None:
    store = ChaosStore(tmp_path / "pilot.db")
    add(store)
    setattr(store, knob, 2)
    with pytest.raises(Died):
        store.put_message(update(State.RUNNING))
    again = Store(tmp_path / "pilot.db")  # beside the dead one's open file, as after a kill -9
    assert len(again.open_messages()) == kept
    again.close()
    store.close()


# messages


def test_a_waiting_message_is_overtaken_by_a_newer_one_of_its_job_alone(store: Store) -> None:
    for number in (1, 2):
        add(store, number)
        store.put_message(update(State.STARTING, number))
    store.put_message(update(State.RUNNING, 1))
    assert [(m.update.job_id, str(m.update.state)) for m in store.open_messages()] == [(2, "starting"), (1, "running")]


def test_what_an_overtaken_message_would_have_shown_is_shown_by_the_next(store: Store) -> None:
    add(store)
    shown = msgspec.structs.replace(update(State.RUNNING), stdout="the end of the log")
    store.put_message(shown)
    store.put_message(update(State.RUNNING))
    store.put_message(update(State.FINISHED))
    (message,) = store.open_messages()
    assert (message.update.stdout, message.update.state) == ("the end of the log", State.FINISHED)
    store.put_message(msgspec.structs.replace(update(State.RUNNING), stdout="later words"))
    assert store.open_messages()[-1].update.stdout == "later words"


def test_a_message_on_its_way_is_not_overtaken(store: Store) -> None:
    add(store)
    first = store.put_message(update(State.STARTING))
    store.put_message(update(State.RUNNING), in_flight={first})
    assert states(store) == ["starting", "running"]


def test_a_final_message_is_never_dropped_by_another(store: Store) -> None:
    add(store)
    store.put_message(update(State.FINISHED))
    store.put_message(update(State.RUNNING))
    assert "finished" in states(store)


@pytest.mark.parametrize(
    ("answer", "is_open", "answered"),
    [
        (Answer(True), False, True),
        (Answer(False, retry=True, why="later"), True, False),
        (Answer(False, why="never"), False, True),
    ],
)
def test_a_message_stays_open_until_it_was_answered_for_good(
    store: Store, answer: Answer, is_open: bool, answered: bool
) -> None:
    add(store)
    number = store.put_message(update(State.FINISHED))
    store.tried([number])
    store.answered(number, answer)
    assert bool(store.open_messages()) == is_open
    assert store.final_answered("1.1") == answered


def test_secrets_of_an_answer_are_not_written(tmp_path: Path) -> None:
    store = Store(tmp_path / "pilot.db")
    add(store)
    store.answered(store.put_message(update(State.RUNNING)), Answer(True, secrets={"token": "hidden-treasure"}))
    store.close()
    assert b"hidden-treasure" not in (tmp_path / "pilot.db").read_bytes()


def test_tries_are_counted(store: Store) -> None:
    add(store)
    number = store.put_message(update(State.RUNNING))
    store.tried([number])
    store.tried([number])
    assert store.open_messages()[0].tries == 2


# the rest


def test_processes_are_living_until_they_are_settled(store: Store) -> None:
    first, second = store.add_process("1.1", "{}"), store.add_process("2.1", "{}")
    store.settle([first])
    assert [process.id for process in store.living_processes()] == [second]
    store.end_processes("2.1")
    assert not store.living_processes()


def test_files_attempts_and_samples_can_be_read_by_others(tmp_path: Path) -> None:
    store = Store(tmp_path / "pilot.db")
    add(store)
    failure = GetAdMismatch("in.txt").failure()
    attempt = Attempt("in.txt", Direction.IN, "copy", "file:///a", "file:///b", 1.0, 0.5, failure=failure)
    store.put_outcomes("1.1", [Outcome("in.txt", Direction.IN, failure=failure, attempts=(attempt,))])
    store.add_sample("1.1", Sample(at=1.0, pss_kb=7))
    reader = Reader(tmp_path / "pilot.db")
    job = reader.job("1.1")
    assert [(f["lfn"], f["state"]) for f in job["files"]] == [("in.txt", "failed")]
    assert [(t["copytool"], t["error_code"]) for t in job["transfers"]] == [("copy", 1171)]
    assert reader.samples("1.1")[0]["pss_kb"] == 7
    reader.close()
    store.close()


# files of other ages


def test_an_older_file_is_upgraded_step_by_step_and_keeps_its_rows(tmp_path: Path) -> None:
    path = tmp_path / "pilot.db"
    name, script = MIGRATIONS[0]
    db = sqlite3.connect(path)
    db.executescript(
        f"CREATE TABLE migrations (name TEXT PRIMARY KEY, applied REAL);{script};"
        f"INSERT INTO migrations VALUES ('{name}', 0);PRAGMA user_version = 1;"
    )
    db.execute(
        "INSERT INTO jobs (key, job_id, attempt, phase, directory, definition, facts, acquired, updated)"
        " VALUES ('1.1', 1, 1, 'running', '/somewhere', '{}', '{}', 0, 0)"
    )
    db.commit()
    db.close()
    store = Store(path)
    assert [found.job.phase for found in store.unfinished()] == [Phase.RUNNING]
    store.close()
    db = sqlite3.connect(path)
    assert db.execute("PRAGMA user_version").fetchone()[0] == len(MIGRATIONS)
    assert [row[0] for row in db.execute("SELECT name FROM migrations ORDER BY name")] == [n for n, _ in MIGRATIONS]
    db.close()


def test_a_newer_file_is_refused_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "pilot.db"
    Store(path).close()
    db = sqlite3.connect(path)
    db.execute(f"PRAGMA user_version = {len(MIGRATIONS) + 1}")
    db.close()
    before = path.read_bytes()
    with pytest.raises(FileHandlingFailure, match="use a newer pilot"):
        Store(path)
    assert path.read_bytes() == before


def test_a_file_that_is_no_database_is_named(tmp_path: Path) -> None:
    (tmp_path / "pilot.db").write_text("this is no database, however long one looks at it\n" * 100)
    with pytest.raises(FileHandlingFailure, match=r"pilot\.db"):
        Store(tmp_path / "pilot.db")


def test_a_reader_beside_a_pilot_that_just_starts_sees_nothing_yet(tmp_path: Path) -> None:
    db = sqlite3.connect(tmp_path / "pilot.db")
    db.execute("PRAGMA journal_mode=WAL")
    reader = Reader(tmp_path / "pilot.db")
    assert reader.jobs() == [] and reader.find("1") == []
    reader.close()
    db.close()


def test_a_reader_that_looks_just_as_the_file_is_filled_looks_again(tmp_path: Path) -> None:
    db = sqlite3.connect(tmp_path / "pilot.db")
    db.execute("PRAGMA journal_mode=WAL")
    reader = Reader(tmp_path / "pilot.db")
    real = reader._db

    class Late:
        """The first look finds no table; the pilot makes them before the second."""

        looked = False

        def execute(self, sql: str, values: tuple[object, ...] = ()) -> sqlite3.Cursor:
            try:
                return real.execute(sql, values)
            finally:
                if not self.looked:
                    self.looked = True
                    store = Store(tmp_path / "pilot.db")
                    add(store)
                    store._db.close()

    reader._db = Late()  # type: ignore[assignment]
    assert [row["key"] for row in reader.jobs()] == ["1.1"]
    real.close()
    db.close()
