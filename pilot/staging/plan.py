"""What is to be moved for a job: pure functions from a job's definition and its site to transfers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from pilot.core.errors import FileExists, NoReplicas, NoStorage, ReplicaNotFound
from pilot.core.job import InputFile, JobDefinition, OutputFile
from pilot.core.storage import StagingSite
from pilot.core.transfer import Direction, Endpoint, Transfer
from pilot.lib.checksum import parse_checksum
from pilot.lib.files import check_name, file_url, safe_join
from pilot.staging.paths import named_place
from pilot.staging.replicas import Resolved, order_replicas
from pilot.staging.through import endpoints, input_route, output_route

#: The rule of paths by which outputs of events lie under one scope (protocol.md 4.1).
_CONVENTION, _TRANSIENT = 1000, "transient"


def plan_stage_in(
    definition: JobDefinition,
    workdir: str,
    site: StagingSite,
    found: Mapping[str, Resolved] | None = None,
    speeds: Mapping[str, float] | None = None,
) -> tuple[Transfer, ...]:
    """The transfers that bring a job's inputs into its directory, one for each LFN.

    A source is the file's own `path` if it is known, else the site's input directory, else its replicas, else its
    storage; before those its staging site, unless it is passed by. `found` holds what a catalogue told, by
    `scope:lfn`; what the job says of size and checksum goes first. `speeds` are those of hosts, in bytes/s.
    Raises `BadOutputFileName`, `LfnTooLong`, `GetAdMismatch`, `UnknownChecksumType` for what the job says of a file,
    `ReplicaNotFound` and `NoReplicas` for one without replica here, and `NoStorage` when nothing tells where it is.
    """
    activities = read_activities(definition, site)
    tools = site.tools_for("pr", "read_lan")
    first = {item.lfn: item for item in reversed(definition.inputs)}
    transfers = []
    for item in (first[lfn] for lfn in dict.fromkeys(item.lfn for item in definition.inputs)):
        told = (found or {}).get(f"{item.scope}:{item.lfn}")
        own = sources_of(item, local_name(item), site, activities, told, speeds)
        transfers.append(_stage_in(item, workdir, input_route(item, local_name(item), own, site), tools, told))
    return tuple(transfers)


def read_activities(definition: JobDefinition, site: StagingSite) -> tuple[str, ...]:
    """The activities by which a job's inputs are read, the one that counts first (protocol.md 8.2)."""
    return (*(("read_lan_analysis",) if _is_analysis(definition, site) else ()), "read_lan", "pr")


def write_activities(definition: JobDefinition, site: StagingSite, log: bool) -> tuple[str, ...]:
    """The activities by which outputs, or the log, are written (protocol.md 8.3)."""
    analysis = ("write_lan_analysis",) if _is_analysis(definition, site) else ()
    return (*(("pl",) if log else ()), *analysis, "write_lan", "w", "pw")


def _is_analysis(definition: JobDefinition, site: StagingSite) -> bool:
    return site.kind == "unified" and (definition.by_user or definition.label in ("user", "panda"))


