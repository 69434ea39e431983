"""What staging threads do for a job before its payload: find its inputs, bring them, or leave them where they are."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence

import msgspec

from pilot.core.errors import (
    Failure,
    MissingInputFile,
    NoSuchFile,
    RemoteFileCouldNotBeOpened,
    TransformDownloadFailure,
)
from pilot.core.transfer import Attempt, Direction, Endpoint, Outcome, Transfer
from pilot.engine import records
from pilot.engine.forecast import fetched_first, is_contained, note_inputs
from pilot.engine.kept import inputs_here
from pilot.engine.means import Means, Run
from pilot.engine.noting import noted, noting
from pilot.engine.stagework import disk_errors, worse
from pilot.engine.unpack import unpack_inputs
from pilot.engine.utilities import before_stage_in
from pilot.lib.files import file_url, local_path, safe_join, write_atomically
from pilot.lib.urls import shown
from pilot.plugins.copytools.base import Fault, ToolError
from pilot.runtime.payload_command import downloaded_name
from pilot.staging.inplace import may_be_bound, plan_in_place
from pilot.staging.measured import speeds_of
from pilot.staging.plan import plan_stage_in, read_activities
from pilot.staging.replicas import Resolved
from pilot.staging.report import told_failure
from pilot.staging.room import check_room

#: The catch-all's word with which a queue does without the test of what is read in place.
_UNTESTED = "remoteio_test"
#: A file may be there although we cannot ask.
_NOT_ASKED = frozenset({Fault.UNSUPPORTED, Fault.NO_TOOL})
_MISSING = frozenset({MissingInputFile.code, NoSuchFile.code})


class StagedIn(msgspec.Struct, frozen=True):
    """What came of stage-in."""

    outcomes: tuple[Outcome, ...]
    failure: Failure | None


def stage_in(means: Means, run: Run) -> StagedIn:
    """Bring the inputs into the job's directory, but those that are read in place, and write the catalogue.

    Sets `run.sources` and `run.turls`. Raises `PilotError` for a plan that fails.
    """
    before_stage_in(means, run)
    definition = fetched_first(run.definition)
    site = means.site_for(run.definition)
    found = means.catalogue.find(definition, site, run.cancel) if means.catalogue else {}
    _tell_silence(run, found)
    speeds = means.speeds.known()
    note_inputs(means, run, site, found, speeds)
    transfers = plan_stage_in(definition, str(run.directory), site, found, speeds)
    sources = {transfer.lfn: transfer.sources for transfer in transfers}
    planned = plan_in_place(definition, site, sources, found, speeds, read_activities(definition, site))
    left, tried = _left_in_place(means, run, transfers, planned)
    copied = [transfer for transfer in transfers if transfer.lfn not in left]
    here = inputs_here(means, run, copied)
    copied = [transfer for transfer in copied if transfer.lfn not in here]
    check_room(copied, site, str(run.directory))
    moved = means.transferer.carry_out(copied, cancel=run.cancel, on_attempt=noting(means, run)) if copied else []
    means.speeds.note(speeds_of(moved))
    brought = {o.lfn: msgspec.structs.replace(o, attempts=(*tried.get(o.lfn, ()), *o.attempts)) for o in moved}
    by_lfn = left | here | brought
    outcomes = tuple(with_silence(by_lfn[t.lfn], found.get(f"{t.scope}:{t.lfn}")) for t in transfers)
    if means.traces is not None:
        means.traces.tell(definition, outcomes)
    if any(item.archive for item in definition.inputs):
        outcomes = tuple(unpack_inputs(definition, run.directory, outcomes))
    failure = worse(None, *(outcome.failure for outcome in outcomes)) or _fetch_transform(means, run)
    run.turls = {outcome.lfn: outcome.target for outcome in left.values()}
    run.sources = {p: o.source for o in outcomes if not (o.failure or o.in_place) and (p := local_path(o.target))}
    if failure is None:
        _write_catalogue(run, outcomes)
    _tell(run, outcomes)
    return StagedIn(noted(outcomes), told_failure(failure))


def _tell_silence(run: Run, found: Mapping[str, Resolved]) -> None:
    """Say of which inputs Rucio told nothing, so that they are looked for where rules put them."""
    silent = [(did, told.silence) for did, told in found.items() if told.silence is not None]
    for kind in dict.fromkeys(type(why) for _, why in silent):
        names = [did for did, why in silent if type(why) is kind]
        more = f" and {len(names) - 3} others" if len(names) > 3 else ""
        why = next(str(why) for _, why in silent if type(why) is kind)
        run.log.error(shown(f"{why}: looked for by the rule of paths: {', '.join(names[:3])}{more}"))


def with_silence(outcome: Outcome, told: Resolved | None) -> Outcome:
    """An input that is not there by the rule either is missing because its catalogue told nothing."""
    if outcome.failure is None or told is None or told.silence is None:
        return outcome
    missing = outcome.failure.code in _MISSING
    silence = told.silence.failure()
    first, then = (silence, outcome.failure) if missing else (outcome.failure, silence)
    return msgspec.structs.replace(outcome, failure=first.with_cause(then))


def _left_in_place(
    means: Means, run: Run, transfers: Sequence[Transfer], planned: Mapping[str, Sequence[Endpoint]]
) -> tuple[dict[str, Outcome], dict[str, list[Attempt]]]:
    """The inputs that can be read where they are, by LFN, and what was tried of those that cannot."""
    left: dict[str, Outcome] = {}
    tried: dict[str, list[Attempt]] = {}
    inside = bool(planned) and is_contained(means, run)
    test = means.queue_for(run.definition).flags.get(_UNTESTED, "true").lower() != "false"
    for transfer in transfers:
        places = planned.get(transfer.lfn, ())
        for place in (place for place in places if not inside or may_be_bound(place.url)):
            attempt = _look(means, run, transfer, place, test)
            tried.setdefault(transfer.lfn, []).append(attempt)
            noting(means, run)(attempt)
            if attempt.failure is None:
                left[transfer.lfn] = Outcome(
                    lfn=transfer.lfn,
                    direction=Direction.IN,
                    source=place.url,
                    target=place.url,
                    rse=place.rse,
                    size=transfer.size or attempt.size,
                    seconds=attempt.seconds,
                    attempts=tuple(tried.pop(transfer.lfn)),
                    in_place=True,
                )
                break
    return left, tried


def _look(means: Means, run: Run, transfer: Transfer, place: Endpoint, test: bool) -> Attempt:
    """Whether a file can be reached where the payload is to read it; a storage that cannot be asked is believed."""
    toolbox, begun, at = means.transferer.toolbox, time.perf_counter(), time.time()
    name = toolbox.name_for(place.url, "/")
    failure, size = None, transfer.size or 0
    try:
        if test:
            size = toolbox.tool(name).stat(place.url, run.cancel).size or size
    except ToolError as error:
        if error.fault not in _NOT_ASKED:
            failure = RemoteFileCouldNotBeOpened(f"{place.url}: {error.fault}").failure()
    return Attempt(
        lfn=transfer.lfn,
        direction=Direction.IN,
        copytool=name,
        source=place.url,
        target=place.url,
        started=at,
        seconds=time.perf_counter() - begun,
        size=size,
        rse=place.rse,
        failure=failure,
        in_place=True,
    )


def _fetch_transform(means: Means, run: Run) -> Failure | None:
    """Download a transformation that is given as a URL (protocol.md section 10), from allowed places only."""
    url = run.definition.transformation
    name = downloaded_name(url)
    if not name:
        return None
    allowed = [base.strip() for base in means.settings.base_urls.split(",") if base.strip()]
    if allowed and not any(url == base or url.startswith(base.rstrip("/") + "/") for base in allowed):
        return TransformDownloadFailure(
            f"{url} is not below any of the allowed base URLs: {', '.join(allowed)}"
        ).failure()
    target = Endpoint(file_url(safe_join(str(run.directory), name)))
    outcome = means.transferer.carry_out(
        [Transfer(name, (Endpoint(url),), (target,), Direction.IN)], cancel=run.cancel, on_attempt=noting(means, run)
    )[0]
    if outcome.failure is None:
        run.log.info(f"downloaded the transformation {url}: {outcome.size} bytes")
        return None
    return TransformDownloadFailure(url).failure().with_cause(outcome.failure)


def _write_catalogue(run: Run, outcomes: Sequence[Outcome]) -> None:
    """POOL's catalogue: local paths of what was brought, URLs of what is read in place."""
    guids = {file.lfn: file.guid for file in run.definition.inputs}
    rows = [(guids.get(o.lfn) or records.new_guid(), o.lfn, local_path(o.target) or o.target) for o in outcomes]
    with disk_errors(run.directory):
        write_atomically(run.directory / "PoolFileCatalog.xml", records.pool_file_catalog(rows))


def _tell(run: Run, outcomes: Sequence[Outcome]) -> None:
    for outcome in outcomes:
        if outcome.failure is not None:
            run.log.error(shown(f"not staged in {outcome.lfn}: {outcome.failure.message}"))
        elif outcome.in_place:
            run.log.info(shown(f"{outcome.lfn} is read in place: {outcome.target}"))
        else:
            run.log.info(f"staged in {outcome.lfn}: {outcome.size} bytes in {outcome.seconds:.3f} s")
