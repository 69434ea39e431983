"""What staging threads do for a job after its payload: send its outputs and its log. No job state is touched here."""

from __future__ import annotations

import contextlib
import errno
import glob
import os
import re
from collections.abc import Iterator
from pathlib import Path

import msgspec

from pilot.core.errors import (
    EmptyOutputFile,
    Failure,
    FileHandlingFailure,
    LogFileCreationFailure,
    MissingOutputFile,
    NoLocalSpace,
    PilotError,
    first_of,
)
from pilot.core.facts import Facts
from pilot.core.job import JobDefinition, OutputFile
from pilot.core.transfer import Outcome
from pilot.core.update import StoredFile
from pilot.engine import records
from pilot.engine.archive import MAX_FILE_BYTES, make_log_archive
from pilot.engine.concealed import PAYLOADS_OWN
from pilot.engine.forecast import note_outputs
from pilot.engine.jobdir import clean_up
from pilot.engine.kept import drop_halves, outputs_there
from pilot.engine.means import Means, Run
from pilot.engine.noting import noted, noting
from pilot.engine.objectlog import send_log
from pilot.engine.zipping import zip_outputs
from pilot.lib.activelog import tail
from pilot.lib.files import write_atomically
from pilot.lib.urls import shown
from pilot.staging.plan import local_name, plan_stage_out
from pilot.staging.report import told_failure
from pilot.staging.sendout import send_out

#: Files up to this size are archived even where there is no room for the others.
_SMALL_BYTES = 128 * 1024


class StagedOut(msgspec.Struct, frozen=True):
    """What came of stage-out: the files that are stored, the log archive among them."""

    outcomes: tuple[Outcome, ...]
    stored: tuple[StoredFile, ...]
    failure: Failure | None
    workdir_bytes: int
    log_excerpt: str
    metrics: dict[str, str] = {}


def with_staged_out(facts: Facts, out: StagedOut) -> Facts:
    """What is known of a job once its outputs and its log were sent."""
    return msgspec.structs.replace(
        facts,
        stored=out.stored,
        workdir_bytes=out.workdir_bytes,
        log_excerpt=out.log_excerpt,
        metrics={**facts.metrics, **out.metrics},
    )


def stage_out(means: Means, run: Run, log_only: bool) -> StagedOut:
    """Send the outputs (unless `log_only`), then the log archive; write the reports beside them.

    What exists is sent even when something is missing. The log is tried whatever happened before.
    """
    size = directory_bytes(run.directory)
    unzipped = None if log_only else zip_outputs(run.definition, run.directory, run.log.info)
    found, failure = ([], None) if log_only else find_outputs(run.definition, run.directory)
    if log_only:
        _drop_halves(means, run)
    outcomes, trouble = _send(means, run, found)
    failure = worse(unzipped, failure, trouble)
    stored = _stored(run.directory, found, outcomes)
    for file in stored:
        run.log.info(f"staged out {file.lfn}: {file.size} bytes to {file.surl}")
    if failure is not None:
        run.log.error(shown(f"stage-out: {failure.message}"))
    trouble = _write_reports(run, stored)
    image = _image_of(run)
    metrics: dict[str, str] = {}
    if run.definition.log is not None:
        sent, lost = _send_log(means, run, run.definition.log, [file.lfn for file in found], log_only)
        outcomes += sent
        stored += _stored(run.directory, [run.definition.log], sent)
        trouble = worse(trouble, lost, _write_reports(run, stored))
        if run.definition.log_to_objectstore and sent and (run.directory / run.definition.log.lfn).is_file():
            tries, metrics = send_log(means, run, run.definition.log)
            outcomes[-1] = msgspec.structs.replace(outcomes[-1], attempts=(*outcomes[-1].attempts, *tries))
    if means.traces is not None:
        means.traces.tell(run.definition, outcomes)
    words = tail(run.directory / "pilot.log", 1024)
    return StagedOut(noted(outcomes), stored, told_failure(worse(failure, trouble)), size, words, {**metrics, **image})


def _image_of(run: Run) -> dict[str, str]:
    """What the payload's image was, for jobMetrics: its name may mean another one tomorrow."""
    digest = run.box.digest() if run.box is not None and run.facts.exit is not None else ""
    if run.box is None or not digest:
        return {}
    run.log.info(f"the image {run.box.request.image} is {digest}")
    return {"imageDigest": digest}


def find_outputs(definition: JobDefinition, directory: Path) -> tuple[list[OutputFile], Failure | None]:
    """The declared outputs that the payload wrote, under their real names, and what is wrong with the others."""
    found: list[OutputFile] = []
    missing: list[str] = []
    empty: list[str] = []
    for output in definition.outputs:
        paths = _matching(output, directory, definition.hpo)
        if definition.event_service and not definition.event_merge:
            output = msgspec.structs.replace(output, optional=True)  # its outputs are those of its event ranges
        if not paths and not output.optional:
            missing.append(output.lfn)
        for path in paths:
            if path.stat().st_size == 0 and not output.optional:
                empty.append(path.name)
            else:
                found.append(msgspec.structs.replace(output, lfn=path.name))
    failure = MissingOutputFile(", ".join(missing)).failure() if missing else None
    if empty:
        failure = worse(failure, EmptyOutputFile(", ".join(empty)).failure())
    return found, failure


