"""The outbox in the PilotDB: what servers are to be told, and what they said."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import msgspec

from pilot.core.update import Answer, JobUpdate
from pilot.db.connection import Connection, json_text


class OpenMessage(msgspec.Struct, frozen=True):
    """A message that no server has accepted yet."""

    id: int
    update: JobUpdate
    tries: int


class Messages(Connection):
    """The part of `Store` that keeps them. `clean` takes known secrets out of what is written."""

    _clean: Callable[[Any], Any]

    def put_message(self, update: JobUpdate, in_flight: Iterable[int] = ()) -> int:
        """Have the server told. A waiting message that is not final is overtaken by this one; a final one never is.

        What an overtaken message would have shown of the payload (`stdout`) is not lost if this one shows nothing.
        """
        with self.transaction():
            sql = "SELECT id, json_extract(body, '$.stdout') FROM messages WHERE key=? AND final=0 AND accepted IS NULL"
            waiting = {id: said for id, said in self._db.execute(sql, (update.key,)) if id not in set(in_flight)}
            for old, said in waiting.items():
                update = update if update.stdout or not said else msgspec.structs.replace(update, stdout=said)
                self._write(
                    "UPDATE messages SET accepted=0, answer='overtaken', answered=? WHERE id=?", (time.time(), old)
                )
            cursor = self._write(
                "INSERT INTO messages (key, state, final, body, created) VALUES (?,?,?,?,?)",
                (update.key, update.state, update.state.final, json_text(self._clean(update)), time.time()),
            )
        return int(cursor.lastrowid or 0)

    def open_messages(self) -> list[OpenMessage]:
        """What no server has accepted yet, oldest first."""
        rows = self._db.execute("SELECT id, body, tries FROM messages WHERE accepted IS NULL ORDER BY id")
        return [OpenMessage(id, msgspec.json.decode(body, type=JobUpdate), tries) for id, body, tries in rows]

    def tried(self, ids: Sequence[int]) -> None:
        """Note that these messages are being sent."""
        now = time.time()
        with self.transaction():
            for id in ids:
                self._write("UPDATE messages SET tries = tries + 1, sent = ? WHERE id = ?", (now, id))

    def answered(self, id: int, answer: Answer) -> None:
        """Note what the server said; a message that may be said again stays open."""
        accepted = 1 if answer.accepted else None if answer.retry else 0
        self._write(
            "UPDATE messages SET answered=?, accepted=?, answer=? WHERE id=?",
            (time.time(), accepted, json_text(msgspec.structs.replace(answer, secrets={})), id),
        )

    def final_answered(self, key: str) -> bool:
        """Whether a server has answered the job's final report, be it with a refusal for good."""
        sql = "SELECT 1 FROM messages WHERE key = ? AND final = 1 AND accepted IS NOT NULL"
        return self._db.execute(sql, (key,)).fetchone() is not None

    def drop_message(self, id: int, why: str) -> None:
        """Note that a message will not be sent any more, and why."""
        self._write("UPDATE messages SET answered=?, accepted=0, answer=? WHERE id=?", (time.time(), why, id))
