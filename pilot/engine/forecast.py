"""Where a job's files are to come from and to go: told before it is done, and kept with the job."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence

import msgspec

from pilot.core.errors import NoLocalSpace, PilotError
from pilot.core.job import JobDefinition, OutputFile
from pilot.core.plan import FilePlan
from pilot.core.storage import StagingSite
from pilot.engine.means import Means, Run
from pilot.engine.objectlog import log_store
from pilot.runtime.prefetch import is_prefetched
from pilot.staging.outline import outline_inputs, outline_outputs
from pilot.staging.replicas import Resolved, reads_in_place
from pilot.staging.toolbox import Toolbox

_log = logging.getLogger("pilot.staging")


def fetched_first(definition: JobDefinition) -> JobDefinition:
    """The job without those inputs that are fetched event by event while its payload runs."""
    if not (definition.event_service and definition.use_prefetcher):
        return definition
    return msgspec.structs.replace(definition, inputs=tuple(i for i in definition.inputs if not is_prefetched(i)))


def inputs_of(
    definition: JobDefinition,
    site: StagingSite,
    found: Mapping[str, Resolved],
    speeds: Mapping[str, float],
    toolbox: Toolbox,
    contained: bool = False,
) -> tuple[FilePlan, ...]:
    """A plan for each input. `found` is what a catalogue told, `contained` whether the payload runs in a container."""
    first = fetched_first(definition)
    later = {item.lfn for item in definition.inputs} - {item.lfn for item in first.inputs}
    by_events = tuple(FilePlan(lfn, "in", how="fetched by events") for lfn in sorted(later))
    return (*outline_inputs(first, site, found, speeds, toolbox.name_for, contained), *by_events)


def outputs_of(
    definition: JobDefinition, files: Sequence[OutputFile], site: StagingSite, toolbox: Toolbox
) -> tuple[FilePlan, ...]:
    """A plan for each of these outputs; for archives what they hold, for the log the object store that gets it too."""
    plans = outline_outputs(definition, files, site, toolbox.name_for, toolbox.sends)
    return tuple(_with_more(definition, plan, site) for plan in plans)


def _with_more(definition: JobDefinition, plan: FilePlan, site: StagingSite) -> FilePlan:
    notes = list(plan.notes)
    if members := definition.zip_map.get(plan.lfn):
        notes.append(f"an archive of {', '.join(members)}")
    if plan.direction == "log" and definition.log_to_objectstore and definition.log is not None:
        store = log_store(site, definition.log.scope, plan.lfn)
        notes.append(
            f"and to the object store {store[0].rse}: {store[1].url}" if store else "no object store takes logs"
        )
    return msgspec.structs.replace(plan, notes=tuple(notes))


def is_contained(means: Means, run: Run) -> bool:
    """Whether the payload is going to run in a container."""
    try:
        queue = means.queue_for(run.definition)
        return means.boxes.box_of(run.definition, queue, run.key, str(run.directory), "", run.grant) is not None
    except PilotError:
        return False  # the start of the payload fails for that reason, and says so


def note_inputs(
    means: Means, run: Run, site: StagingSite, found: Mapping[str, Resolved], speeds: Mapping[str, float]
) -> None:
    """Keep the plan of a job's inputs, whatever comes of it. For staging threads."""
    contained = any(reads_in_place(run.definition, i, site) for i in run.definition.inputs) and is_contained(means, run)
    _note(means, run, "in", inputs_of(run.definition, site, found, speeds, means.transferer.toolbox, contained))


def note_outputs(means: Means, run: Run, files: Sequence[OutputFile], site: StagingSite) -> None:
    """The same for outputs, or for the log by itself."""
    plan = outputs_of(run.definition, files, site, means.transferer.toolbox)
    _note(means, run, "log" if any(file.direction == "log" for file in plan) else "out", plan)


def _note(means: Means, run: Run, part: str, plan: Sequence[FilePlan]) -> None:
    def write() -> None:
        try:
            means.store.put_plan(run.key, part, plan)
        except NoLocalSpace as full:
            _log.warning("the plan of job %s is not noted: %s", run.key, full)

    if plan:
        means.loop.post(write)
