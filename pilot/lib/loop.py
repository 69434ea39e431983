"""One selector that everything waits in: child exits, signals, timers and messages of other threads.

Nothing here looks at intervals: the kernel wakes the loop, or the earliest timer does.
"""

from __future__ import annotations

import contextlib
import heapq
import itertools
import os
import selectors
import signal
import time
from collections import deque
from collections.abc import Callable, Iterable
from types import FrameType


class Timer:
    """A call that is due at `when` (monotonic s); `cancel` is safe at any time, also twice and from the call."""

    __slots__ = ("callback", "when")

    def __init__(self, when: float, callback: Callable[[], None]) -> None:
        self.when = when
        self.callback: Callable[[], None] | None = callback

    def cancel(self) -> None:
        """The call will not be made; what it held on to is let go."""
        self.callback = None


class Loop:
    """Runs callbacks, one at a time, in the thread that calls `run`.

    `post` may be called from any thread and from signal handlers; everything else only from the loop's thread.
    """

    def __init__(self) -> None:
        self._selector = selectors.DefaultSelector()
        self._wake = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self._inbox: deque[Callable[[], None]] = deque()
        self._timers: list[tuple[float, int, Timer]] = []
        self._order = itertools.count()
        self._stopped = False
        self._signal_pipe: tuple[int, int] | None = None
        self._selector.register(self._wake, selectors.EVENT_READ, self._drain_wake)

    def post(self, callback: Callable[[], None]) -> None:
        """Have `callback` called soon in the loop's thread."""
        self._inbox.append(callback)
        with contextlib.suppress(OSError, ValueError):  # the loop has been closed: nobody is left to call it
            os.eventfd_write(self._wake, 1)

    def after(self, seconds: float, callback: Callable[[], None]) -> Timer:
        """Have `callback` called once, `seconds` from now."""
        timer = Timer(time.monotonic() + seconds, callback)
        heapq.heappush(self._timers, (timer.when, next(self._order), timer))
        return timer

    def watch(self, fd: int, callback: Callable[[], None]) -> None:
        """Have `callback` called whenever `fd` is readable, until `unwatch`."""
        self._selector.register(fd, selectors.EVENT_READ, callback)

    def unwatch(self, fd: int) -> None:
        """Forget `fd`; safe for one that is not watched."""
        with contextlib.suppress(KeyError, ValueError):
            self._selector.unregister(fd)

    def signals(self, numbers: Iterable[int], callback: Callable[[int], None]) -> None:
        """Have `callback(number)` called in the loop for each of these signals. Main thread only; once."""
        read, write = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        self._signal_pipe = (read, write)
        for number in numbers:
            signal.signal(number, _ignore)
        signal.set_wakeup_fd(write, warn_on_full_buffer=False)
        wanted = frozenset(numbers)

        def drain() -> None:
            for number in os.read(read, 512):
                if number in wanted:
                    callback(number)

        self.watch(read, drain)

    def run(self) -> None:
        """Serve until `stop`, which may have been called already."""
        while not self._stopped:
            for key, _ in self._selector.select(self._timeout()):
                if self._selector.get_map().get(key.fd) is key:  # not so if another callback of this round forgot it
                    key.data()
            self._run_inbox()
            self._run_timers()

    def stop(self) -> None:
        """Leave `run` after the present round, for good."""
        self._stopped = True

    def close(self) -> None:
        """Let go of all descriptors; safe to call twice."""
        if self._wake < 0:
            return
        if self._signal_pipe:
            signal.set_wakeup_fd(-1)
            for fd in self._signal_pipe:
                os.close(fd)
            self._signal_pipe = None
        self._selector.close()
        os.close(self._wake)
        self._wake = -1

    def _drain_wake(self) -> None:
        with contextlib.suppress(BlockingIOError):
            os.eventfd_read(self._wake)

    def _timeout(self) -> float | None:
        if self._inbox or self._stopped:
            return 0.0
        while self._timers and self._timers[0][2].callback is None:
            heapq.heappop(self._timers)
        return max(0.0, self._timers[0][0] - time.monotonic()) if self._timers else None

    def _run_inbox(self) -> None:
        for _ in range(len(self._inbox)):  # what arrives meanwhile waits a round: timers and children get their turn
            self._inbox.popleft()()

    def _run_timers(self) -> None:
        now = time.monotonic()
        while self._timers and self._timers[0][0] <= now:
            timer = heapq.heappop(self._timers)[2]
            callback, timer.callback = timer.callback, None
            if callback is not None:
                callback()


def _ignore(number: int, frame: FrameType | None) -> None:
    """The wakeup descriptor has told the loop already."""
