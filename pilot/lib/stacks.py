"""What processes that do nothing are doing: their state in the kernel, and call stacks by py-spy or gdb where found."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterable
from pathlib import Path
from typing import BinaryIO

from pilot.lib.procfs import Proc

#: Where the tools are looked for: the system's directories and the one of our own interpreter.
SEARCH = os.pathsep.join([os.path.dirname(sys.executable), "/usr/local/bin", os.defpath])
_MOST = 5


def dump(pids: Iterable[int], into: Path, proc: Proc, *, patience_s: float = 15.0, search: str = SEARCH) -> list[str]:
    """Write what these processes are doing to a file: the kernel's view of all, call stacks of the first five.

    Takes at most about `patience_s` in all. Returns the tools that answered, by name; a file that cannot be written
    costs the dump only.
    """
    answered: list[str] = []
    end = time.monotonic() + patience_s
    try:
        with open(into, "wb") as file:
            for n, pid in enumerate(pids):
                _kernel_view(pid, file, proc)
                stuck = (stat := proc.stat(pid)) is not None and stat.state == "D"  # no debugger gets at it
                tools = _tools(pid, proc, search) if n < _MOST and not stuck else []
                tool = next((argv for argv in tools if _answers(argv, file, end)), None)
                answered += [Path(tool[0]).name] if tool else []
    except OSError:
        pass
    return answered


def _kernel_view(pid: int, file: BinaryIO, proc: Proc) -> None:
    command = (proc.read(f"{pid}/cmdline") or b"").replace(b"\0", b" ").strip()
    stat = proc.stat(pid)
    file.write(b"== process %d (state %s): %s\n" % (pid, stat.state.encode() if stat else b"?", command[:500]))
    for name in ("wchan", "syscall", "stack"):
        file.write(b"%s: %s\n" % (name.encode(), (proc.read(f"{pid}/{name}") or b"not told").strip()))
    file.flush()


def _tools(pid: int, proc: Proc, search: str) -> list[list[str]]:
    """The commands that may show this process's stack, the most telling first."""
    found = []
    py_spy, gdb = shutil.which("py-spy", path=search), shutil.which("gdb", path=search)
    if py_spy and _is_python(pid, proc):
        found.append([py_spy, "dump", "--nonblocking", "--pid", str(pid)])
    if gdb:
        found.append([gdb, "-p", str(pid), "-batch", "-nx", "-ex", "set pagination off", "-ex", "thread apply all bt"])
    return found


def _is_python(pid: int, proc: Proc) -> bool:
    try:
        return "python" in os.path.basename(os.readlink(f"{proc.root}/{pid}/exe"))
    except OSError:
        return False


def _answers(argv: list[str], file: BinaryIO, end: float) -> bool:
    """Run one tool into the file; one that hangs is ended when the time is over."""
    left_s = end - time.monotonic()
    if left_s <= 0:
        return False
    try:
        done = subprocess.run(
            argv, stdin=subprocess.DEVNULL, stdout=file, stderr=subprocess.DEVNULL, timeout=left_s, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return False
    return done.returncode == 0
