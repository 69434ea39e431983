"""The one way to ask running work to stop: an event that can also wake what sleeps in the kernel."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager


class Cancel(threading.Event):
    """A `threading.Event` with hooks: whoever blocks in a system call says how to wake it.

    A hook runs once, in the thread that calls `set`; it must be quick and must not raise (write to an eventfd,
    shut a socket down, signal a child of ours).
    """

    def __init__(self) -> None:
        super().__init__()
        self._guard = threading.RLock()
        self._hooks: dict[object, Callable[[], None]] = {}

    def set(self) -> None:
        """Ask for the end of the work; calling it again changes nothing."""
        super().set()
        with self._guard:
            hooks, self._hooks = list(self._hooks.values()), {}
        for hook in hooks:
            hook()

    @contextmanager
    def calling(self, hook: Callable[[], None]) -> Iterator[None]:
        """Have `hook` called when the event is set within this block, or at once if it is set already."""
        key = object()
        with self._guard:
            late = self.is_set()
            if not late:
                self._hooks[key] = hook
        if late:
            hook()
        try:
            yield
        finally:
            with self._guard:
                self._hooks.pop(key, None)
