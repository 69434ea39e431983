"""One worker of a payload as the channel sees it, and the job that it talks with."""

from __future__ import annotations

import contextlib
import logging
import os
from collections.abc import Callable
from typing import Protocol

from pilot.core.errors import MessageHandlingFailure
from pilot.core.ranges import EventRange
from pilot.lib.hold import Hold
from pilot.lib.loop import Loop
from pilot.runtime.eventwire import Ask, Bye, Done, Failed, Hello, Message, Waiting, ranges_line, word_line

_log = logging.getLogger("pilot.events")
_COMPLAINTS = 10


class Desk(Protocol):
    """What a job does with the messages of its workers. Called in the channel's thread, never twice at once."""

    def joined(self, peer: Peer) -> None:
        """A worker is there."""

    def asks(self, peer: Peer, count: int) -> None:
        """It can take ranges: `peer.give` or `peer.no_more`, now or later, once."""

    def waits(self, peer: Peer, open: int) -> None:
        """It cannot end its `open` ranges before it is answered."""

    def done(self, peer: Peer, said: Done) -> None:
        """It has worked a range through."""

    def failed(self, peer: Peer, said: Failed) -> None:
        """It could not work a range through."""

    def leaves(self, peer: Peer, begun: tuple[str, ...]) -> None:
        """It has said good-bye and is told so by `peer.farewell`."""

    def lost(self, peer: Peer, why: str) -> None:
        """It is gone without a word, or for good after one: the last that is heard of it."""


class Peer:
    """A worker. `number` is unique in this pilot, `pid` its process in the pilot's own counting (0: unknown).

    `classic` workers speak the text protocol: they are served one range a message and never kept waiting for others.
    """

    classic = False

    def __init__(self, number: int, desk: Desk, send: Callable[[bytes], None], pid: int = 0) -> None:
        self.number = number
        self.desk = desk
        self.pid = pid
        self.name = f"worker-{number}"
        self.left = False
        self.gone = False
        self._send = send
        self._hold: Hold | None = None
        self._complaints = 0

    def hear(self, message: Message) -> None:
        """Pass a message of the worker on to its job."""
        if self.gone or self.left:
            return
        match message:
            case Ask():
                self.desk.asks(self, max(1, min(message.count, 10_000)))
            case Done():
                self.desk.done(self, message)
            case Failed():
                self.desk.failed(self, message)
            case Waiting():
                self.desk.waits(self, message.open)
            case Bye():
                self.left = True
                self.desk.leaves(self, message.begun)
            case Hello():
                self.refuse("", "there was a hello before")

    def give(self, ranges: list[EventRange]) -> None:
        """Answer a request with ranges."""
        self._send(ranges_line(ranges))

    def no_more(self) -> None:
        """Answer a request: there are none left."""
        self._send(word_line("no_more"))

    def welcome(self) -> None:
        """Answer the first message."""
        self._send(word_line("welcome", version=1, worker=self.number))

    def farewell(self) -> None:
        """Everything that the worker said has been accounted for."""
        self._send(word_line("farewell"))

    def refuse(self, id: str, why: str) -> None:
        """What the worker said of this range (empty: its message) cannot be taken: it is told so, the log too."""
        self._complaints += 1
        if self._complaints <= _COMPLAINTS:
            more = "; no more of this will be said" if self._complaints == _COMPLAINTS else ""
            _log.warning("%s: not taken%s: %s%s", self.name, id and f" for range {id}", why, more)
        self._say_refused(id, why)

    def _say_refused(self, id: str, why: str) -> None:
        self._send(word_line("refused", id=id, why=why))

    def misunderstood(self, error: MessageHandlingFailure) -> None:
        """Tell the worker that its message makes no sense."""
        self.refuse("", str(error))

    def watch(self, loop: Loop, ended: Callable[[], None]) -> None:
        """Have `ended` called when the worker's process ends; nothing happens for one that is not seen from here."""
        if self.pid <= 0 or self.pid == os.getpid():
            return
        with contextlib.suppress(OSError):
            self._hold = Hold(self.pid)
            loop.watch(self._hold.fd, ended)

    def unwatch(self, loop: Loop) -> None:
        """Let go of the process; safe to call twice."""
        if self._hold is not None:
            loop.unwatch(self._hold.fd)
            self._hold.close()
            self._hold = None

    def lose(self, loop: Loop, why: str) -> None:
        """The worker is gone: tell its job, once."""
        self.unwatch(loop)
        if not self.gone:
            self.gone = True
            self.desk.lost(self, why)
