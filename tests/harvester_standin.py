"""A Harvester for tests, written from its side of the shared-file protocol: it writes slowly and in place.

Files that it writes grow before the worker's eyes; those that the worker writes must be whole whenever it looks.
"""

from __future__ import annotations

import contextlib
import json
import os
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from pilot.plugins.sources.harvester_names import Names

INTEGERS = {
    "transExitCode", "pilotErrorCode", "exeErrorCode", "cpuConsumptionTime", "nEvents", "nInputFiles", "attemptNr",
    "coreCount", *(f"{a}{b}" for a in ("max", "avg") for b in ("RSS", "VMEM", "SWAP", "PSS")),
    *(f"{a}{b}" for a in ("tot", "rate") for b in ("RCHAR", "WCHAR", "RBYTES", "WBYTES")),
}  # fmt: skip
TEXTS = {
    "jobStatus", "pilotErrorDiag", "exeErrorDiag", "node", "cpuConsumptionUnit", "schedulerID", "pilotID", "siteName",
    "pilotLog", "pilotTiming", "startTime", "endTime", "batchID", "jobMetrics", "stdout",
}  # fmt: skip
NUMBERS = {"cpuConversionFactor"}


_DEALING = threading.Lock()


class Harvester:
    """One worker's access point. `jobs` are fed when they are asked for, `ranges` when event ranges are."""

    def __init__(
        self, access_point: Path, names: Names | None = None, many: bool = False, slow_s: float = 0.02
    ) -> None:
        self.ap, self.names, self.many, self.slow_s = access_point, names or Names(), many, slow_s
        self.jobs: list[dict[str, Any]] = []
        self.ranges: list[dict[str, Any]] = []
        self.most = 1_000_000
        self.asked: list[Any] = []
        self.attributes: dict[int, list[dict[str, Any]]] = {}
        self.dumps: list[tuple[float, dict[str, Any]]] = []
        self.updates: list[dict[str, Any]] = []
        self.told: list[dict[str, Any]] = []
        self.faults: list[str] = []
        self._given: list[int] = []
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._serve, daemon=True)

    def __enter__(self) -> Harvester:
        self._thread.start()
        return self

    def __exit__(self, *why: object) -> None:
        self._stop.set()
        self._thread.join(20)
        self.cycle()
        self.cycle()

    def _serve(self) -> None:
        while not self._stop.wait(self.slow_s):
            self.cycle()

    def cycle(self) -> None:
        """One look of the monitor."""
        self.see_job_request()
        self.see_event_request()
        for folder in [self.ap, *(p for p in self.ap.iterdir() if p.name.isdigit())]:
            self.see_attributes(folder)
            dump, updates = folder / self.names.dump, folder / self.names.event_updates
            for content in self.collect(dump):
                self.dumps.append((time.time(), content))
                self.make_updates(content, updates)
            for content in self.collect(updates):
                self.updates.extend(entry for entries in content.values() for entry in entries)
            for path in (dump, updates):
                self.acknowledge(path)

    # to the worker

    def feed(self, jobs: list[dict[str, Any]]) -> None:
        """Write the job files, then the PandaIDs."""
        if self.many:
            for job in jobs:
                folder = self.ap / str(job["PandaID"])
                folder.mkdir(exist_ok=True)
                self.write(folder / self.names.job_spec, {str(job["PandaID"]): job})
        else:
            self.write(self.ap / self.names.job_spec, {str(job["PandaID"]): job for job in jobs})
        self.write(self.ap / self.names.panda_ids, [job["PandaID"] for job in jobs])
        self._given += [job["PandaID"] for job in jobs]

    def see_job_request(self) -> None:
        request = self.ap / self.names.job_request
        if request.exists():
            asked = self.read(request)
            self.asked.append(asked)
            count = int(asked.get("nJobs", 1)) if isinstance(asked, dict) else 1
            jobs, self.jobs = self.jobs[:count], self.jobs[count:]
            if jobs:
                self.feed(jobs)
                request.unlink()

    def see_event_request(self) -> None:
        request = self.ap / self.names.event_request
        if request.exists():
            asked = self.read(request)
            self.asked.append(asked)
            ((key, wish),) = asked.items()
            self.write(self.ap / self.names.event_ranges, {key: self.deal(wish)})
            request.unlink()

    def deal(self, wish: dict[str, Any]) -> list[dict[str, Any]]:
        """The next ranges; the list of them may be shared with the Harvester of another worker."""
        with _DEALING:
            count = min(wish["nRanges"], self.most)
            ranges = self.ranges[:count]
            del self.ranges[:count]
        return ranges

    def write(self, path: Path, content: Any) -> None:
        """In place, in pieces."""
        text = json.dumps(content)
        with path.open("w") as file:
            for at in range(0, len(text), max(1, len(text) // 4)):
                file.write(text[at : at + max(1, len(text) // 4)])
                file.flush()
                time.sleep(self.slow_s / 4)

    # from the worker

    def read(self, path: Path) -> Any:
        try:
            return json.loads(path.read_text())
        except ValueError:
            self.faults.append(f"{path.name} is not whole")
            return {}

    def collect(self, path: Path) -> list[dict[str, Any]]:
        """Rename and read; what was renamed before and not acknowledged comes first."""
        taken = path.with_name(path.name + ".read")
        if not taken.exists():
            try:
                os.rename(path, taken)
            except FileNotFoundError:
                return []
        content = self.read(taken)
        for key in content:
            int(key)
        return [content]

    def make_updates(self, content: dict[str, Any], path: Path) -> None:
        """Event updates of the ranges in a list of outputs, over those that lie there."""
        found: dict[str, list[dict[str, Any]]] = {}
        for key, entries in content.items():
            for entry in entries:
                if "path" not in entry or entry["type"] in ("es_output", "zip_output"):
                    update = {name: entry[name] for name in ("eventRangeID", "eventStatus")}
                    found.setdefault(key, []).append(update)
        if found:
            fresh = path.with_name(path.name + ".new")
            self.write(fresh, found)
            os.rename(fresh, path)

    def acknowledge(self, path: Path) -> None:
        """Keep what was read under a time stamp."""
        with contextlib.suppress(FileNotFoundError):
            taken = path.with_name(path.name + ".read")
            os.rename(taken, taken.with_name(f"{taken.name}.{time.time_ns()}"))

    def see_attributes(self, folder: Path) -> None:
        path = folder / self.names.attributes
        if not path.exists():
            return
        with contextlib.suppress(FileNotFoundError):
            found = self.read(path)
            self.note(int(folder.name) if folder != self.ap else (self._given or [0])[-1], found)

    def note(self, number: int, found: dict[str, Any]) -> None:
        """Keep the attributes of a job if they are new."""
        known = self.attributes.setdefault(number, [])
        if found and (not known or known[-1] != found):
            known.append(found)
            self.told.append(found)
            self.check_types(found)

    def check_types(self, found: dict[str, Any]) -> None:
        for key, value in found.items():
            wanted: Any = int if key in INTEGERS else str if key in TEXTS else float if key in NUMBERS else None
            if wanted is None:
                self.faults.append(f"{key} is not passed on")
            elif not isinstance(value, wanted) or isinstance(value, bool):
                self.faults.append(f"{key} is {value!r}")

    def entries(self) -> list[dict[str, Any]]:
        """All files of all output lists."""
        every = (entry for _, content in self.dumps for entries in content.values() for entry in entries)
        return [entry for entry in every if "path" in entry]


class FrontEnd(ThreadingHTTPServer):
    """The HTTP front end: it reads and writes the same files, and takes none of them away."""

    daemon_threads = True

    def __init__(self, harvester: Harvester, token: str = "") -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.harvester, self.token = harvester, token
        self.thread = threading.Thread(target=self.serve_forever, daemon=True)
        self.thread.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/"

    def close(self) -> None:
        self.shutdown()
        self.server_close()
        self.thread.join(10)

    def answer(self, method: str, data: Any) -> tuple[int, str]:
        ap, names = self.harvester.ap, self.harvester.names
        writes = {
            "requestJobs": names.job_request, "requestEventRanges": names.event_request,
            "updateJobs": names.attributes, "uploadJobReport": names.job_report,
            "uploadEventOutputDump": names.dump, "setPandaIDs": names.panda_ids,
            "killWorker": names.kill, "heartbeat": names.heartbeat,
        }  # fmt: skip
        reads = {"getJobs": names.job_spec, "getEventRanges": names.event_ranges}
        if method in writes:
            path = ap / writes[method]
            if path.exists() and method != "heartbeat":
                return 503, "previous request is not yet processed"
            partial = path.with_name(".incoming")
            partial.write_text(json.dumps(data))
            partial.rename(path)
            return 200, "OK"
        if method in reads:
            path = ap / reads[method]
            return (200, path.read_text()) if path.exists() else (503, "previous request is not yet processed")
        return 501, f"no method {method}"


class _Handler(BaseHTTPRequestHandler):
    server: FrontEnd

    def do_POST(self) -> None:
        call = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if self.server.token and self.headers.get("Authorization") != f"Bearer {self.server.token}":
            status, text = 400, "bad token"
        elif not {"methodName", "workerID", "data"} <= set(call):
            status, text = 400, "missing field"
        else:
            status, text = self.server.answer(call["methodName"], call["data"])
        body = text.encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *words: object) -> None:
        pass
