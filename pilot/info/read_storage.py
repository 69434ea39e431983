"""Storage records, as the information systems write them, read into `Storage` and `StagingSite`. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from pilot.core.errors import ConversionFailure, QueuedataNotOk
from pilot.core.fields import Fields
from pilot.core.queue import QueueData
from pilot.core.storage import Access, StagingSite, Storage

Raw = Mapping[str, Any]


def wanted(queue: QueueData, more: Iterable[str] = ()) -> frozenset[str]:
    """The names of the storages that the queue (and `more`: its job) may use. The file holds thousands of others."""
    return frozenset(name for names in queue.astorages.values() for name in names) | frozenset(more)


def read_storages(
    found: object, names: frozenset[str] | None = None, overlay: Raw | None = None
) -> tuple[Storage, ...]:
    """The storages of these names (None: all), in the document's order; `overlay` changes single keys by name.

    Raises `QueuedataNotOk` (1117) for a document that is none.
    """
    if isinstance(found, list):
        found = {str(item.get("name")): item for item in found if isinstance(item, Mapping)}
    if not isinstance(found, Mapping) or found.get("error"):
        raise QueuedataNotOk("the storage data is no table of storages")
    storages = []
    for name, record in found.items():
        if isinstance(record, Mapping) and (names is None or name in names):
            changed = (overlay or {}).get(name)
            storages.append(_storage(str(name), {**record, **changed} if isinstance(changed, Mapping) else record))
    return tuple(storages)


def _storage(name: str, record: Raw) -> Storage:
    fields = Fields(record)
    kind = fields.text("type")
    resource = record.get("resource")
    return Storage(
        rse=fields.text("name", name),
        site=fields.text("site") or fields.text("rc_site"),
        kind=kind,
        state=fields.text("state", "ACTIVE").upper(),
        deterministic=fields.flag("is_deterministic", True),
        tape=fields.flag("is_tape") or "TAPE" in kind.upper(),
        accesses=tuple(_accesses(fields)),
        bucket=str(resource.get("bucket_id") or "") if isinstance(resource, Mapping) else "",
    )


def _accesses(fields: Fields) -> Iterable[Access]:
    """`arprotocols` by activity; settings come from `rprotocols` under the protocol's number."""
    settings = _object(fields, "rprotocols")
    for activity, protocols in _object(fields, "arprotocols").items():
        for protocol in protocols if isinstance(protocols, list) else ():
            if not isinstance(protocol, Mapping) or not protocol.get("endpoint"):
                continue
            own = settings.get(str(protocol.get("id")))
            words = own.get("settings") if isinstance(own, Mapping) else None
            yield Access(
                prefix=_joined(str(protocol["endpoint"]), str(protocol.get("path") or "")),
                activity=str(activity),
                settings={str(k): str(v) for k, v in words.items()} if isinstance(words, Mapping) else {},
            )


def _object(fields: Fields, key: str) -> dict[str, Any]:
    """An object; a record that has none writes an empty list."""
    try:
        return fields.mapping(key)
    except ConversionFailure:
        return {}


def _joined(endpoint: str, path: str) -> str:
    """Endpoint and path as one URL prefix: no slash lost between them, none doubled."""
    if not path:
        return endpoint
    # `root://host:1094` and `/path` make `root://host:1094//path`: the second slash makes the path an absolute one.
    if endpoint.startswith(("root://", "roots://")):
        return f"{endpoint.rstrip('/')}/{path if path.startswith('/') else '/' + path}"
    return f"{endpoint.rstrip('/')}/{path.lstrip('/')}"


def _input_limit_mb(queue: QueueData) -> int:
    """What a job's inputs may take together: no more than its work directory; -1 where nothing is to be checked."""
    limits = [limit for limit in (queue.max_input_mb, queue.max_workdir_mb) if limit > 0]
    return -1 if queue.max_input_mb < 0 else min(limits, default=0)


def staging_site(queue: QueueData, storages: tuple[Storage, ...]) -> StagingSite:
    """The part of the queue data that staging reads."""
    return StagingSite(
        name=queue.site,
        queue=queue.name,
        storages=storages,
        astorages=queue.astorages,
        copytools=queue.copytools,
        schemes=queue.schemes,
        direct_access_lan=queue.direct_access_lan,
        direct_access_wan=queue.direct_access_wan,
        allow_lan=queue.allow_lan,
        allow_wan=queue.allow_wan,
        allow_wan_for_lib=queue.has("allow_wan_for_lib"),
        allow_alternative=queue.allow_alternative,
        max_input_mb=_input_limit_mb(queue),
        use_pcache=queue.use_pcache,
        kind=queue.kind,
    )
