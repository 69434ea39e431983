"""What is to be moved for a job: pure functions from a job's definition and its site to transfers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from pilot.core.errors import FileExists, NoReplicas, NoStorage
from pilot.core.job import InputFile, JobDefinition, OutputFile
from pilot.core.storage import StagingSite, Storage
from pilot.core.transfer import Direction, Endpoint, Transfer
from pilot.lib.checksum import parse_checksum
from pilot.lib.files import check_name, file_url, safe_join
from pilot.staging.paths import deterministic_path, named_place, url_under
from pilot.staging.replicas import Resolved, order_replicas

#: The rule of paths by which outputs of events lie under one scope (protocol.md 4.1).
_CONVENTION, _TRANSIENT = 1000, "transient"


def plan_stage_in(
    definition: JobDefinition, workdir: str, site: StagingSite, found: Mapping[str, Resolved] | None = None
) -> tuple[Transfer, ...]:
    """The transfers that bring a job's inputs into its directory, one for each LFN.

    A source is the file's own `path` if it is known, else the site's input directory, else its replicas, else its
    storage. `found` holds what a catalogue told, by `scope:lfn`; what the job says of size and checksum goes first.
    Raises `BadOutputFileName`, `LfnTooLong`, `GetAdMismatch`, `UnknownChecksumType` for what the job says of a file,
    and `NoStorage` when nothing tells where it is.
    """
    tools = site.tools_for("pr", "read_lan")
    first = {item.lfn: item for item in reversed(definition.inputs)}
    items = dict.fromkeys(item.lfn for item in definition.inputs)
    return tuple(_stage_in(first[lfn], workdir, site, tools, found or {}) for lfn in items)


def _stage_in(
    item: InputFile, workdir: str, site: StagingSite, tools: Sequence[str], found: Mapping[str, Resolved]
) -> Transfer:
    name = local_name(item)
    told = found.get(f"{item.scope}:{item.lfn}", Resolved())
    return Transfer(
        lfn=item.lfn,
        sources=sources_of(item, name, site, told),
        targets=(Endpoint(file_url(safe_join(workdir, name))),),
        direction=Direction.IN,
        scope=item.scope,
        guid=item.guid,
        dataset=item.dataset,
        size=item.size if item.size is not None else told.size,
        checksums=parse_checksum(item.checksum) or told.checksums,
        activity="pr",
        copytool=" ".join(tools),
    )


def local_name(item: InputFile) -> str:
    """The name of an input in the job's directory: its LFN, for a full URL the last part of it."""
    scheme, colon, rest = item.lfn.partition("://")
    if not colon:
        return check_name(item.lfn)
    return check_name(rest if scheme == "zip" else rest.rstrip("/").rpartition("/")[2])


def sources_of(item: InputFile, name: str, site: StagingSite, told: Resolved | None = None) -> tuple[Endpoint, ...]:
    """Where an input may be taken from, the best first. Raises `NoStorage`, or `NoReplicas` if `told` has no use."""
    if item.path:
        return (Endpoint(item.path if "://" in item.path else file_url(item.path), rse=item.rse),)
    if "://" in item.lfn and not item.lfn.startswith("zip://"):
        return (Endpoint(item.lfn, rse=item.rse),)
    if site.input_dir:
        return (Endpoint(named_place(site.input_dir, name), rse=item.rse),)
    if told and told.replicas:
        places = order_replicas(told.replicas, site)
        if not places:
            raise NoReplicas(f"{item.lfn}: none of {len(told.replicas)} replicas may be used here")
        return places
    known = [item.rse] if item.rse else list(site.storages_for("read_lan", "pr"))
    buckets = [s for s in site.storages if item.storage_id is not None and s.bucket == str(item.storage_id)]
    storages = buckets or [storage for rse in known if (storage := site.storage(rse))]
    scope = _TRANSIENT if item.path_convention == _CONVENTION else item.scope
    places = tuple(place for storage in storages for place in endpoints(storage, scope, name, "read_lan", "read_wan"))
    if not places:
        raise NoStorage(f"nothing tells where input {item.lfn} is (storage {', '.join(known) or 'not named'})")
    return places


