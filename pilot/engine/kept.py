"""What an earlier pilot has moved for a job: where the PilotDB and the file itself agree, it is not moved again."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Sequence

from pilot.core.errors import PilotError
from pilot.core.lifecycle import Phase
from pilot.core.transfer import Attempt, Direction, Endpoint, Outcome, Transfer
from pilot.engine.means import Means, Run
from pilot.lib.checksum import checksum_of
from pilot.lib.files import discard, local_path, part_path
from pilot.plugins.copytools.base import ToolError
from pilot.staging.plan import local_name


def input_names(run: Run) -> frozenset[str]:
    """The names in the job's directory that stage-in looks at before it brings a file again."""
    names = (local_name(item) for item in run.definition.inputs if not item.archive)
    return frozenset(name for name in names if "/" not in name)


def inputs_here(means: Means, run: Run, transfers: Iterable[Transfer]) -> dict[str, Outcome]:
    """Those inputs that lie in the job's directory whole and as they were sent, by LFN.

    A payload may have changed what it found: then the checksum tells, or, for want of one, the time of the change.
    Attempts are told again only of a job whose stage-in had not ended.
    """
    here: dict[str, Outcome] = {}
    for transfer in transfers if run.moved is not None else ():
        attempt = _attempt(run, transfer, Direction.IN)
        path = local_path(transfer.targets[0].url) or ""
        found = _plain(path)
        if found is None or not _as_sent(run, transfer, attempt, found):
            continue
        sums = _sums_of(means, run, path, transfer)
        if sums is None or any(sums[known.kind] != known.value for known in transfer.checksums):
            continue
        told = attempt if run.job.phase is Phase.STAGING_IN else None
        source = attempt.source if attempt else transfer.sources[0].url
        here[transfer.lfn] = _outcome(transfer, source, transfer.targets[0].url, found.st_size, sums, told)
        run.log.info(f"{transfer.lfn} is here already")
    return here


def outputs_there(means: Means, run: Run, transfers: Sequence[Transfer]) -> dict[str, Outcome]:
    """Those outputs that are where they belong, or at the second choice, and are the files that lie here; by LFN."""
    there: dict[str, Outcome] = {}
    for transfer in transfers if run.moved is not None else ():
        attempt = _attempt(run, transfer, Direction.OUT)
        path = local_path(transfer.sources[0].url) or ""
        found = _plain(path)
        if found is None or attempt is None or len(transfer.targets) != 1 or not _is_sent(run, attempt, found):
            continue
        sums = _sums_of(means, run, path, transfer)
        if sums is not None and _is_stored(means, run, transfer, attempt, sums):
            there[transfer.lfn] = _outcome(transfer, attempt.source, attempt.target, attempt.size, sums, attempt)
            run.log.info(f"{transfer.lfn} is at {attempt.target} already")
    return there


def drop_halves(means: Means, run: Run, transfers: Iterable[Transfer]) -> None:
    """Remove what an earlier pilot may have left of files of this machine that are not sent any more."""
    for transfer in transfers if run.moved is not None else ():
        for target in transfer.targets:
            if (final := local_path(target.url)) is not None:
                try:
                    discard(part_path(final, means.transferer.token))
                except OSError:
                    continue  # its directory is gone or read-only: nothing of ours is there, or nobody can remove it


def _attempt(run: Run, transfer: Transfer, direction: Direction) -> Attempt | None:
    return run.moved.get((str(direction), transfer.lfn)) if run.moved else None


def _plain(path: str) -> os.stat_result | None:
    """What there is of a plain file with one name; None of anything else: links are made again in no time."""
    try:
        found = os.lstat(path)
    except OSError:
        return None
    return found if stat.S_ISREG(found.st_mode) and found.st_nlink == 1 else None


def _as_sent(run: Run, transfer: Transfer, attempt: Attempt | None, found: os.stat_result) -> bool:
    """Whether an input may be what was sent, for all that can be told without reading it."""
    noted = attempt if attempt is not None and attempt.target == transfer.targets[0].url else None
    size = transfer.size if transfer.size is not None else noted.size if noted else None
    if size is not None and found.st_size != size:
        return False
    if transfer.checksums:
        return True
    if noted:
        return not run.facts.runs or found.st_mtime < (run.facts.started or 0.0)
    source = local_path(transfer.sources[0].url) if transfer.sources else None
    return source is not None and not os.path.lexists(source)  # it was moved here: there is no other


def _is_sent(run: Run, attempt: Attempt, found: os.stat_result) -> bool:
    """Whether the output that lies here is the one that was sent, after the payload's end."""
    since, until = run.facts.ended or 0.0, attempt.started + attempt.seconds
    return attempt.started >= since and found.st_size == attempt.size and found.st_mtime <= until


def _sums_of(means: Means, run: Run, path: str, transfer: Transfer) -> dict[str, str] | None:
    """All checksums that are kept of a file; None if it cannot be read or the job is told to stop."""
    kinds = dict.fromkeys((*means.transferer.settings.checksums, *(known.kind for known in transfer.checksums)))

    def go_on(_: int) -> None:
        if run.cancel.is_set():
            raise InterruptedError

    try:
        go_on(0)
        return checksum_of(path, kinds, go_on).values()
    except OSError:
        return None


def _is_stored(means: Means, run: Run, transfer: Transfer, attempt: Attempt, sums: dict[str, str]) -> bool:
    """Whether the storage says that it has the file."""
    toolbox = means.transferer.toolbox
    planned = transfer.targets[0]
    target = Endpoint(attempt.target, rse=attempt.rse, site=planned.site if attempt.target == planned.url else "")
    try:
        name, sites = toolbox.chosen(transfer.sources[0], target, transfer.copytool)
        known = toolbox.tool(name, sites).stat(attempt.target, run.cancel)
    except (ToolError, PilotError):
        return False
    return known.size == attempt.size and all(sums.get(kind, value) == value for kind, value in known.checksums.items())


def _outcome(
    transfer: Transfer, source: str, target: str, size: int, sums: dict[str, str], attempt: Attempt | None
) -> Outcome:
    return Outcome(
        lfn=transfer.lfn,
        direction=transfer.direction,
        source=source,
        target=target,
        rse=(attempt.rse if attempt else "") or transfer.targets[0].rse,
        size=size,
        checksums=sums,
        seconds=attempt.seconds if attempt else 0.0,
        attempts=(attempt,) if attempt else (),
    )
