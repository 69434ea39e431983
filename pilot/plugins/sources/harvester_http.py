"""The HTTP front end of Harvester's messenger (protocol.md 5.5): the same exchange, one POST each."""

from __future__ import annotations

import json
import threading
from typing import Any

import msgspec

from pilot.core.errors import CommunicationFailure
from pilot.lib.http import Connection, HttpSettings
from pilot.plugins.sources.harvester_box import Role, jobs_of

_METHODS = {
    Role.ATTRIBUTES: "updateJobs",
    Role.JOB_REPORT: "uploadJobReport",
    Role.DUMP: "uploadEventOutputDump",
    Role.EVENT_UPDATES: "uploadEventOutputDump",  # entries without a path are plain updates there
    Role.JOB_REQUEST: "requestJobs",
    Role.EVENT_REQUEST: "requestEventRanges",
    Role.PANDA_IDS: "setPandaIDs",
    Role.KILL: "killWorker",
    Role.HEARTBEAT: "heartbeat",
}
_OK, _NOT_YET = 200, 503


class HttpBoxSettings(msgspec.Struct, frozen=True):
    """Where the front end is, who this worker is there, and the signed token that an Apache front end wants.

    `look_s`: the longest time between two questions while an answer is waited for.
    """

    url: str
    worker_id: int
    token: str = ""
    ca_file: str = ""
    look_s: float = 5.0


class HttpBox:
    """A worker's access point over HTTP. 503 is the lock-step: the request before has not been processed.

    The front end refuses to write over any file but the heartbeat, and nobody takes attributes and job reports away:
    the first of each stays. What was fed it answers again and again.
    """

    renews = False
    late_s = 30.0

    def __init__(self, settings: HttpBoxSettings) -> None:
        self.settings = settings
        self._connection = Connection(HttpSettings(ca_file=settings.ca_file))
        self._closed = threading.Event()
        self._spec = ""
        self._feed = b""

    def write(self, role: Role, content: Any, job_id: int = 0) -> bool:
        """Send it. False while the one before has not been processed."""
        return self._post(_METHODS[role], content) is not None

    def busy(self, role: Role, job_id: int = 0) -> bool:
        """Nobody tells beforehand: `write` does."""
        return False

    def jobs(self) -> dict[str, dict[str, Any]]:
        """The jobs that were fed."""
        before, self._spec = self._spec, (self._post("getJobs", {}) or b"").decode("utf-8", "replace")
        return jobs_of(self._spec, settled=self._spec == before)

    def unreadable(self) -> str:
        """What was answered last, if it holds no job."""
        return "" if jobs_of(self._spec) else self._spec[:80]

    def event_ranges(self) -> dict[str, list[dict[str, Any]]] | None:
        """The ranges that were fed, once."""
        body = self._post("getEventRanges", {})
        if body is None or body == self._feed:
            return None
        try:
            fed = json.loads(body)
        except ValueError:
            return None
        if not isinstance(fed, dict):
            return None
        self._feed = body
        return {str(key): value for key, value in fed.items() if isinstance(value, list)} or None

    def told(self, job_id: int) -> set[str]:
        """Nobody tells."""
        return set()

    def watch(self) -> HttpWatch:
        """There is nothing to hear: look from time to time."""
        return HttpWatch(self._closed, self.settings.look_s)

    def close(self) -> None:
        """Wake whoever waits."""
        self._closed.set()
        self._connection.close()

    def _post(self, method: str, data: Any) -> bytes | None:
        """The body of a good answer, None for "not yet". Raises `CommunicationFailure` for every other one."""
        body = json.dumps({"methodName": method, "workerID": self.settings.worker_id, "data": data}).encode()
        headers = {"Content-Type": "application/json"}
        if self.settings.token:
            headers["Authorization"] = f"Bearer {self.settings.token}"
        reply = self._connection.exchange("POST", self.settings.url, body, headers)
        if reply.status == _OK:
            return reply.body
        if reply.status == _NOT_YET:
            return None
        raise CommunicationFailure(f"Harvester at {self.settings.url}: {method}: {reply.status} {reply.text()}")


class HttpWatch:
    """A timed look: soon at first, then less and less often."""

    def __init__(self, closed: threading.Event, longest_s: float) -> None:
        self._closed, self._longest_s = closed, longest_s
        self._look_s = 0.1

    def wait(self, seconds: float) -> bool:
        """Wait; False once the box is closed."""
        self._look_s = min(1.5 * self._look_s, self._longest_s)
        return not self._closed.wait(min(seconds, self._look_s))

    def close(self) -> None:
        """Nothing is held."""
