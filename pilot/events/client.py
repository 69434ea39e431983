"""The payload's side of the channel of event ranges: ask, work, tell."""

from __future__ import annotations

import contextlib
import json
import math
import os
import threading
import time
from collections import deque
from collections.abc import Iterator
from typing import Any

from pilot.events.wire import PilotGone, connect

VERSION = 1
WELCOME_S = 60.0  #: how long the pilot may take to answer the first message
FAREWELL_S = 30.0  #: how long it may take to say that it has accounted for everything
AHEAD_S = 0.1  #: work that is asked for ahead where ranges are so short that asking would cost time
SHORT_S = 0.5  #: ranges longer than this are never asked for ahead: another worker may be idle


_encode = json.JSONEncoder(separators=(",", ":")).encode


class NoPilot(RuntimeError):
    """There is no pilot to ask: `PILOT_EVENTS` is not set."""


class Range:
    """One event range, both ends included. Ends with exactly one `done` or `failed`, from any thread."""

    __slots__ = (
        "_channel",
        "cpu_s",
        "extra",
        "guid",
        "id",
        "last_event",
        "lfn",
        "path",
        "scope",
        "start_event",
        "started",
    )

    def __init__(self, channel: Channel, told: dict[str, Any]) -> None:
        self._channel: Channel | None = channel
        self.id: str = told["id"]
        self.lfn: str = told["lfn"]
        self.guid: str = told.get("guid", "")
        self.scope: str = told.get("scope", "")
        self.start_event: int = told["start_event"]
        self.last_event: int = told["last_event"]
        self.path: str = told.get("path", "")
        self.extra: dict[str, Any] = told.get("extra", {})
        self.started = 0.0
        self.cpu_s = 0.0

    def done(self, output: str = "", loss: float | None = None) -> None:
        """The range has been worked through; `output` is its file (empty: it has none), left alone from now on, `loss`
        what a hyper-parameter point gave.

        Raises ValueError if the range has had an outcome before, or the loss is no finite number.
        """
        message = {"type": "done", "id": self.id, "path": os.path.abspath(output) if output else ""}
        if loss is not None and not math.isfinite(loss):
            raise ValueError(f"range {self.id}: the loss is {loss}")
        self._end(message if loss is None else {**message, "loss": float(loss)})

    def failed(self, why: str, fatal: bool = False) -> None:
        """The range could not be worked through. `fatal`: nobody need try it again."""
        self._end({"type": "failed", "id": self.id, "why": str(why), "fatal": bool(fatal)})

    def _end(self, message: dict[str, Any]) -> None:
        channel, self._channel = self._channel, None
        if channel is None:
            raise ValueError("range " + self.id + " has had its outcome")
        channel.end(self, message)

    def __repr__(self) -> str:
        return f"<Range {self.id} {self.lfn}[{self.start_event}-{self.last_event}]>"


def ranges(endpoint: str = "", worker: str = "") -> Iterator[Range]:
    """Ask the pilot for event ranges until it has no more. `worker` is a name for the records.

    Raises `NoPilot` where no pilot has set the endpoint, `PilotGone` when it ends in between. Ranges may have their
    outcome after the iteration has come to its end; where it is broken off, those without one go to other workers.
    """
    endpoint = endpoint or os.environ.get("PILOT_EVENTS", "")
    if not endpoint:
        raise NoPilot("PILOT_EVENTS is not set: this program is not the payload of an event service job")
    channel = Channel(endpoint, worker or f"worker-{os.getpid()}")
    try:
        yield from channel
        channel.finish()
    except BaseException:  # the payload leaves its loop, whatever for: its ranges are given back, and it goes on up
        channel.close()
        raise


