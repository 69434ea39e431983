"""What is to become of each file of a job, and why: the plan as data, for people and for the PilotDB. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import msgspec

from pilot.core.errors import PilotError
from pilot.core.job import InputFile, JobDefinition, OutputFile
from pilot.core.plan import Candidate, FilePlan, LeftOut, Places
from pilot.core.storage import StagingSite
from pilot.core.transfer import Endpoint
from pilot.lib.checksum import parse_checksum
from pilot.lib.files import check_name, local_path
from pilot.lib.urls import shown
from pilot.staging.inplace import may_be_bound, plan_in_place
from pilot.staging.places import Movable, no_source, no_target, places_of_input, places_of_output, ways_to_write
from pilot.staging.plan import (
    local_name,
    may_go_elsewhere,
    read_activities,
    read_tools,
    second_choices,
    tools_for_input,
    write_activities,
    write_tools,
)
from pilot.staging.replicas import Resolved, near_storages, order_replicas, why_copied
from pilot.staging.through import input_route, output_route, staging_storages

#: The name of the copy tool between two URLs, of those that are wanted; raises `PilotError` for none.
NameFor = Callable[[str, str, str], str]


def outline_inputs(
    definition: JobDefinition,
    site: StagingSite,
    found: Mapping[str, Resolved],
    speeds: Mapping[str, float],
    name_for: NameFor,
    contained: bool = False,
) -> tuple[FilePlan, ...]:
    """A plan for each input, in the job's order. `contained`: the payload runs in a container."""
    first = {item.lfn: item for item in reversed(definition.inputs)}
    items = [first[lfn] for lfn in dict.fromkeys(item.lfn for item in definition.inputs)]
    return tuple(_input(definition, item, site, found, speeds, name_for, contained) for item in items)


def _input(
    definition: JobDefinition,
    item: InputFile,
    site: StagingSite,
    found: Mapping[str, Resolved],
    speeds: Mapping[str, float],
    name_for: NameFor,
    contained: bool,
) -> FilePlan:
    activities, told = read_activities(definition, site), found.get(f"{item.scope}:{item.lfn}")
    places = Places()
    try:
        name, sums = local_name(item), parse_checksum(item.checksum)
        places = places_of_input(item, name, site, activities, told, speeds)
        if not places.taken:
            raise no_source(item, site, places, told)
    except PilotError as error:
        return FilePlan(item.lfn, "in", left_out=_shown(places.left_out), error=shown(str(error)), code=error.code)
    near = near_storages(site, activities, item)
    route = input_route(item, name, places.taken, site)
    tools = " ".join(tools_for_input(read_tools(definition, site), told))
    copies = [_candidate(place, near, item, lambda url: name_for(url, "/", tools)) for place in route]
    because = why_copied(definition, item, site)
    readable, not_readable = _in_place(definition, item, site, route, told, speeds, activities, contained)
    if not because and not readable:
        because = "none of its places may be read in place"
    direct = [_candidate(place, near, item, lambda url: name_for(url, "/", ""), in_place=True) for place in readable]
    size = item.size if item.size is not None else told.size if told else None
    return FilePlan(
        lfn=item.lfn,
        direction="in",
        how="in place" if direct else "copy",
        because=because or "the job asks for it, and the queue lets it",
        by=places.by,
        size=size,
        checksums=sums or (told.checksums if told else ()),
        places=(*direct, *copies),
        left_out=_shown((*places.left_out, *not_readable)),
        notes=tuple(filter(None, (shown(places.note), _way(item, route, places, site)))),
    )


def _in_place(
    definition: JobDefinition,
    item: InputFile,
    site: StagingSite,
    route: Sequence[Endpoint],
    told: Resolved | None,
    speeds: Mapping[str, float],
    activities: Sequence[str],
    contained: bool,
) -> tuple[list[Endpoint], list[LeftOut]]:
    """The places where the payload may read an input, and why not the others."""
    if why_copied(definition, item, site):
        return [], []
    one = msgspec.structs.replace(definition, inputs=(item,))
    known = {f"{item.scope}:{item.lfn}": told} if told is not None else {}
    planned = plan_in_place(one, site, {item.lfn: route}, known, speeds, activities).get(item.lfn, ())
    hidden = [place for place in planned if contained and not may_be_bound(place.url)]
    left = [LeftOut("in place: no container shows a path with ':' or ','", p.url, p.rse) for p in hidden]
    if told is not None and told.replicas:
        others = order_replicas(told.replicas, site, activities, True, speeds, item).left_out
        left += [LeftOut(f"in place: {other.why}", other.url, other.rse) for other in others]
    return [place for place in planned if place not in hidden], left


