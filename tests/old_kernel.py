"""Runs a command as on a kernel without pidfds: `python old_kernel.py COMMAND...`.

A seccomp filter answers `pidfd_open` and `pidfd_send_signal` with "no such system call", for all that is started too.
"""

from __future__ import annotations

import ctypes
import os
import struct
import sys

_UNKNOWN = (434, 424)
_NO_NEW_PRIVS, _SECCOMP, _FILTER = 38, 22, 2
_ALLOW, _REFUSE = 0x7FFF0000, 0x00050000 | 38  # ENOSYS


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("code", ctypes.c_char_p))


def forget() -> None:
    """Take pidfds away from this process and all that it starts. Raises OSError where that is not to be had."""
    steps = [(0x20, 0, 0, 0)]  # the number of the call
    for n, number in enumerate(_UNKNOWN):
        steps.append((0x15, len(_UNKNOWN) - n, 0, number))
    steps += [(0x06, 0, 0, _ALLOW), (0x06, 0, 0, _REFUSE)]
    code = b"".join(struct.pack("HBBI", *step) for step in steps)
    libc = ctypes.CDLL(None, use_errno=True)
    program = _Program(len(steps), code)
    if libc.prctl(_NO_NEW_PRIVS, 1, 0, 0, 0) or libc.prctl(_SECCOMP, _FILTER, ctypes.byref(program), 0, 0):
        raise OSError(ctypes.get_errno(), "no seccomp filter")


if __name__ == "__main__":
    forget()
    os.execvp(sys.argv[1], sys.argv[1:])