def endpoints(storage: Storage, scope: str, name: str, *activities: str) -> tuple[Endpoint, ...]:
    """The places of a file on a deterministic storage, by each of its ways for the activities; none on others."""
    if not storage.deterministic:
        return ()
    path = deterministic_path(scope, name)
    return tuple(
        Endpoint(url_under(access.prefix, path), rse=storage.rse, site=storage.site)
        for access in storage.ways(*activities)
    )


def plan_stage_out(
    definition: JobDefinition,
    files: Sequence[OutputFile],
    workdir: str,
    site: StagingSite,
    paths: Mapping[str, str] | None = None,
) -> tuple[Transfer, ...]:
    """The transfers that send these files away, the log last, in the order given otherwise.

    `paths` tells where files lie that are not in `workdir` under their LFN. The target is the site's output directory,
    else the storage of the activity (`pl` for the log, `write_lan`), else the file's own.
    Raises `FileExists` for two files with one name, `NoStorage` when nothing tells where to send one.
    """
    log = definition.log.lfn if definition.log else None
    tools = site.tools_for("pw", "write_lan")
    seen: set[str] = set()
    transfers = []
    for item in sorted(files, key=lambda item: item.lfn == log):
        if item.lfn in seen:
            raise FileExists(f"two outputs are called {item.lfn}")
        seen.add(item.lfn)
        transfers.append(_stage_out(item, item.lfn == log, workdir, site, paths or {}, tools))
    return tuple(transfers)


def _stage_out(
    item: OutputFile, log: bool, workdir: str, site: StagingSite, paths: Mapping[str, str], tools: Sequence[str]
) -> Transfer:
    source = paths.get(item.lfn) or safe_join(workdir, item.lfn)
    return Transfer(
        lfn=item.lfn,
        sources=(Endpoint(file_url(source)),),
        targets=(_target(item, log, site),),
        direction=Direction.OUT,
        scope=item.scope,
        guid=item.guid,
        dataset=item.dataset,
        activity="pl" if log else "pw",
        copytool=" ".join(tools),
    )


def plan_alternative(
    transfers: Sequence[Transfer], definition: JobDefinition, site: StagingSite, failed_rse: str
) -> tuple[Transfer, ...]:
    """The same files to the next storage of the queue's ring; nothing where that is not allowed or there is no other.

    Allowed is what the queue says (`allow_altstageout`), else the job (`altStageOut`). The job's nucleus is never a
    second choice. The whole remaining set moves together, as its files belong together.
    """
    allowed = site.allow_alternative
    if allowed is None:
        allowed = bool(definition.alt_stageout)
    ring = [name for name in site.storages_for("write_lan", "w", "pw") if name != definition.nucleus]
    if not allowed or not transfers or failed_rse not in (*ring, ""):
        return ()
    start = ring.index(failed_rse) + 1 if failed_rse in ring else 0
    for name in (*ring[start:], *ring[: max(0, start - 1)]):
        storage = site.storage(name)
        made = [
            msgspec.structs.replace(transfer, targets=places[:1])
            for transfer in transfers
            if storage and (places := endpoints(storage, transfer.scope, transfer.lfn, "write_lan", "write_wan"))
        ]
        if len(made) == len(transfers):
            return tuple(made)
    return ()


def _target(item: OutputFile, log: bool, site: StagingSite) -> Endpoint:
    if site.output_dir:
        return Endpoint(named_place(site.output_dir, item.lfn), rse=item.rse)
    listed = site.storages_for(*(("pl",) if log else ()), "write_lan", "w", "pw")
    names = [item.rse] if item.rse in listed or not listed else [*listed, item.rse]
    for name in names:
        storage = site.storage(name)
        places = endpoints(storage, item.scope, check_name(item.lfn), "write_lan", "write_wan") if storage else ()
        if places:
            return places[0]
    raise NoStorage(f"nothing tells where output {item.lfn} goes (storage {', '.join(filter(None, names)) or 'none'})")
