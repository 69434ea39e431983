"""The access point that a worker shares with Harvester: what goes through it, as files (5.3) or over HTTP (5.5)."""

from __future__ import annotations

import contextlib
import json
import os
import select
import threading
import time
from enum import StrEnum
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import parse_qs

from pilot.core.errors import FileHandlingFailure, NoLocalSpace
from pilot.lib.files import is_full, write_atomically
from pilot.lib.filesystem import is_shared
from pilot.lib.inotify import CLOSE_WRITE, CREATE, DELETE, MODIFY, MOVED_FROM, MOVED_TO, Inotify
from pilot.plugins.sources import harvester_lists as lists
from pilot.plugins.sources.harvester_names import OLD_JOB_SPEC, MapType, Names


class Role(StrEnum):
    """What is exchanged; the values are the names of `Names`."""

    ATTRIBUTES = "attributes"
    JOB_REPORT = "job_report"
    DUMP = "dump"
    JOB_REQUEST = "job_request"
    EVENT_REQUEST = "event_request"
    EVENT_UPDATES = "event_updates"
    PANDA_IDS = "panda_ids"
    KILL = "kill"
    HEARTBEAT = "heartbeat"


#: In lock-step: a new one is written only after Harvester has taken the old one away.
_LOCK_STEP = frozenset({Role.JOB_REQUEST, Role.EVENT_REQUEST})
#: Lists: what Harvester has not taken away yet gets longer.
_LISTS = frozenset({Role.DUMP, Role.EVENT_UPDATES})
#: Of a job; with many jobs a worker they lie in the job's sub-directory.
_OF_JOB = frozenset({Role.ATTRIBUTES, Role.JOB_REPORT, Role.DUMP, Role.EVENT_UPDATES})


class Watch(Protocol):
    """Sees what changes from its making on: look first, then wait, and nothing that happens in between is missed."""

    def wait(self, seconds: float) -> bool:
        """Wait until something may have changed, or the time has passed. False once the box is closed."""

    def close(self) -> None:
        """Let go."""


class Box(Protocol):
    """The way to Harvester. Used by several threads at once; `close` wakes those that wait.

    `renews`: attributes and job reports that lie there are replaced by newer ones; where not, the first one stays.
    `late_s`: how long after a request has gone its answer may come to be seen.
    Errors: `NoLocalSpace`, `FileHandlingFailure`, `CommunicationFailure`.
    """

    renews: bool
    late_s: float

    def write(self, role: Role, content: Any, job_id: int = 0) -> bool:
        """Put something there. False if Harvester has not taken the one before, or a list that is long by now: nothing
        is changed then.

        Lists of outputs and of event updates hold entries by PandaID as text.
        """

    def busy(self, role: Role, job_id: int = 0) -> bool:
        """Whether something of this kind has not been taken yet; of lists of outputs, one of other jobs."""

    def jobs(self) -> dict[str, dict[str, Any]]:
        """The jobs that are there now, by PandaID as text: those that are written completely."""

    def unreadable(self) -> str:
        """What was fed and could not be read as jobs yet; empty if there is nothing of that kind."""

    def event_ranges(self) -> dict[str, list[dict[str, Any]]] | None:
        """The ranges that were fed, by PandaID as text; they are gone afterwards. None while there are none."""

    def told(self, job_id: int) -> set[str]:
        """The ids of the job's ranges of which an earlier pilot told, as far as that can be seen."""

    def watch(self) -> Watch:
        """Watch for changes from now on; the caller closes it."""

    def close(self) -> None:
        """Wake everybody; safe to call twice."""


