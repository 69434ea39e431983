"""What is to be moved for a job: pure functions from a job's definition and its site to transfers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from pilot.core.errors import FileExists
from pilot.core.job import InputFile, JobDefinition, OutputFile
from pilot.core.storage import StagingSite
from pilot.core.transfer import Direction, Endpoint, Transfer
from pilot.lib.checksum import parse_checksum
from pilot.lib.files import check_name, file_url, safe_join
from pilot.staging.places import Movable, no_source, no_target, places_of_input, places_of_output, ways_to_write
from pilot.staging.replicas import Resolved
from pilot.staging.through import input_route, output_route

#: What queues call `mv` links what comes in and moves what goes out (protocol.md 8.4).
_MOVE = "mv"
#: The tool that asks the catalogue about every file: of no use for those that this knows nothing of.
_BY_CATALOGUE = "rucio"


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
    `ReplicaNotFound` and `NoReplicas` for one without replica here, `NoStorage` or `NonDeterministicStorage` when
    nothing tells where it is, and what a silent catalogue was told with when no rule tells it either.
    """
    activities = read_activities(definition, site)
    tools = read_tools(definition, site)
    first = {item.lfn: item for item in reversed(definition.inputs)}
    transfers = []
    for item in (first[lfn] for lfn in dict.fromkeys(item.lfn for item in definition.inputs)):
        told = (found or {}).get(f"{item.scope}:{item.lfn}")
        own = sources_of(item, local_name(item), site, activities, told, speeds)
        route = input_route(item, local_name(item), own, site)
        transfers.append(_stage_in(item, workdir, route, tools_for_input(tools, told), told))
    return tuple(transfers)


def tools_for_input(tools: Sequence[str], told: Resolved | None) -> tuple[str, ...]:
    """Those of the tools that can fetch an input; where the catalogue is silent of it, not the one that asks that."""
    return tuple(tool for tool in tools if tool != _BY_CATALOGUE or told is None or told.silence is None)


def read_tools(definition: JobDefinition, site: StagingSite) -> tuple[str, ...]:
    """The copy tools for a job's inputs in order; none: whichever knows a URL's scheme."""
    analysis = ("read_lan_analysis",) if _is_analysis(definition, site) else ()
    return tuple("symlink" if tool == _MOVE else tool for tool in site.tools_for(*analysis, "pr", "read_lan"))


def write_tools(definition: JobDefinition, site: StagingSite, log: bool) -> tuple[str, ...]:
    """The copy tools for a job's outputs, or its log, in order."""
    analysis = ("write_lan_analysis",) if _is_analysis(definition, site) else ()
    tools = site.tools_for(*(("pl",) if log else ()), *analysis, "pw", "write_lan", "w")
    return tuple("move" if tool == _MOVE else tool for tool in tools)


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
    """Where an input may be taken from, the best first. Raises why it can be taken from nowhere."""
    found = places_of_input(item, name, site, activities, told, speeds)
    if not found.taken:
        raise no_source(item, site, found, told)
    return found.taken


def plan_stage_out(
    definition: JobDefinition,
    files: Sequence[OutputFile],
    workdir: str,
    site: StagingSite,
    paths: Mapping[str, str] | None = None,
    movable: Movable | None = None,
) -> tuple[Transfer, ...]:
    """The transfers that send these files away, the log last, in the order given otherwise.

    `paths` tells where files lie that are not in `workdir` under their LFN. The target is the site's output directory,
    else the storage of the activity (`pl` for the log, `write_lan`), else the file's own; an output with a class
    goes to the staging site, there, or both. `movable` tells what the copy tools reach.
    Raises `FileExists` for two files with one name, `NoStorage` when nothing tells where to send one.
    """
    log = definition.log.lfn if definition.log else None
    seen: set[str] = set()
    transfers = []
    for item in sorted(files, key=lambda item: item.lfn == log):
        if item.lfn in seen:
            raise FileExists(f"two outputs are called {item.lfn}")
        seen.add(item.lfn)
        is_log = item.lfn == log
        activities, tools = write_activities(definition, site, is_log), write_tools(definition, site, is_log)
        found = places_of_output(item, site, activities, tools, movable)
        if not found.taken:
            raise no_target(item, found)
        targets = output_route(item, found.taken[0], site)
        source = (paths or {}).get(item.lfn) or safe_join(workdir, item.lfn)
        transfers.append(_stage_out(item, is_log, source, targets, tools))
    return tuple(transfers)


def _stage_out(
    item: OutputFile, log: bool, source: str, targets: tuple[Endpoint, ...], tools: Sequence[str]
) -> Transfer:
    return Transfer(
        lfn=item.lfn,
        sources=(Endpoint(file_url(source)),),
        targets=targets,
        direction=Direction.OUT,
        scope=item.scope,
        guid=item.guid,
        dataset=item.dataset,
        activity="pl" if log else "pw",
        copytool=" ".join(tools),
    )


def plan_alternative(
    transfers: Sequence[Transfer],
    definition: JobDefinition,
    site: StagingSite,
    failed_rse: str,
    movable: Movable | None = None,
) -> tuple[Transfer, ...]:
    """The same files to the next storage of the queue's ring, the job's own last; nothing where that is not allowed
    or there is no other.

    Allowed is what the queue says (`allow_altstageout`), else the job (`altStageOut`). The job's nucleus is never a
    second choice. The whole remaining set moves together, as its files belong together.
    """
    if not transfers or not may_go_elsewhere(definition, site):
        return ()
    activities = write_activities(definition, site, log=all(t.activity == "pl" for t in transfers))
    for name in second_choices(definition, site, transfers[0].lfn, failed_rse):
        made = []
        for transfer in transfers:
            tools = transfer.copytool.split()
            ways, _ = ways_to_write(transfer.scope, transfer.lfn, name, site, activities, tools, movable)
            made += [msgspec.structs.replace(transfer, targets=(way,)) for way in ways[:1]]
        if len(made) == len(transfers):
            return tuple(made)
    return ()


def may_go_elsewhere(definition: JobDefinition, site: StagingSite) -> bool:
    """Whether outputs may go to a second storage: the queue says it, where it is silent the job."""
    return bool(definition.alt_stageout) if site.allow_alternative is None else site.allow_alternative


def second_choices(definition: JobDefinition, site: StagingSite, lfn: str, failed_rse: str) -> tuple[str, ...]:
    """The storages that come after the one that failed: round the queue's list, the file's own last."""
    log = definition.log is not None and lfn == definition.log.lfn
    listed = site.storages_for(*write_activities(definition, site, log=False))
    first = site.storages_for("pl") if log else ()
    own = [output.rse for output in definition.all_outputs if output.lfn == lfn and output.rse]
    ring = [n for n in dict.fromkeys((*first, *listed, *own)) if n == failed_rse or not is_nucleus(definition, site, n)]
    if failed_rse not in (*ring, ""):
        return ()
    start = ring.index(failed_rse) + 1 if failed_rse in ring else 0
    return (*ring[start:], *ring[: max(0, start - 1)])


def is_nucleus(definition: JobDefinition, site: StagingSite, rse: str) -> bool:
    """Whether a storage is the job's nucleus, or one of those at that site."""
    storage = site.storage(rse)
    return bool(definition.nucleus) and definition.nucleus in (rse, storage.site if storage else "")