class Channel:
    """One worker's conversation. The iteration runs in one thread; outcomes may come from others.

    `_state` guards what is known, for moments; `_io` guards the connection and is held by whoever waits at it. Who
    cannot get `_io` leaves the message in the outbox and wakes the one who has it.
    """

    def __init__(self, endpoint: str, worker: str) -> None:
        self._pid = os.getpid()
        self._wire = connect(endpoint)
        self._state = threading.Lock()
        self._io = threading.Lock()
        self._outbox: deque[dict[str, Any]] = deque()
        self._wake: tuple[int, ...] = os.pipe()
        self._stock: deque[Range] = deque()
        self._open: dict[str, Range] = {}
        self._heard: set[str] = set()
        self._asked = self._ended = self._left = self._last = False
        self._cpu_s = _cpu_s()
        self._mean_s = 0.0
        self._reader = 0
        os.set_blocking(self._wake[0], False)
        self._say({"type": "hello", "version": VERSION, "pid": self._pid, "worker": worker})
        self._wait("welcome", WELCOME_S)

    def __iter__(self) -> Iterator[Range]:
        self._reader = threading.get_ident()
        while True:
            if self._wants_more():
                self._push()
            while not self._stock and not self._ended:
                if self._open:  # others are to end these: the pilot must not wait for them before it answers
                    self._say({"type": "waiting", "open": len(self._open)})
                self._listen(None)
            if not self._stock:
                return
            item = self._stock.popleft()
            with self._state:
                self._share_cpu()
                item.started = time.monotonic()
                self._open[item.id] = item
            yield item

    def end(self, item: Range, message: dict[str, Any]) -> None:
        """Tell one range's outcome, with the CPU and wall time that it took."""
        if os.getpid() != self._pid:
            raise RuntimeError(f"range {item.id} belongs to process {self._pid}")
        with self._state:
            wall = time.monotonic() - item.started
            self._share_cpu()
            self._open.pop(item.id, None)
            self._mean_s = wall if not self._mean_s else 0.8 * self._mean_s + 0.2 * wall
            self._outbox.append({**message, "cpu_s": round(item.cpu_s, 6), "wall_s": round(wall, 6)})
            last = self._last and not self._open
            if self._mean_s < SHORT_S and not self._last and self._reader == threading.get_ident():
                self._wants_more()  # the question travels with the outcome
        self._push()
        if last:
            self.close()

    def finish(self) -> None:
        """The iteration is over: leave now, or with the outcome of the last range."""
        with self._state:
            self._last = True
            waiting = bool(self._open)
        if not waiting:
            self.leave()
            self.close()

    def leave(self) -> None:
        """Say good-bye and wait until the pilot has accounted for everything. Raises `PilotGone` if it does not."""
        if self._left or os.getpid() != self._pid:
            return
        self._left = True
        self._say({"type": "bye", "begun": list(self._open)})
        self._wait("farewell", FAREWELL_S)

    def close(self) -> None:
        """Leave, whatever happened, and let go of the connection."""
        if os.getpid() != self._pid:
            return
        with contextlib.suppress(PilotGone):
            self.leave()
        with self._state:
            wake, self._wake = self._wake, ()
        if wake:
            self._wire.close()
        for fd in wake:
            os.close(fd)

    def _wants_more(self) -> bool:
        """Whether to ask now: for what is needed and, where ranges are short, for those of the next moments."""
        ahead = min(64, int(AHEAD_S / self._mean_s) + 1) if 0.0 < self._mean_s < SHORT_S else 0
        missing = 1 + ahead - len(self._stock)
        if self._asked or self._ended or 2 * missing <= ahead:
            return False
        self._asked = True
        self._outbox.append({"type": "ask", "count": missing})
        return True

    def _say(self, message: dict[str, Any]) -> None:
        self._outbox.append(message)
        self._push()

    def _push(self) -> None:
        while self._outbox and self._io.acquire(False):
            try:
                self._flush()
            finally:
                self._io.release()
        if self._outbox:
            os.write(self._wake[1], b"x")

    def _flush(self) -> None:
        lines: list[str] = []
        while self._outbox:
            lines.append(_encode(self._outbox.popleft()))
        if lines:
            self._wire.send("".join(line + "\n" for line in lines).encode())

    def _listen(self, seconds: float | None) -> None:
        """Hear what comes next; others' outcomes are sent meanwhile."""
        with self._io:
            self._flush()
            lines = self._wire.receive(self._wake[0], seconds)
            with contextlib.suppress(BlockingIOError):
                os.read(self._wake[0], 4096)
            self._flush()
        for line in lines:
            self._hear(json.loads(line))
        if self._outbox:  # came between the last look and the release
            self._push()

    def _hear(self, message: dict[str, Any]) -> None:
        kind = message.get("type", "")
        if kind == "ranges":
            self._asked = False
            self._stock.extend(Range(self, told) for told in message["ranges"])
        elif kind == "no_more":
            self._asked = False
            self._ended = True
        else:
            self._heard.add(kind)

    def _wait(self, kind: str, seconds: float) -> None:
        deadline = time.monotonic() + seconds
        while kind not in self._heard:
            left = deadline - time.monotonic()
            if left <= 0:
                raise PilotGone(f"the pilot did not answer within {seconds:.0f} s")
            self._listen(left)

    def _share_cpu(self) -> None:
        """What this process used since the last look belongs to the ranges that were open, in equal parts."""
        now = _cpu_s()
        used, self._cpu_s = now - self._cpu_s, now
        for item in self._open.values():
            item.cpu_s += used / len(self._open)


def _cpu_s() -> float:
    """CPU time of this process and of its children that have ended."""
    return sum(os.times()[:4])