class FileBox:
    """The shared-file protocol. `look_s` is how often files are looked at where no kernel tells of changes."""

    renews = True

    def __init__(
        self, access_point: Path, names: Names, kind: MapType, data_dir: Path | None = None, look_s: float = 2.0
    ) -> None:
        self.access_point, self.names, self.kind = access_point, names, kind
        self._data_dir = data_dir
        self._look_s = look_s
        self._wake = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self._quick = not is_shared(access_point)
        self.late_s = 1.0 if self._quick else 30.0
        self._writing = threading.Lock()
        # Batch scripts that start a pilot for each job of a worker give it the job's sub-directory for an access point.
        self._is_part = access_point.name.isdigit() and (access_point.parent / names.panda_ids).exists()

    def place(self, role: Role | str, job_id: int = 0) -> Path:
        """Where the file of this kind is."""
        name: str = getattr(self.names, str(role))
        if role == Role.HEARTBEAT and self._is_part:
            return self.access_point.parent / name
        if job_id and self.kind is MapType.MANY and role in _OF_JOB:
            return self.access_point / str(job_id) / name
        return self.access_point / name

    def directory(self, job_id: int) -> Path:
        """The directory that Harvester knows for the job."""
        return self.access_point / str(job_id) if self.kind is MapType.MANY else self.access_point

    def write(self, role: Role, content: Any, job_id: int = 0) -> bool:
        """Put the file there under a temporary name and rename it into place."""
        path = self.place(role, job_id)
        with self._writing:
            if (role in _LOCK_STEP and path.exists()) or (role in _LISTS and lists.is_long(path)):
                return False
            try:
                path.parent.mkdir(parents=True, exist_ok=True)
                if role in _LISTS:
                    self._put(role, content, job_id)
                else:
                    write_atomically(path, json.dumps(content))
            except OSError as error:
                kind = NoLocalSpace if is_full(error) else FileHandlingFailure
                raise kind(f"{path}: {error.strerror}") from error
        return True

    def _put(self, role: Role, content: Any, job_id: int) -> None:
        """Lengthen a list. Harvester makes event updates of the ranges in a list of outputs that it reads, and writes
        them over those that lie there: there are never two lists with ranges for it to fetch."""
        dump, updates = self.place(Role.DUMP, job_id), self.place(Role.EVENT_UPDATES, job_id)
        if role is Role.EVENT_UPDATES and not (lists.lies(dump) or lists.is_read(dump)):
            lists.put(updates, content)
        elif lists.lies(updates) and not lists.is_read(dump) and lists.lists_ranges(dump, content):
            lists.put(dump, content, updates)
        else:
            lists.put(dump, content)

    def busy(self, role: Role, job_id: int = 0) -> bool:
        """Whether the file is still there."""
        path = self.place(role, job_id)
        return lists.lies(path, beside=job_id) if role in _LISTS else path.exists()

    def jobs(self) -> dict[str, dict[str, Any]]:
        """What the job files hold; a file that is being written counts as not there."""
        found: dict[str, dict[str, Any]] = {}
        for path in self._specs():
            found.update(read_job_spec(path))
        return found

    def unreadable(self) -> str:
        """The job file that is there but holds no job, as far as anybody can read it; empty if there is none."""
        return next((str(path) for path in self._specs() if path.exists() and not read_job_spec(path)), "")

    def _specs(self) -> list[Path]:
        folders = [self.access_point]
        if self._data_dir is not None:
            folders.insert(0, self._data_dir)
        if self.kind is MapType.MANY:
            ids = _json(self.access_point / self.names.panda_ids)
            folders += [self.access_point / str(id) for id in ids] if isinstance(ids, list) else []
        return [folder / name for folder in folders for name in dict.fromkeys((self.names.job_spec, OLD_JOB_SPEC))]

    def event_ranges(self) -> dict[str, list[dict[str, Any]]] | None:
        """Take the feed file away once it is whole, so that the next one is not mistaken for it."""
        path = self.access_point / self.names.event_ranges
        if not path.exists():
            return None
        with lists.alone(self.access_point):
            fed = _json(path)
            if not isinstance(fed, dict):
                return None
            with contextlib.suppress(OSError):
                os.replace(path, path.with_name(f"{path.name}.taken"))
        return {str(key): value for key, value in fed.items() if isinstance(value, list)}

    def told(self, job_id: int) -> set[str]:
        """The ids of the job's ranges in all lists here, those that Harvester has read among them."""
        return lists.ranges_in(self.place(Role.DUMP, job_id), self.place(Role.EVENT_UPDATES, job_id))

    def watch(self) -> FileWatch:
        """Hear the kernel's word on the access point; on a network file system look at it from time to time."""
        return FileWatch(self._watched() if self._quick else [], self._wake, self._look_s)

    def _watched(self) -> list[Path]:
        folders = [self.access_point, *([self._data_dir] if self._data_dir else [])]
        if self.kind is MapType.MANY:
            with contextlib.suppress(OSError):
                folders += [entry for entry in self.access_point.iterdir() if entry.is_dir()]
        return folders

    def close(self) -> None:
        """Wake whoever waits, now and later."""
        with contextlib.suppress(OSError):
            os.eventfd_write(self._wake, 1)


class FileWatch:
    """The kernel's word on some directories, or a timed look where it gives none."""

    def __init__(self, folders: list[Path], closed: int, look_s: float) -> None:
        self._closed, self._look_s = closed, look_s
        self._inotify: Inotify | None = None
        with contextlib.suppress(OSError):
            if folders:
                self._inotify = Inotify()
                for folder in folders:
                    self._inotify.add(folder, CREATE | MODIFY | CLOSE_WRITE | MOVED_TO | MOVED_FROM | DELETE)

    def wait(self, seconds: float) -> bool:
        """Wait; False once the box is closed."""
        fds = [self._closed] + ([self._inotify.fd] if self._inotify else [])
        ready, _, _ = select.select(fds, [], [], seconds if self._inotify else min(seconds, self._look_s))
        if self._inotify is not None:
            self._inotify.read()
        return self._closed not in ready

    def close(self) -> None:
        """Let go of the kernel's watches."""
        if self._inotify is not None:
            self._inotify.close()


def read_job_spec(path: Path) -> dict[str, dict[str, Any]]:
    """The jobs of a file: JSON by PandaID, a single description, or url-encoded text. Empty while it is incomplete.

    JSON that is being written never parses. Url-encoded text may: it counts as whole once it has not changed for 2 s.
    """
    try:
        text = path.read_text(encoding="utf-8")
        age_s = time.time() - path.stat().st_mtime
    except (OSError, UnicodeDecodeError):
        return {}
    return jobs_of(text, settled=age_s > 2.0)


def jobs_of(text: str, settled: bool = True) -> dict[str, dict[str, Any]]:
    """The jobs in a text by PandaID. One that is url-encoded is only read once it is `settled`: it has no end."""
    text = text.strip()
    if text.startswith("{"):
        try:
            found = json.loads(text)
        except ValueError:
            return {}
        if "PandaID" in found:
            return {str(found["PandaID"]): found}
        return {str(key): job for key, job in found.items() if isinstance(job, dict)}
    if "PandaID=" in text and settled:
        job = {key: values[-1] for key, values in parse_qs(text, keep_blank_values=True).items()}
        return {job["PandaID"]: job} if job.get("PandaID") else {}
    return {}


def _json(path: Path) -> Any:
    """The JSON in a file; None while it is not there or not whole."""
    try:
        return json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        return None
