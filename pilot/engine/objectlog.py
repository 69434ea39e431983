"""The log archive, once more, on an object store: for jobs that ask for it (`putLogToOS`, protocol.md 2.2)."""

from __future__ import annotations

from pilot.core.errors import PilotError
from pilot.core.job import OutputFile
from pilot.core.storage import StagingSite, Storage
from pilot.core.transfer import Attempt, Direction, Endpoint, Transfer
from pilot.engine.means import Means, Run
from pilot.engine.noting import noting
from pilot.lib.files import file_url, safe_join
from pilot.staging.paths import url_under
from pilot.staging.through import endpoints

#: Storage types that take logs, the better first.
_KINDS = ("OS_LOGS", "OS_ES")
_ACTIVITIES = ("os_logs", "pl", "write_lan", "write_wan", "es_events")


def send_log(means: Means, run: Run, log: OutputFile) -> tuple[tuple[Attempt, ...], dict[str, str]]:
    """Send the log to the queue's object store; the tries, and what jobMetrics tell of where it is.

    The log is on its ordinary storage already: what goes wrong here is noted in the job's log and fails no job.
    """
    try:
        site = means.site_for(run.definition)
    except PilotError as error:
        run.log.error(f"the log is not on an object store: {error}")
        return (), {}
    found = log_store(site, log.scope, log.lfn)
    if found is None:
        run.log.error("the log is not on an object store: the queue names none that takes logs")
        return (), {}
    storage, place = found
    transfer = Transfer(
        lfn=log.lfn,
        sources=(Endpoint(file_url(safe_join(str(run.directory), log.lfn))),),
        targets=(place,),
        direction=Direction.OUT,
        scope=log.scope,
        guid=log.guid,
        dataset=log.dataset,
        activity="os_logs",
        copytool=" ".join(site.tools_for("os_logs", "es_events", "pl", "pw")),
    )
    (outcome,) = means.transferer.carry_out([transfer], cancel=run.cancel, on_attempt=noting(means, run))
    if outcome.failure is not None:
        run.log.error(f"the log is not on an object store: {outcome.failure.message}")
        return outcome.attempts, {}
    run.log.info(f"the log is at {outcome.target} as well")
    return outcome.attempts, {"logBucketID": storage.bucket} if storage.bucket else {}


def log_store(site: StagingSite, scope: str, lfn: str) -> tuple[Storage, Endpoint] | None:
    """The object store for logs and the place of this one there; None if the queue has none.

    A store whose paths do not follow from names has all logs side by side, below its own prefix.
    """
    for kind in _KINDS:
        for storage in site.storages:
            if storage.kind != kind or storage.state != "ACTIVE":
                continue
            found = endpoints(storage, scope, lfn, *_ACTIVITIES)
            if not found:
                found = tuple(Endpoint(url_under(a.prefix, lfn), storage.rse) for a in storage.ways(*_ACTIVITIES))
            if found:
                return storage, found[0]
    return None
