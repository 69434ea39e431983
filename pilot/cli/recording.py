"""What `pilot transfer` tells of its work while it goes on: rows of a PilotDB, an event stream, Rucio traces.

None of them can hurt the work: what cannot be written is told once, at the end.
"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Protocol

from pilot import __version__
from pilot.core.errors import PilotError
from pilot.core.transfer import Attempt, Outcome, Transfer
from pilot.lib.urls import shown
from pilot.staging import report
from pilot.staging.tidy import Deed

#: Attempts that are kept at most before they go into the PilotDB in one transaction, and for how long.
_ROWS, _ROWS_S = 200, 0.5


class Record(Protocol):
    """One place that hears of the work. Called by one thread; no method raises."""

    def attempt(self, attempt: Attempt) -> None:
        """One try has ended."""

    def settled(self, outcomes: Sequence[Outcome], deeds: Sequence[Deed], whole: Mapping[str, Any]) -> None:
        """All is over."""

    def close(self) -> str:
        """Let go of it; why something could not be recorded, empty if all was."""


class DatabaseRecord:
    """Every attempt as a row of `transfers` and every file as one of `files`, under the key `transfer.N`.

    N is the number of this run in `pilots`. Raises `PilotError` when made, for a file that is no PilotDB of ours.
    """

    def __init__(self, path: str) -> None:
        from pilot.db.store import Store

        self._trouble = ""
        self._rows: list[Attempt] = []
        self._since = time.monotonic()
        self._store = Store(path)
        self._pilot = self._store.add_pilot(
            host=socket.gethostname(), pid=os.getpid(), version=__version__, source="transfer"
        )
        self.key = f"transfer.{self._pilot}"

    def attempt(self, attempt: Attempt) -> None:
        """Kept until some have come together."""
        self._rows.append(report.told_attempt(attempt))
        if len(self._rows) >= _ROWS or time.monotonic() - self._since > _ROWS_S:
            self._flush()

    def settled(self, outcomes: Sequence[Outcome], deeds: Sequence[Deed], whole: Mapping[str, Any]) -> None:
        """The files and the exit code."""
        self._flush()
        try:
            self._store.put_outcomes(self.key, [report.told_outcome(outcome) for outcome in outcomes])
            self._store.end_pilot(self._pilot, int(whole["exit_code"]))
        except PilotError as error:
            self._trouble = self._trouble or str(error)

    def close(self) -> str:
        """Close the file."""
        self._flush()
        self._store.close()
        return self._trouble

    def _flush(self) -> None:
        rows, self._rows, self._since = self._rows, [], time.monotonic()
        try:
            with self._store.transaction():
                self._store.add_attempts(self.key, rows)
        except PilotError as error:
            self._trouble = self._trouble or str(error)


class EventRecord:
    """JSON lines (configs/schema/transfer-events.schema.json), appended one by one; `-` is standard output.

    Raises `OSError` when made.
    """

    def __init__(self, path: str, transfers: int) -> None:
        self._trouble = ""
        self._number = 0
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
        self._descriptor = os.dup(1) if path == "-" else os.open(path, flags, 0o666)
        self._tell("begin", version=__version__, host=socket.gethostname(), boot=_boot_id(), files=transfers)

    def attempt(self, attempt: Attempt, job: str = "") -> None:
        """Written at once; `job` is the key of the job whose file it is."""
        state = "failed" if attempt.failure else "done"
        line = {
            **({"job": job} if job else {}),
            "lfn": shown(attempt.lfn),
            "direction": str(attempt.direction),
            "rse": attempt.rse,
            "state": state,
        }
        self._tell("attempt", **line, **report.attempt_line(attempt))

    def settled(self, outcomes: Sequence[Outcome], deeds: Sequence[Deed], whole: Mapping[str, Any]) -> None:
        """The files, what else was done, and the whole."""
        for outcome in outcomes:
            line = report.file_line(report.told_outcome(outcome))
            self._tell("file", **{key: value for key, value in line.items() if key not in ("type", "attempts")})
        for deed in deeds:
            line = report.deed_line(deed)
            self._tell(line.pop("type"), **line)
        self._tell("end", **whole)

    def close(self) -> str:
        """Close the file."""
        os.close(self._descriptor)
        return self._trouble

    def _tell(self, name: str, **words: Any) -> None:
        """Both clocks, so that the order is known where the wall clock was set in between."""
        self._number += 1
        head = {"event": f"transfer.{name}", "ts": time.time(), "monotonic": time.monotonic(), "pid": os.getpid()}
        text = report.to_json({**head, "seq": self._number, **words}) + "\n"
        try:
            data = text.encode()
            while data:
                data = data[os.write(self._descriptor, data) :]
        except OSError as error:
            self._trouble = self._trouble or f"the event stream: {error.strerror}"


class JobEvents:
    """The same lines for the attempts of a pilot's jobs. Used by one thread."""

    def __init__(self, path: str) -> None:
        self._record = EventRecord(path, 0)

    def attempt(self, job: str, attempt: Attempt) -> None:
        """Written at once."""
        self._record.attempt(attempt, job)

    def close(self) -> str:
        """Close the file; why something could not be written, empty if all was."""
        return self._record.close()


