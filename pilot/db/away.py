"""A PilotDB whose home is a network file system: sqlite's locks cannot be trusted there, so it works on local scratch.

At every phase change a whole copy goes home, under a temporary name first. A pilot that starts takes whichever of the
two knows more: the scratch of this node after a kill -9, the copy at home on another node.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import os
import shutil
import sqlite3
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from pilot.core.errors import FileHandlingFailure
from pilot.core.facts import Facts
from pilot.core.lifecycle import Job
from pilot.db.store import Store

_log = logging.getLogger("pilot.db")
#: A copy that takes longer than this may take that share of the time: then some phase changes share one.
_QUICK_S, _SHARE = 0.1, 0.1


class AwayStore(Store):
    """Works in a directory of its own below `scratch`; `home` is where everybody else looks for it.

    A copy that cannot be made costs a line in the log: what counts is on the scratch.
    """

    def __init__(self, home: Path, scratch: Path, clean: Callable[[Any], Any] = lambda value: value) -> None:
        mark = hashlib.blake2b(os.fsencode(home.absolute()), digest_size=8).hexdigest()
        local = scratch / f"pilot-db-{os.getuid()}-{mark}" / "pilot.db"
        self.home = home
        self._moved = False
        self._copy_again_at = 0.0
        try:
            local.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            if local.parent.stat().st_uid != os.getuid():
                raise FileHandlingFailure(f"{local.parent} belongs to somebody else")
            if _knows(home) > _knows(local):
                for suffix in ("-wal", "-shm"):
                    local.with_name(local.name + suffix).unlink(missing_ok=True)
                shutil.copyfile(home, local)
        except OSError as error:
            raise FileHandlingFailure(f"{local}: {error.strerror}") from error
        super().__init__(local, clean)
        _log.info("%s is on a network file system: the PilotDB works in %s", home.parent, local)
        self._go_home()

    @contextlib.contextmanager
    def transaction(self) -> Iterator[None]:
        """As in any store; after a phase change the copy at home is renewed."""
        outermost = not self._db.in_transaction
        with super().transaction():
            yield
        if outermost:
            self._renew()

    def _write(self, sql: str, values: Sequence[Any]) -> sqlite3.Cursor:
        cursor = super()._write(sql, values)
        if not self._db.in_transaction:
            self._renew()
        return cursor

    def _renew(self) -> None:
        """Take a copy home if a phase has changed since the last one, and it is time for one."""
        if self._moved and time.monotonic() >= self._copy_again_at:
            self._go_home()

    def save(self, job: Job, facts: Facts, event: str) -> None:
        """Write where the job is now."""
        self._moved = True
        super().save(job, facts, event)

    def close(self) -> None:
        """Take the last copy home and let go of the scratch."""
        arrived = self._go_home()
        super().close()
        if arrived:
            shutil.rmtree(Path(self.path).parent, ignore_errors=True)

    def _go_home(self) -> bool:
        whole, part = Path(self.path + ".copy"), self.home.with_name(f".{self.home.name}.part")
        began = time.monotonic()
        try:
            with contextlib.closing(sqlite3.connect(whole)) as copy:
                self._db.backup(copy)
                copy.execute("PRAGMA journal_mode=DELETE")  # readers there need neither journal nor shared memory
            shutil.copyfile(whole, part)
            os.replace(part, self.home)
            self._moved = False
        except (OSError, sqlite3.Error) as error:
            _log.warning("the PilotDB was not copied to %s: %s", self.home, error)
            return False
        finally:
            now = time.monotonic()
            self._copy_again_at = now + (now - began) / _SHARE if now - began > _QUICK_S else 0.0
        return True


def _knows(path: Path) -> tuple[int, int]:
    """How much a PilotDB knows: its pilots and phase changes; less than nothing where there is none."""
    if not path.is_file():
        return (-1, -1)
    try:
        with contextlib.closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as db:
            pilots, phases = (
                db.execute(f"SELECT coalesce(max({column}), 0) FROM {table}").fetchone()[0]
                for table, column in (("pilots", "pilot"), ("phases", "id"))
            )
            return (int(pilots), int(phases))
    except sqlite3.Error:
        return (-1, -1)