def directory_bytes(directory: Path) -> int:
    """The size of all files below a directory, links not followed."""
    total = 0
    for root, _, files in os.walk(directory):
        for name in files:
            with contextlib.suppress(OSError):
                total += os.lstat(os.path.join(root, name)).st_size
    return total


def _matching(output: OutputFile, directory: Path, looped: bool) -> list[Path]:
    if not output.pattern:
        turns = directory.glob(f"{glob.escape(output.lfn)}_*") if looped else ()  # one a turn of the loop
        return [path for path in (directory / output.lfn, *sorted(turns)) if path.is_file()]
    expression = re.compile(output.pattern)
    return sorted(p for p in directory.iterdir() if expression.fullmatch(p.name) and p.is_file())


def _send(means: Means, run: Run, files: list[OutputFile]) -> tuple[list[Outcome], Failure | None]:
    if not files:
        return [], None
    site = means.site_for(run.definition)
    note_outputs(means, run, files, site)
    try:
        sends = means.transferer.toolbox.sends
        transfers = plan_stage_out(run.definition, files, str(run.directory), site, movable=sends)
    except PilotError as error:
        return [], error.failure()
    free, clash = means.claims.claim(run.definition.job_id, transfers)
    there = outputs_there(means, run, free)
    left = [transfer for transfer in free if transfer.lfn not in there]
    sent = send_out(means.transferer, left, run.definition, site, cancel=run.cancel, on_attempt=noting(means, run))
    drop_halves(means, run, left)
    by_lfn = there | dict(zip((transfer.lfn for transfer in left), sent, strict=True))
    outcomes = [by_lfn[transfer.lfn] for transfer in free]
    return outcomes, worse(clash, *(outcome.failure for outcome in outcomes))


def _drop_halves(means: Means, run: Run) -> None:
    """Outputs that an earlier pilot began to send and that nobody wants any more leave nothing half behind."""
    with contextlib.suppress(PilotError):
        found, _ = find_outputs(run.definition, run.directory) if run.moved is not None else ([], None)
        planned = plan_stage_out(run.definition, found, str(run.directory), means.site_for(run.definition))
        drop_halves(means, run, planned)


def _send_log(
    means: Means, run: Run, log: OutputFile, outputs: list[str], log_only: bool
) -> tuple[list[Outcome], Failure | None]:
    without = [*(local_name(file) for file in run.definition.inputs), *outputs, PAYLOADS_OWN]
    folder = f"tarball_PandaJob_{run.definition.job_id}_{means.settings.queue}"

    def make(largest: int) -> None:
        make_log_archive(run.directory, run.directory / log.lfn, without=without, folder=folder, largest=largest)

    try:
        try:
            make(MAX_FILE_BYTES)
        except NoLocalSpace:
            if log_only:  # what a failed payload filled the disk with is worth less than its log
                clean_up(run.directory, "records")
            make(_SMALL_BYTES)
    except (NoLocalSpace, LogFileCreationFailure) as error:
        return [], error.failure()
    return _send(means, run, [log])


def _stored(directory: Path, files: list[OutputFile], outcomes: list[Outcome]) -> tuple[StoredFile, ...]:
    guids = records.guids_of(records.read_json_object(directory / "jobReport.json") or {})
    arrived = {outcome.lfn: outcome for outcome in outcomes if outcome.failure is None}
    return tuple(
        StoredFile(
            lfn=file.lfn,
            guid=guids.get(file.lfn) or file.guid or records.new_guid(),
            size=arrived[file.lfn].size,
            checksums=arrived[file.lfn].checksums,
            surl=arrived[file.lfn].target,
            rse=arrived[file.lfn].rse or file.rse,
        )
        for file in files
        if file.lfn in arrived
    )


def _write_reports(run: Run, stored: tuple[StoredFile, ...]) -> Failure | None:
    datasets = {output.lfn: output.dataset for output in run.definition.all_outputs}
    try:
        with disk_errors(run.directory):
            text = records.output_files_xml(stored, datasets)
            write_atomically(run.directory / "OutputFiles.xml", text)
    except PilotError as error:
        return error.failure()
    return None


def worse(known: Failure | None, *found: Failure | None) -> Failure | None:
    """The one of these failures that is reported; the others are among its causes."""
    for new in found:
        known = known if new is None else first_of(known, new)
    return known


@contextlib.contextmanager
def disk_errors(directory: Path) -> Iterator[None]:
    """Raise what the system says of a file below `directory` as `NoLocalSpace` or `FileHandlingFailure`."""
    try:
        yield
    except OSError as error:
        kind = NoLocalSpace if error.errno == errno.ENOSPC else FileHandlingFailure
        raise kind(f"{directory}: {error.strerror}") from error