class TraceRecord:
    """A Rucio trace for each attempt, sent by a thread of its own; `facts` are the fields of a `Tracer`."""

    def __init__(self, url: str, transfers: Iterable[Transfer], tls: Any, facts: Mapping[str, Any]) -> None:
        from pilot.lib.tracesink import TraceSink
        from pilot.staging.trace import Tracer, trace_version

        self._transfers = {transfer.lfn: transfer for transfer in transfers}
        self._tracer = Tracer(version=trace_version(__version__), host=socket.gethostname(), **facts)
        self._untold = 0
        self._sink = TraceSink(url, tls)

    def attempt(self, attempt: Attempt) -> None:
        """Handed to the thread."""
        from pilot.staging.trace import trace_of

        trace = trace_of(self._tracer, attempt, self._transfers[attempt.lfn])
        if trace is None:
            self._untold += 1
        else:
            self._sink.put(trace)

    def settled(self, outcomes: Sequence[Outcome], deeds: Sequence[Deed], whole: Mapping[str, Any]) -> None:
        """All has been told."""

    def close(self) -> str:
        """Wait for what is under way, for some seconds at most."""
        self._sink.close()
        if self._sink.lost:
            return f"{self._sink.lost} traces were not taken by {shown(self._sink.url)}: {shown(self._sink.error)}"
        if self._untold:
            return f"{self._untold} attempts have no trace: neither an rse nor --local-site tells where they were"
        return ""


def transfer_events(path: str) -> JobEvents | None:
    """The event stream of a pilot; None without a path. Raises `OSError`."""
    return JobEvents(path) if path else None


def make_records(options: Mapping[str, Any], transfers: Sequence[Transfer], environ: Mapping[str, str]) -> list[Record]:
    """The records that are asked for: `db`, `events`, `traces` with `local_site`. Raises `PilotError`, `OSError`."""
    made: list[Record] = []
    if options["db"]:
        made.append(DatabaseRecord(options["db"]))
    if options["events"]:
        made.append(EventRecord(options["events"], len(transfers)))
    if options["traces"]:
        made.append(_traces(options, transfers, environ))
    return made


def _traces(options: Mapping[str, Any], transfers: Sequence[Transfer], environ: Mapping[str, str]) -> Record:
    from pilot.cli.staging import proxy_owner, tool_settings
    from pilot.lib.httppool import Tls

    tools = tool_settings(environ)
    facts: dict[str, Any] = {"local_site": options["local_site"], "queue": environ.get("PANDA_RESOURCE", "")}
    facts["user_dn"] = proxy_owner(tools.proxy_file)
    for field, name in (("job_id", "PandaID"), ("task_id", "PanDA_TaskID")):
        facts[field] = int(environ[name]) if environ.get(name, "").isdigit() else 0
    return TraceRecord(options["traces"], transfers, Tls(tools.ca_path, tools.proxy_file), facts)


def tell_attempt(attempt: Attempt) -> None:
    """One try on standard error, for people."""
    import click

    what = attempt.failure.message if attempt.failure else f"{attempt.size} bytes"
    words = f"{attempt.copytool}: {attempt.source} -> {attempt.target}: {what} in {attempt.seconds:.3f} s"
    click.echo(shown(words), err=True)


def record_sums(outcomes: Sequence[Outcome], wanted: frozenset[str], environ: Mapping[str, str]) -> None:
    """Append the checksums that were asked for to the file of $KICKSTART_INTEGRITY_DATA, as its YAML wants them."""
    path = environ.get("KICKSTART_INTEGRITY_DATA")
    if path and wanted:
        from pilot.staging.integrity import integrity_yaml

        text = "".join(integrity_yaml(outcome) for outcome in outcomes if outcome.lfn in wanted and not outcome.failure)
        if text:
            with open(path, "a", encoding="utf-8") as stream:
                stream.write(text)


def _boot_id() -> str:
    try:
        with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as stream:
            return stream.read().strip()
    except OSError:
        return ""
