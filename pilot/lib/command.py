"""Runs one command of ours to its end, with a time limit, and able to be stopped at any moment."""

from __future__ import annotations

import os
import selectors
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence

import msgspec

from pilot.lib.cancel import Cancel
from pilot.lib.hold import Hold

#: Of each stream so many bytes are kept, the last ones.
KEPT = 64 * 1024
_GRACE_S = 2.0


class Ran(msgspec.Struct, frozen=True):
    """How a command ended: its exit code (negative: by that signal), what it said last, and whether we ended it."""

    code: int
    out: str
    err: str
    seconds: float
    late: bool = False
    cancelled: bool = False

    def last_line(self) -> str:
        """The last line of what it said, of stderr if there is any."""
        lines = [line.strip() for line in (self.err.strip() or self.out.strip()).splitlines() if line.strip()]
        return lines[-1][:300] if lines else ""


def run(
    argv: Sequence[str],
    *,
    env: Mapping[str, str],
    cancel: Cancel,
    limit_s: float,
    cwd: str | None = None,
    text: str = "",
    pieces: Iterator[bytes] | None = None,
    tick_s: float = 0.0,
    on_tick: Callable[[], None] | None = None,
) -> Ran:
    """Run a program without a shell, in a session of its own; `env` is its whole environment, `text` its input.

    In place of `text`, `pieces` may be any amount of input, asked for one by one as the program takes them, by this
    thread; what they raise ends the program and goes on up. A program that ends before it took all tells by its code.
    When `cancel` is set or `limit_s` has passed, the whole group gets SIGTERM and after two seconds SIGKILL.
    `on_tick` is called every `tick_s` while it runs and may raise to end it. Raises `OSError` if it cannot be started.
    """
    child = subprocess.Popen(
        list(argv),
        env=dict(env),
        cwd=cwd,
        stdin=subprocess.PIPE if text or pieces else subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )
    course = _Course(child, cancel, limit_s, tick_s, on_tick)
    try:
        if pieces is not None:
            course.pour(pieces)
        elif child.stdin is not None:
            course.feed(text)
        with cancel.calling(course.wake):
            course.watch()
    except BaseException:  # nobody would wait for the program any more: it is ended, whatever it was, which goes on up
        _signal(child.pid, signal.SIGKILL)
        raise
    finally:
        course.close()
    return course.ended()


class _Course:
    """One run: what is read, what is waited for, and the steps to its end."""

    def __init__(
        self,
        child: subprocess.Popen[bytes],
        cancel: Cancel,
        limit_s: float,
        tick_s: float,
        on_tick: Callable[[], None] | None,
    ) -> None:
        self._child = child
        self._cancel = cancel
        self._begin = time.monotonic()
        self._end = self._begin + limit_s
        self._tick_s = tick_s if on_tick else float("inf")
        self._on_tick = on_tick or (lambda: None)
        self._kill_at = float("inf")
        self._late = False
        self._bell = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self._hold = Hold(child.pid)
        self._kept: dict[int, bytearray] = {}
        self._pieces: Iterator[bytes] = iter(())
        self._rest = memoryview(b"")
        self._selector = selectors.DefaultSelector()
        for stream in (child.stdout, child.stderr):
            if stream is not None:
                self._kept[stream.fileno()] = bytearray()
                self._selector.register(stream.fileno(), selectors.EVENT_READ)
        self._selector.register(self._hold.fd, selectors.EVENT_READ)
        self._selector.register(self._bell, selectors.EVENT_READ)

    def feed(self, text: str) -> None:
        """Give the command its input; less than a pipe holds, so this does not wait."""
        stream = self._child.stdin
        if stream is not None:
            try:
                stream.write(text.encode())
                stream.close()
            except BrokenPipeError:
                pass

    def pour(self, pieces: Iterator[bytes]) -> None:
        """Give the command its input piece by piece from now on."""
        stream = self._child.stdin
        if stream is not None:
            os.set_blocking(stream.fileno(), False)
            self._pieces = pieces
            self._selector.register(stream.fileno(), selectors.EVENT_WRITE)

    def wake(self) -> None:
        """Stop waiting, from whatever thread."""
        os.eventfd_write(self._bell, 1)

    def watch(self) -> None:
        """Read and wait until the command has ended and, within the grace, all that it started has let go."""
        ended = False
        tick = time.monotonic() + self._tick_s
        while not ended or any(fd in self._selector.get_map() for fd in self._kept):
            now = time.monotonic()
            if now >= tick:
                self._on_tick()
                tick = now + self._tick_s
            self._press(now)
            wait = min(self._end if not self._late else now + 3600, self._kill_at, tick) - now
            ready = self._selector.select(max(0.0, min(wait, 3600.0)))
            for key, _ in ready:
                if key.fd == self._hold.fd:
                    ended = True
                    self._selector.unregister(self._hold.fd)
                    self._dry()
                    self._kill_at = min(self._kill_at, time.monotonic() + _GRACE_S)
                elif key.fd == self._bell:
                    os.eventfd_read(self._bell)
                elif key.fd in self._kept:
                    self._read(key.fd)
                elif key.fd in self._selector.get_map():
                    self._write(key.fd)
            if ended and time.monotonic() >= self._kill_at:
                # A grandchild keeps the pipes open: it is not what was asked for.
                _signal(self._child.pid, signal.SIGKILL)
                return

    def _press(self, now: float) -> None:
        if (self._cancel.is_set() or now >= self._end) and self._kill_at == float("inf"):
            self._late = now >= self._end
            self._end = float("inf")
            self._kill_at = now + _GRACE_S
            _signal(self._child.pid, signal.SIGTERM)
        elif now >= self._kill_at:
            _signal(self._child.pid, signal.SIGKILL)
            self._kill_at = now + _GRACE_S

    def _read(self, descriptor: int) -> None:
        data = os.read(descriptor, KEPT)
        if not data:
            self._selector.unregister(descriptor)
            return
        kept = self._kept[descriptor]
        kept += data
        del kept[:-KEPT]

    def _write(self, descriptor: int) -> None:
        self._rest = self._rest or memoryview(next(self._pieces, b""))
        try:
            self._rest = self._rest[os.write(descriptor, self._rest) :] if self._rest else self._dry()
        except BlockingIOError:
            pass
        except BrokenPipeError:
            self._dry()

    def _dry(self) -> memoryview:
        """There is no more input, or nobody who wants it."""
        stream = self._child.stdin
        if stream is not None and not stream.closed:
            if stream.fileno() in self._selector.get_map():
                self._selector.unregister(stream.fileno())
            stream.close()
        return memoryview(b"")

    def close(self) -> None:
        """Collect the child and let go of all descriptors."""
        self._child.wait()
        self._selector.close()
        os.close(self._bell)
        self._hold.close()
        for stream in (self._child.stdin, self._child.stdout, self._child.stderr):
            if stream is not None:
                stream.close()

    def ended(self) -> Ran:
        """What came of it."""
        out, err = (bytes(kept).decode("utf-8", "replace") for kept in self._kept.values())
        seconds = time.monotonic() - self._begin
        cancelled = self._cancel.is_set() and not self._late
        return Ran(self._child.returncode, out, err, seconds, self._late, cancelled)


def _signal(group: int, number: int) -> None:
    """Signal the command's own session; it is gone when nobody is left in it."""
    try:
        os.killpg(group, number)
    except (ProcessLookupError, PermissionError):
        pass