def outline_outputs(
    definition: JobDefinition,
    files: Sequence[OutputFile],
    site: StagingSite,
    name_for: NameFor,
    movable: Movable | None = None,
) -> tuple[FilePlan, ...]:
    """A plan for each of these outputs, the log among them."""
    return tuple(_output(definition, item, site, name_for, movable) for item in files)


def _output(
    definition: JobDefinition, item: OutputFile, site: StagingSite, name_for: NameFor, movable: Movable | None
) -> FilePlan:
    log = definition.log is not None and item.lfn == definition.log.lfn
    direction, activities = "log" if log else "out", write_activities(definition, site, log)
    tools = write_tools(definition, site, log)
    wanted, places = " ".join(tools), Places()
    try:
        check_name(item.lfn)
        places = places_of_output(item, site, activities, tools, movable)
        if not places.taken:
            raise no_target(item, places)
    except PilotError as error:
        return FilePlan(item.lfn, direction, left_out=_shown(places.left_out), error=shown(str(error)), code=error.code)
    targets = output_route(item, places.taken[0], site)
    others, why = _second_choices(definition, item, site, activities, tools, targets, movable)
    notes = [_class_of(item, site), "may be missing" if item.optional else ""]
    if item.pattern:
        notes.append("every file whose name matches goes there")
    return FilePlan(
        lfn=item.lfn,
        direction=direction,
        because=_because(item, places, site, activities),
        by=places.by,
        places=tuple(_candidate(place, (), None, lambda url: name_for("/", url, wanted)) for place in targets),
        alternative=tuple(_candidate(place, (), None, lambda url: name_for("/", url, wanted)) for place in others),
        left_out=_shown(places.left_out),
        notes=tuple(filter(None, notes)),
        otherwise="" if others else why,
    )


def _because(item: OutputFile, places: Places, site: StagingSite, activities: Sequence[str]) -> str:
    """Why an output goes to the first of its places."""
    rse, listed = places.taken[0].rse, site.storages_for(*activities)
    if site.output_dir:
        return "the output directory takes all outputs"
    activity = next((name for name in activities if site.astorages.get(name)), "")
    if rse == item.rse:
        return f"named by the job and on the queue's list {activity}" if rse in listed else "named by the job"
    if rse in listed:
        first = "first of" if rse == listed[0] else "first usable of"
        return f"{first} the queue's list {activity}" + (
            f"; {item.rse}, which the job names, is not on it" * bool(item.rse)
        )
    return "nobody tells of another storage"


def _second_choices(
    definition: JobDefinition,
    item: OutputFile,
    site: StagingSite,
    activities: Sequence[str],
    tools: Sequence[str],
    targets: Sequence[Endpoint],
    movable: Movable | None,
) -> tuple[list[Endpoint], str]:
    """Where an output goes if its storage does not take it, and why nowhere."""
    if len(targets) > 1:
        return [], "no second choice: its class names both places"
    if not may_go_elsewhere(definition, site):
        silent = site.allow_alternative is None
        return (
            [],
            f"no second choice: {'altStageOut of the job' if silent else 'allow_altstageout of the queue'} is off",
        )
    places = []
    for rse in second_choices(definition, site, item.lfn, targets[0].rse):
        places += ways_to_write(item.scope, item.lfn, rse, site, activities, tools, movable)[0][:1]
    return places, "no second choice: there is no other storage"


def _class_of(item: OutputFile, site: StagingSite) -> str:
    if not item.output_class:
        return ""
    wanted = "wanted" if item.transfer else "not wanted"
    served = "" if staging_storages(site) else "; no staging site serves this queue"
    return f"{item.output_class} output, {wanted} at the output site{served}"


def _way(item: InputFile, route: Sequence[Endpoint], places: Places, site: StagingSite) -> str:
    """How an input's places and its staging site go together."""
    if len(route) == len(places.taken):
        return ""
    return "passes the staging site by" if item.bypass or site.bypass_staging else "through the staging site first"


def _candidate(
    place: Endpoint, near: Sequence[str], item: InputFile | None, tool: Callable[[str], str], in_place: bool = False
) -> Candidate:
    rse = place.rse
    name = why = ""
    try:
        name = tool(place.url)
    except PilotError as error:
        why = shown(str(error))
    distance = "" if item is None or not rse or local_path(place.url) == item.path else "lan" if rse in near else "wan"
    url, tools = shown(place.url), ("", "") if in_place else (name, why)
    return Candidate(url, rse, place.site, distance, tools[0], in_place, tools[1])


def _shown(left: Sequence[LeftOut]) -> tuple[LeftOut, ...]:
    return tuple(msgspec.structs.replace(one, url=shown(one.url), why=shown(one.why)) for one in left)
