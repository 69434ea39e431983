"""How fast hosts have sent files to this node: a small file that all pilots of one user on it share."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

_WEIGHT = 0.5
_FORGOTTEN_S = 7 * 86400.0
_MOST_HOSTS, _MOST_BYTES = 2000, 1 << 20


def speeds_file() -> Path:
    """Where the speeds are kept unless somebody says otherwise."""
    return Path(tempfile.gettempdir()) / f"pilot-speeds-{os.getuid()}.json"


class Speeds:
    """Bytes/s by host. Any thread; pilots take turns by a lock on the file.

    Without a file, or with one that cannot be used or belongs to somebody else, they last as long as this object.
    """

    def __init__(self, path: Path | None = None) -> None:
        self._path = path
        self._own: dict[str, tuple[float, float]] = {}
        self._guard = threading.Lock()

    def known(self) -> dict[str, float]:
        """What has been measured lately."""
        with self._guard:
            with self._opened(fcntl.LOCK_SH) as file:
                if file is not None:
                    self._own = _read(file)
            return {host: speed for host, (speed, _) in self._own.items()}

    def note(self, measured: Mapping[str, float]) -> None:
        """Let newer measurements (bytes/s by host) weigh as much as all that was known before."""
        if not measured:
            return
        now = time.time()
        with self._guard, self._opened(fcntl.LOCK_EX) as file:
            known = _read(file) if file is not None else self._own
            for host, speed in measured.items():
                before = known.get(host, (speed, now))[0]
                known[host] = (_WEIGHT * speed + (1 - _WEIGHT) * before, now)
            latest = sorted(known.items(), key=lambda entry: -entry[1][1])[:_MOST_HOSTS]
            self._own = dict(latest)
            if file is not None:
                text = json.dumps(self._own).encode()
                with contextlib.suppress(OSError):
                    os.ftruncate(file, 0)
                    os.pwrite(file, text, 0)

    @contextlib.contextmanager
    def _opened(self, lock: int) -> Iterator[int | None]:
        """The locked file; None where there is none to be used."""
        if self._path is None:
            yield None
            return
        try:
            file = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        except OSError:
            yield None
            return
        try:
            mine = os.fstat(file).st_uid == os.getuid()
            if mine:
                fcntl.flock(file, lock)
            yield file if mine else None
        finally:
            os.close(file)


def _read(file: int) -> dict[str, tuple[float, float]]:
    """What a file tells; nothing where it is not what it should be."""
    oldest = time.time() - _FORGOTTEN_S
    try:
        found = json.loads(os.pread(file, _MOST_BYTES, 0) or b"{}")
        pairs = {str(host): (float(speed), float(at)) for host, (speed, at) in found.items()}
    except (ValueError, TypeError, AttributeError, OSError):
        return {}
    return {host: entry for host, entry in pairs.items() if entry[0] > 0 and entry[1] > oldest}
