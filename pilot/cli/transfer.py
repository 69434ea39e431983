"""`pilot transfer`: the staging engine on its own."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import click

from pilot.cli.progress import progress
from pilot.cli.routing import route_of, routed
from pilot.cli.staging import check_copytools, make_transferer, tool_settings
from pilot.cli.telling import Teller, open_report
from pilot.core.staging import StagingSettings

if TYPE_CHECKING:
    from pilot.cli.recording import Record
    from pilot.core.transfer import Attempt, Outcome
    from pilot.lib.cancel import Cancel
    from pilot.staging.request import Request
    from pilot.staging.sitemap import Route
    from pilot.staging.tidy import Deed

_KINDS = ("adler32", "md5", "sha256", "crc32c", "sha1", "sha512", "crc32")


@click.command(name="transfer")
@click.argument("file", required=False, type=click.Path(allow_dash=True))
@click.option("-f", "--file", "named", type=click.Path(allow_dash=True), help="the same as FILE")
@click.option("-m", "--max-attempts", type=click.IntRange(1), default=2, help="tries of each source [2]")
@click.option(
    "-n",
    "--threads",
    type=click.IntRange(0),
    envvar="PEGASUS_TRANSFER_THREADS",
    default=0,
    help="files at once at most [as many as pay]",
)
@click.option("-s", "--symlink", is_flag=True, help="link files that stay on their site instead of copying them")
@click.option(
    "--continue-on-error/--stop-on-error", "go_on", default=True, help="whether one failure ends the rest [go on]"
)
@click.option("--early-stop", type=click.IntRange(0), default=0, help="end when after N files most have failed [never]")
@click.option("--checksum", "kinds", multiple=True, type=click.Choice(_KINDS), help="to compute [adler32]; repeatable")
@click.option("--no-verify", is_flag=True, help="accept files of another size or checksum")
@click.option("--no-overwrite", is_flag=True, help="refuse targets that exist")
@click.option("--fsync", is_flag=True, help="have files on disk before they get their name")
@click.option("--deadline", type=click.FloatRange(0), default=0.0, help="seconds after which nothing is tried again")
@click.option("--stall", type=click.FloatRange(0, min_open=True), default=120.0, help="seconds without a byte [120]")
@click.option("--host-limit", type=click.IntRange(1), default=8, help="transfers at once with one host [8]")
@click.option("--copytool", default="", help="only these tools, in order, separated by blanks")
@routed
@click.option("--explain", is_flag=True, help="print the plan and move nothing")
@click.option("--dry-run", is_flag=True, help="the same as --explain")
@click.option("--report", type=click.Path(allow_dash=True), help="write a JSON line for each file there")
@click.option("--json", "as_json", is_flag=True, help="print one JSON document")
@click.option("--db", default="", help="the PilotDB that gets a row for each attempt and each file [none]")
@click.option("--events", default="", help="append a JSON line for each attempt there, as it ends [none]")
@click.option("--traces", default="", help="the URL that takes a Rucio trace for each attempt [none]")
@click.option("--local-site", envvar="RUCIO_LOCAL_SITE_ID", default="", help="the name of this site in traces")
@click.option("-d", "--debug", is_flag=True, help="tell every attempt")
def command(file: str | None, named: str | None, **options: Any) -> int:
    """Move the files of a list.

    FILE (or standard input) is a list in the JSON of Pegasus transfers, its old text form, or with the keys `type`
    (transfer), `sources`, `targets`, `size` and `checksum`. Exit code 0: all is done, 1: nothing, 2: some, or a list
    that cannot be read.
    """
    request = _read(named or file, options["symlink"], options["copytool"], route_of(options))
    if options["explain"] or options["dry_run"]:
        return _explain(request, options["as_json"])
    from pilot.lib.cancel import Cancel

    cancel = Cancel()
    with _stopped_by_signals(cancel) as number:
        code = _Course(request, options, cancel).run()
    return 128 + number[0] if number else code


def _read(path: str | None, symlink: bool, copytool: str, route: Route) -> Request:
    import msgspec

    from pilot.staging.entries import BadRequest
    from pilot.staging.request import read_request

    stdin = path is None or path == "-"
    if stdin and sys.stdin is None:
        raise click.UsageError("standard input is closed: no list to read")
    try:
        text = sys.stdin.buffer.read() if stdin else _content(path or "")
        request = read_request(text, os.environ, os.getcwd(), symlink, route)
    except OSError as error:
        raise click.UsageError(f"{path}: {error.strerror}") from error
    except BadRequest as error:
        raise click.UsageError(f"{'standard input' if stdin else path}: {error}") from error
    if copytool:
        check_copytools(copytool)
        forced = tuple(msgspec.structs.replace(transfer, copytool=copytool) for transfer in request.transfers)
        request = msgspec.structs.replace(request, transfers=forced)
    return request


def _content(path: str) -> bytes:
    with open(path, "rb") as stream:
        return stream.read()


def _settings(options: dict[str, Any]) -> StagingSettings:
    return StagingSettings(
        max_attempts=options["max_attempts"],
        threads=options["threads"],
        host_limit=options["host_limit"],
        checksums=options["kinds"] or ("adler32",),
        verify=not options["no_verify"],
        overwrite=not options["no_overwrite"],
        fsync=options["fsync"],
        continue_on_error=options["go_on"],
        early_stop_after=options["early_stop"],
        stall_s=options["stall"],
        deadline_s=options["deadline"],
    )


class _Course:
    """One run of the command."""

    def __init__(self, request: Request, options: dict[str, Any], cancel: Cancel) -> None:
        self.request = request
        self.options = options
        self.cancel = cancel
        rate = _spoiling(os.environ)
        words = {"chaos": {"append": str(rate), "seed": str(time.time_ns())}} if rate else {}
        self.engine = make_transferer(_settings(options), tool_settings(os.environ, words))
        self.spoil = bool(rate)
        self.records = _records(options, request)
        self.teller = Teller()
        self.report = open_report(options["report"])

    def run(self) -> int:
        from pilot.staging import report, tidy

        begin = time.perf_counter()
        deeds: list[Deed] = []
        if self.request.removals:
            self._refuse()
        try:
            deeds += tidy.make_directories(self.request.directories, self.engine.toolbox, self.cancel)
            outcomes = self._transfers()
            deeds += tidy.remove(self.request.removals, self.engine.toolbox, self.cancel)
        finally:
            self.engine.close()
        whole = report.summary(outcomes, deeds, time.perf_counter() - begin)
        self._close_records(outcomes, deeds, whole)
        told = outcomes if self.options["report"] or self.options["as_json"] else [o for o in outcomes if o.failure]
        self._tell([*map(report.file_line, told), *map(report.deed_line, deeds)], whole)
        if self.request.summed:
            from pilot.cli.recording import record_sums

            record_sums(outcomes, self.request.summed, os.environ)
        return int(whole["exit_code"]) or (report.SOME if self.teller.missed else report.ALL)

    def _refuse(self) -> None:
        from pilot.staging import refusal

        kept = refusal.kept_places(os.environ, os.getcwd())
        try:
            for target in self.request.removals:
                refusal.refuse(target.url, kept)
        except refusal.Refused as error:
            raise click.UsageError(str(error)) from error

    def _transfers(self) -> list[Outcome]:
        import msgspec

        transfers = self.request.transfers
        if self.spoil:
            transfers = tuple(
                t if t.copytool or "://" in t.targets[0].url else msgspec.structs.replace(t, copytool="chaos")
                for t in transfers
            )
        speeds = None
        if any("://" in source.url for transfer in transfers for source in transfer.sources):
            from pilot.cli import finding_inputs

            speeds = finding_inputs.speeds(os.environ.get("PILOT_SOURCE_SPEEDS", ""))
            transfers = finding_inputs.fastest_first(transfers, speeds)
        hearers: list[Callable[[Attempt], None]] = [record.attempt for record in self.records]
        if self.options["debug"]:
            from pilot.cli.recording import tell_attempt

            hearers.append(tell_attempt)

        def everybody(attempt: Attempt) -> None:
            for hear in hearers:
                hear(attempt)

        with progress(transfers) as (on_bytes, on_done):
            if on_done:
                hearers.append(on_done)
            on_attempt = everybody if hearers else None
            outcomes = self.engine.carry_out(transfers, cancel=self.cancel, on_attempt=on_attempt, on_bytes=on_bytes)
        if speeds is not None:
            finding_inputs.remember(outcomes, speeds)
        return outcomes

    def _close_records(self, outcomes: list[Outcome], deeds: list[Deed], whole: dict[str, Any]) -> None:
        for record in self.records:
            record.settled(outcomes, deeds, whole)
            if trouble := record.close():
                click.echo(f"pilot: {trouble}", err=True)

    def _tell(self, lines: list[dict[str, Any]], whole: dict[str, Any]) -> None:
        from pilot.staging.report import to_json

        with self.teller.to("standard error"):
            for line in lines:
                if error := line.get("error"):
                    whys = dict.fromkeys(why["message"] for why in (error, *error.get("causes", ())))
                    click.echo(f"{line['type']} {line.get('lfn') or line['target']}: {'; also: '.join(whys)}", err=True)
        path = self.options["report"]
        if self.report is not None:
            with self.teller.to(path), self.report as stream:
                stream.writelines(to_json(line) + "\n" for line in lines)
        with self.teller.to("standard output"):
            if path == "-" and sys.stdout is not None:
                sys.stdout.writelines(to_json(line) + "\n" for line in lines)
            if self.options["as_json"]:
                click.echo(to_json({"files": lines, "summary": whole}))
            elif path != "-":
                from pilot.cli.tables import seconds, size

                click.echo(
                    f"{whole['done']} of {whole['total']} done, {whole['failed']} failed, {size(whole['bytes'])} "
                    f"in {seconds(whole['seconds'])}"
                )


def _records(options: dict[str, Any], request: Request) -> list[Record]:
    """Who hears of the work beside the person. Raises `UsageError` for a file that cannot be written."""
    if not (options["db"] or options["events"] or options["traces"]):
        return []
    from pilot.cli.recording import make_records
    from pilot.core.errors import FileHandlingFailure

    try:
        return make_records(options, request.transfers, os.environ)
    except OSError as error:
        raise click.UsageError(f"--events: {error.filename}: {error.strerror}") from error
    except FileHandlingFailure as error:
        raise click.UsageError(f"--db: {error.detail}") from error


def _explain(request: Request, as_json: bool) -> int:
    """Print which tool would take each file from where to where."""
    from pilot.cli.staging import credential_source, make_toolbox
    from pilot.staging.explain import plan_lines, plan_text
    from pilot.staging.report import to_json

    tools = tool_settings(os.environ)
    lines = plan_lines(request, make_toolbox(tools), lambda url, site: credential_source(url, site, tools))
    click.echo(to_json({"plan": lines}) if as_json else plan_text(lines))
    return 1 if any("error" in line for line in lines) else 0


def _spoiling(environ: Any) -> float:
    """The share of local targets that are to be spoilt, a drill that Pegasus knows: 0 to 1; 0 for no percentage."""
    text = environ.get("PEGASUS_TRANSFER_ERROR_RATE", "")
    return int(text) / 100 if text.isdecimal() and int(text) <= 100 else 0.0


@contextmanager
def _stopped_by_signals(cancel: Cancel) -> Iterator[list[int]]:
    """Have SIGINT, SIGTERM and SIGHUP (unless under nohup) stop the work; gives the one that came."""
    came: list[int] = []

    def stop(number: int, frame: object) -> None:
        came.append(number)
        cancel.set()

    numbers = [signal.SIGINT, signal.SIGTERM]
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
        numbers.append(signal.SIGHUP)
    before = {number: signal.signal(number, stop) for number in numbers}
    try:
        yield came
    finally:
        for number, action in before.items():
            signal.signal(number, action)
