"""The thread that owns the database: many waiting calls, one transaction, answers after the commit.

Durability. The file is in WAL mode with `synchronous=NORMAL`: a committed transaction survives the death of this
process at any moment (kill -9 included), and a power cut can lose the last moments but never corrupts the file. What a
power cut takes away the pilots say again: heartbeats repeat, and a job whose dispatch was forgotten is refused
(`tobekilled`) and stays available. `durable=True` asks for `synchronous=FULL`, one fsync for each group of calls.
"""

from __future__ import annotations

import asyncio
import queue
import sqlite3
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from pilot.server.refusal import StoreError
from pilot.server.schema import migrate

T = TypeVar("T")
_Call = tuple[Callable[[sqlite3.Connection], Any], "asyncio.Future[Any]"]
_Outcome = tuple["asyncio.Future[Any]", Any, BaseException | None]

# Calls in one transaction: enough to share a commit among every client that waits, few enough that the first one of
# a long queue is not kept waiting for the last.
_GROUP = 128


class Store:
    """Runs functions on the database in a thread of its own; `run` is called from one event loop."""

    def __init__(self, path: Path, *, durable: bool = False) -> None:
        """Opens or creates the file; raises `StoreError` if it cannot be used."""
        self._path = path
        self._durable = durable
        self._inbox: queue.SimpleQueue[_Call | None] = queue.SimpleQueue()
        self._opened: queue.SimpleQueue[StoreError | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._work, name="store", daemon=True)
        self._thread.start()
        failure = self._opened.get()
        if failure is not None:
            self._thread.join()
            raise failure

    async def run(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Does `work(db)` inside a transaction and returns its result once that is committed.

        What `work` raises is raised here and undoes only its own changes; a failing commit raises `StoreError`.
        """
        future: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        self._inbox.put((work, future))
        return await future

    def close(self) -> None:
        """Finishes the calls that wait, then closes the file; safe to call twice."""
        self._inbox.put(None)
        self._thread.join()

    def _work(self) -> None:
        try:
            db = _open(self._path, self._durable)
        except StoreError as error:
            self._opened.put(error)
            return
        self._opened.put(None)
        try:
            while (calls := self._next_group()) is not None:
                _answer(_do(db, calls))
        finally:
            db.close()

    def _next_group(self) -> list[_Call] | None:
        call = self._inbox.get()
        if call is None:
            return None
        calls = [call]
        while len(calls) < _GROUP:
            try:
                call = self._inbox.get_nowait()
            except queue.Empty:
                break
            if call is None:
                self._inbox.put(None)
                break
            calls.append(call)
        return calls


def _open(path: Path, durable: bool) -> sqlite3.Connection:
    try:
        db = sqlite3.connect(path, isolation_level=None, cached_statements=256, timeout=10)
        db.row_factory = sqlite3.Row
        db.execute("PRAGMA journal_mode = WAL")
        db.execute(f"PRAGMA synchronous = {'FULL' if durable else 'NORMAL'}")
        migrate(db)
    except sqlite3.Error as error:
        raise StoreError(f"cannot use {path} as database: {error}") from error
    return db


def _do(db: sqlite3.Connection, calls: list[_Call]) -> list[_Outcome]:
    try:
        db.execute("BEGIN IMMEDIATE")
        outcomes = [_do_one(db, work, future) for work, future in calls]
        db.execute("COMMIT")
        return outcomes
    except (sqlite3.Error, StoreError) as error:
        if db.in_transaction:
            db.execute("ROLLBACK")
        return [(future, None, StoreError(f"database: {error}")) for _, future in calls]


def _do_one(db: sqlite3.Connection, work: Callable[[sqlite3.Connection], Any], future: asyncio.Future[Any]) -> _Outcome:
    db.execute("SAVEPOINT one")
    try:
        result = work(db)
    except Exception as error:  # whatever a call raises belongs to its caller, not to this thread
        if not db.in_transaction:  # a full disk makes sqlite roll back the whole group by itself
            raise StoreError(f"database: {error}") from error
        if isinstance(error, sqlite3.Error):
            error = StoreError(f"database: {error}")
        elif isinstance(error, StopIteration):  # a future cannot carry this one
            error = RuntimeError(f"{error!r} came out of a call")
        db.execute("ROLLBACK TO one")
        db.execute("RELEASE one")
        return future, None, error
    db.execute("RELEASE one")
    return future, result, None


def _answer(outcomes: list[_Outcome]) -> None:
    loop = outcomes[0][0].get_loop()
    # The loop is closed only after `close`, which waits for this thread: the call cannot fail.
    loop.call_soon_threadsafe(_deliver, outcomes)


def _deliver(outcomes: list[_Outcome]) -> None:
    for future, result, error in outcomes:
        if future.done():
            continue  # the caller went away; what it asked for is stored all the same
        if error is not None:
            future.set_exception(error)
        else:
            future.set_result(result)
