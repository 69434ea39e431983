"""Holding one process: being woken when it has ended, and signalling it and no later one of the same number.

Linux has pidfds for this since 5.3. On older kernels (RHEL 8 has 4.18), and where a sandbox forbids them, a thread
waits in their place: for a child of ours in `waitid`; for any other process it looks from time to time. Then the
birth time proves a process just before it is signalled.
"""

from __future__ import annotations

import errno
import os
import signal
import threading

from pilot.lib.procfs import Proc

#: What `pidfd_open` says where there are none: the call is unknown, or a sandbox refuses it.
_NONE_HERE = (errno.ENOSYS, errno.EPERM)
_LOOK_AGAIN_S = 0.05


class Hold:
    """A process, by its number. Raises `ProcessLookupError` if there is none, another `OSError` if it cannot be held.

    To be closed; all methods may be called from any thread, `close` more than once.
    """

    def __init__(self, pid: int, proc: Proc | None = None) -> None:
        self.pid = pid
        self._lock = threading.Lock()
        self._closed = False
        self._fd = _pidfd(pid)
        self._pidfd = self._fd >= 0
        if not self._pidfd:
            self._proc = proc or Proc()
            self._birth = self._born()
            if self._birth < 0:
                raise ProcessLookupError(errno.ESRCH, os.strerror(errno.ESRCH))

    @property
    def fd(self) -> int:
        """A descriptor that is readable from when the process has ended; -1 after `close`."""
        with self._lock:
            if self._fd < 0 and not self._closed:
                self._fd = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
                threading.Thread(target=self._await, name=f"wait-{self.pid}", daemon=True).start()
            return self._fd

    def send(self, number: int) -> None:
        """Signal the process. Raises `ProcessLookupError` (it has ended) and `PermissionError`."""
        if self._pidfd:
            signal.pidfd_send_signal(self._fd, number)
        elif self._born() == self._birth:
            os.kill(self.pid, number)
        else:
            raise ProcessLookupError(errno.ESRCH, os.strerror(errno.ESRCH))

    def close(self) -> None:
        """Let the process go; it is not touched."""
        with self._lock:
            self._closed = True
            if self._fd >= 0:
                os.close(self._fd)
            self._fd = -1

    def _born(self) -> int:
        stat = self._proc.stat(self.pid)
        return stat.start_ticks if stat else -1

    def _await(self) -> None:
        """The thread in a pidfd's place; it ends with the process, or with `close` where it has to look."""
        try:
            os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOWAIT)
        except ChildProcessError:
            pause = threading.Event()
            while not self._closed and self._lives():
                pause.wait(_LOOK_AGAIN_S)
        with self._lock:
            if self._fd >= 0:
                os.eventfd_write(self._fd, 1)

    def _lives(self) -> bool:
        stat = self._proc.stat(self.pid)
        return stat is not None and stat.alive and stat.start_ticks == self._birth


def has_pidfds() -> bool:
    """Whether this kernel, and the sandbox we may be in, know pidfds."""
    fd = _pidfd(os.getpid())
    if fd >= 0:
        os.close(fd)
    return fd >= 0


def _pidfd(pid: int) -> int:
    """A pidfd, -1 where the kernel or the interpreter (built on an older one) has none."""
    try:
        return os.pidfd_open(pid)
    except AttributeError:
        return -1
    except OSError as error:
        if error.errno in _NONE_HERE:
            return -1
        raise
