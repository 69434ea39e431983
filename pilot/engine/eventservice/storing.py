"""Where archives of range outputs go, and what comes of sending them. Runs in `event-work-N`."""

from __future__ import annotations

import msgspec

from pilot.core.errors import NoStorage, PilotError, error_of_code
from pilot.core.rangestate import ArchiveState, StoredArchive
from pilot.core.storage import StagingSite
from pilot.core.transfer import Direction, Endpoint, Transfer
from pilot.lib.cancel import Cancel
from pilot.lib.checksum import parse_checksum
from pilot.lib.files import file_url
from pilot.staging.paths import named_place
from pilot.staging.through import endpoints
from pilot.staging.transfer import Transferer

SCOPE = "transient"
CONVENTION = 1000
"""Archives lie under the scope `transient`, which the server knows as path convention 1000 (protocol.md 4.1)."""

_PLACES = (("es_events", "pw"), ("es_failover",), ("write_lan", "w", "pw"))


def targets(site: StagingSite, lfn: str) -> list[tuple[Endpoint, str]]:
    """The places for an archive in the order in which they are tried, each with the copy tools for it.

    The output directory, the storage of the activity `es_events`, that of `es_failover`, any that takes outputs. Raises
    `NoStorage` if there is none.
    """
    if site.output_dir:
        return [(Endpoint(named_place(site.output_dir, lfn)), "")]
    found: dict[str, tuple[Endpoint, str]] = {}
    for activities in _PLACES:
        tools = " ".join(site.tools_for(*activities, "es_events", "pw", "write_lan"))
        for rse in site.storages_for(*activities):
            storage = site.storage(rse)
            for place in endpoints(storage, SCOPE, lfn, "es_events", "write_lan", "write_wan") if storage else ():
                found.setdefault(place.url, (place, tools))
                break
    if not found:
        raise NoStorage(f"nothing tells where {lfn} goes (activities es_events, es_failover, write_lan)")
    return list(found.values())


def store(transferer: Transferer, site: StagingSite, archive: StoredArchive, cancel: Cancel) -> StoredArchive:
    """Send the archive to the first place that takes it. Raises the last place's error if none does, one of those that
    may pass if there is any."""
    failure: PilotError | None = None
    for place, tools in targets(site, archive.lfn):
        transfer = Transfer(
            lfn=archive.lfn,
            sources=(Endpoint(file_url(archive.path)),),
            targets=(place,),
            direction=Direction.OUT,
            scope=SCOPE,
            size=archive.size,
            checksums=parse_checksum(f"ad:{archive.adler32}"),
            activity="es_events",
            copytool=tools,
        )
        (outcome,) = transferer.carry_out([transfer], cancel=cancel)
        if outcome.failure is None:
            storage = site.storage(place.rse)
            return msgspec.structs.replace(
                archive,
                state=ArchiveState.STORED,
                rse=place.rse,
                surl=outcome.target,
                storage_id=f"{storage.bucket}/{CONVENTION}" if storage and storage.bucket else "",
            )
        error = error_of_code(outcome.failure.code)(outcome.failure.message)
        failure = error if failure is None or error.retry or not failure.retry else failure
    assert failure is not None
    raise failure