def _stage_in(
    item: InputFile, workdir: str, sources: tuple[Endpoint, ...], tools: Sequence[str], told: Resolved | None
) -> Transfer:
    name, told = local_name(item), told or Resolved()
    return Transfer(
        lfn=item.lfn,
        sources=sources,
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


def sources_of(
    item: InputFile,
    name: str,
    site: StagingSite,
    activities: Sequence[str] = ("read_lan", "pr"),
    told: Resolved | None = None,
    speeds: Mapping[str, float] | None = None,
) -> tuple[Endpoint, ...]:
    """Where an input may be taken from, the best first.

    Raises `NoStorage`, or `ReplicaNotFound` and `NoReplicas` for what a catalogue told of it.
    """
    if item.path:
        return (Endpoint(item.path if "://" in item.path else file_url(item.path), rse=item.rse),)
    if "://" in item.lfn and not item.lfn.startswith("zip://"):
        return (Endpoint(item.lfn, rse=item.rse),)
    if site.input_dir:
        return (Endpoint(named_place(site.input_dir, name), rse=item.rse),)
    if told is not None:
        if not told.replicas:
            raise ReplicaNotFound(f"{item.scope}:{item.lfn}: the catalogue knows none")
        places = order_replicas(told.replicas, site, activities, speeds=speeds)
        if not places:
            raise NoReplicas(f"{item.lfn}: none of {len(told.replicas)} replicas may be used here")
        return places
    known = [item.rse] if item.rse else list(site.storages_for(*activities))
    buckets = [s for s in site.storages if item.storage_id is not None and s.bucket == str(item.storage_id)]
    storages = buckets or [storage for rse in known if (storage := site.storage(rse))]
    scope = _TRANSIENT if item.path_convention == _CONVENTION else item.scope
    places = tuple(place for storage in storages for place in endpoints(storage, scope, name, "read_lan", "read_wan"))
    if not places:
        raise NoStorage(f"nothing tells where input {item.lfn} is (storage {', '.join(known) or 'not named'})")
    return places


def plan_stage_out(
    definition: JobDefinition,
    files: Sequence[OutputFile],
    workdir: str,
    site: StagingSite,
    paths: Mapping[str, str] | None = None,
) -> tuple[Transfer, ...]:
    """The transfers that send these files away, the log last, in the order given otherwise.

    `paths` tells where files lie that are not in `workdir` under their LFN. The target is the site's output directory,
    else the storage of the activity (`pl` for the log, `write_lan`), else the file's own; an output with a class
    goes to the staging site, there, or both.
    Raises `FileExists` for two files with one name, `NoStorage` when nothing tells where to send one.
    """
    log = definition.log.lfn if definition.log else None
    seen: set[str] = set()
    transfers = []
    for item in sorted(files, key=lambda item: item.lfn == log):
        if item.lfn in seen:
            raise FileExists(f"two outputs are called {item.lfn}")
        seen.add(item.lfn)
        activities = write_activities(definition, site, item.lfn == log)
        source = (paths or {}).get(item.lfn) or safe_join(workdir, item.lfn)
        transfers.append(_stage_out(item, item.lfn == log, source, site, activities))
    return tuple(transfers)


def _stage_out(item: OutputFile, log: bool, source: str, site: StagingSite, activities: Sequence[str]) -> Transfer:
    tools = site.tools_for(*(("pl",) if log else ()), "pw", "write_lan")
    return Transfer(
        lfn=item.lfn,
        sources=(Endpoint(file_url(source)),),
        targets=output_route(item, _target(item, site, activities), site),
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
    """The same files to the next storage of the queue's ring, the job's own last; nothing where that is not allowed
    or there is no other.

    Allowed is what the queue says (`allow_altstageout`), else the job (`altStageOut`). The job's nucleus is never a
    second choice. The whole remaining set moves together, as its files belong together.
    """
    allowed = site.allow_alternative
    if allowed is None:
        allowed = bool(definition.alt_stageout)
    listed = site.storages_for(*write_activities(definition, site, log=False))
    own = next((o.rse for o in definition.all_outputs if transfers and o.lfn == transfers[0].lfn and o.rse), None)
    ring = [name for name in dict.fromkeys((*listed, *((own,) if own else ()))) if name != definition.nucleus]
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


def _target(item: OutputFile, site: StagingSite, activities: Sequence[str]) -> Endpoint:
    if site.output_dir:
        return Endpoint(named_place(site.output_dir, item.lfn), rse=item.rse)
    listed = site.storages_for(*activities)
    names = [item.rse] if item.rse in listed or not listed else [*listed, item.rse]
    for name in names:
        storage = site.storage(name)
        places = endpoints(storage, item.scope, check_name(item.lfn), "write_lan", "write_wan") if storage else ()
        if places:
            return places[0]
    raise NoStorage(f"nothing tells where output {item.lfn} goes (storage {', '.join(filter(None, names)) or 'none'})")
