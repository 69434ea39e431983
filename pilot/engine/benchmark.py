"""How fast this node's cores are: measured once a boot, kept in a file, told to whoever wants to know.

The score is that of one core while all measured cores are busy, for so they are when jobs run.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import shlex
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import msgspec

from pilot.core.errors import GeneralError
from pilot.lib import whirl
from pilot.lib.oneoff import hear
from pilot.lib.procfs import Proc

_WHIRL = "whirl"


class Result(msgspec.Struct, frozen=True):
    """One measurement. `score` is of one core, `factor` the score by that of the reference core.

    `what` is `whirl` or the command that was run; `copies` how many ran at once; `at` epoch s.
    """

    what: str
    score: float
    factor: float
    copies: int
    seconds: float
    at: float
    host: str
    boot: str
    cpu_model: str = ""

    def metrics(self) -> dict[str, str]:
        """The result for jobMetrics."""
        name = _WHIRL if self.what == _WHIRL else "benchmark"
        return {name: f"{self.score:.2f}"}


def measure_whirl(cpu_s: float, copies: int, reference: float, env: Mapping[str, str], proc: Proc) -> Result:
    """Run the project's own benchmark on so many cores at once. Raises `GeneralError`."""
    begun = time.monotonic()
    running = [
        subprocess.Popen(
            whirl.command(cpu_s),
            env=dict(env),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        for _ in range(copies)
    ]
    scores = []
    for one in running:
        out, _ = one.communicate()
        with contextlib.suppress(ValueError):
            scores.append(float(out))
    if len(scores) < copies:
        raise GeneralError(f"{copies - len(scores)} of {copies} copies of the CPU benchmark gave no score")
    return _result(_WHIRL, sum(scores) / copies, copies, time.monotonic() - begun, reference, proc)


def measure_command(
    command: str, pattern: str, patience_s: float, reference: float, env: Mapping[str, str], proc: Proc
) -> Result:
    """Run a benchmark of somebody else's and find its score in what it prints. Raises `GeneralError`.

    `pattern` is a regular expression with one group, or `json:a.b.c`, the way to the score in a JSON document.
    """
    begun = time.monotonic()
    try:
        done = hear(shlex.split(command), patience_s, env)
    except (OSError, ValueError, subprocess.TimeoutExpired) as error:
        raise GeneralError(f"the benchmark {command!r} could not be run: {error}") from error
    if done.returncode != 0:
        last = (done.stderr.strip().splitlines() or ["it said nothing"])[-1]
        raise GeneralError(f"the benchmark {command!r} ended with {done.returncode}: {last[:200]}")
    score = find_score(done.stdout, pattern)
    return _result(command, score, 1, time.monotonic() - begun, reference, proc)


def find_score(output: str, pattern: str) -> float:
    """The score in a benchmark's output. Raises `GeneralError` when it is not there or no positive number."""
    found: object = None
    if pattern.startswith("json:"):
        with contextlib.suppress(msgspec.DecodeError):
            found = msgspec.json.decode(output)
        for name in pattern.removeprefix("json:").split("."):
            found = found.get(name) if isinstance(found, dict) else None
    else:
        match = re.search(pattern, output)
        found = match[1] if match and match.re.groups else None
    try:
        score = float(found) if isinstance(found, int | float | str) else 0.0
    except ValueError:
        score = 0.0
    if not 0 < score < float("inf"):
        raise GeneralError(f"no score was found by {pattern!r} in the benchmark's output")
    return score


def _result(what: str, score: float, copies: int, seconds: float, reference: float, proc: Proc) -> Result:
    model = re.search(r"^model name\s*:\s*(.+)$", (proc.read("cpuinfo") or b"").decode(errors="replace"), re.MULTILINE)
    return Result(
        what=what,
        score=score,
        factor=score / reference,
        copies=copies,
        seconds=seconds,
        at=time.time(),
        host=os.uname().nodename,
        boot=proc.boot_id(),
        cpu_model=model[1] if model else "",
    )


def cache_file() -> Path:
    """Where results are kept for all pilots of this user on this node."""
    return Path(tempfile.gettempdir()) / f"pilot-benchmark-{os.getuid()}.json"


def cached(cache: Path, what: str | None, proc: Proc) -> Result | None:
    """The result of an earlier measurement of this kind (None: any) in this boot of this node; None if there is none.

    A file that belongs to somebody else is not believed.
    """
    try:
        fd = os.open(cache, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:
        return None
    with open(fd, "rb") as file:
        if os.fstat(fd).st_uid != os.getuid():
            return None
        try:
            result = msgspec.json.decode(file.read(), type=Result)
        except msgspec.MsgspecError:
            return None
    mine = (what or result.what, os.uname().nodename, proc.boot_id()) == (result.what, result.host, result.boot)
    return result if mine else None


@contextlib.contextmanager
def alone(cache: Path, patience_s: float) -> Iterator[None]:
    """Nobody else of this user measures this node meanwhile: two benchmarks at once would halve each other's score.

    Waits up to about `patience_s`, then goes on beside the other; so it does where no lock can be had.
    """
    fd = -1
    with contextlib.suppress(OSError):
        fd = os.open(f"{cache}.lock", os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        if fd >= 0:
            _lock(fd, patience_s)
        yield
    finally:
        if fd >= 0:
            os.close(fd)


def _lock(fd: int, patience_s: float) -> None:
    locked = threading.Event()

    def wait() -> None:
        with contextlib.suppress(OSError):
            fcntl.flock(own, fcntl.LOCK_EX)
        locked.set()
        os.close(own)

    own = os.dup(fd)  # the lock is common to both descriptors, and the thread's outlives a caller who gave up
    threading.Thread(target=wait, name="benchmark-lock", daemon=True).start()
    locked.wait(patience_s)


def keep(cache: Path, result: Result) -> bool:
    """Keep a result for the pilots to come; False where that cannot be done."""
    try:
        fd, name = tempfile.mkstemp(dir=cache.parent, prefix=cache.name)
    except OSError:
        return False
    try:
        with open(fd, "wb") as file:
            file.write(msgspec.json.format(msgspec.json.encode(result), indent=1))
        os.replace(name, cache)
    except OSError:
        with contextlib.suppress(OSError):
            os.unlink(name)
        return False
    return True
