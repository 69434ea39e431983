"""`pilot run --explain`: where the files of jobs would come from and go to, told without moving any of them."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import msgspec

from pilot.cli import finding_inputs, harvester
from pilot.cli.checking import in_words
from pilot.cli.containers import make_boxes
from pilot.cli.info import Info
from pilot.cli.place import print_json
from pilot.cli.planned import plan_text
from pilot.cli.queue import Known, queue_of
from pilot.cli.staging import credential_source, make_toolbox, tool_settings
from pilot.core.errors import PilotError
from pilot.core.settings import Settings
from pilot.lib.redact import Redactor

if TYPE_CHECKING:
    from pilot.core.job import JobDefinition
    from pilot.core.plan import FilePlan
    from pilot.core.staging import ToolSettings
    from pilot.staging.toolbox import Toolbox


def explain(settings: Settings, files: Sequence[Path], info: Info, redactor: Redactor, as_json: bool) -> int:
    """Print the plan of each job in these files. 1 if a file could not be moved, or a job not be read, else 0."""
    if not files:
        raise click.UsageError("--explain needs FILES with jobs; the job.json in a job's directory is one")
    jobs = _jobs(files)
    workdir = Path(settings.workdir or ".").absolute()
    queue = queue_of(settings, workdir, os.environ, info, cached=False)
    if queue.is_own and settings.queue != Settings().queue:
        ours = "its files go as on a queue of this machine's own; --queuedata-url names a place that knows it"
        click.echo(f"pilot: nothing is known of queue {settings.queue}: {ours}", err=True)
    explained = _Explained(settings, workdir, queue, redactor)
    try:
        lines = [redactor.clean(explained.job(raw)) for raw in jobs]
    finally:
        explained.toolbox.close()
    if as_json:
        print_json({"queue": settings.queue, "jobs": lines})
    else:
        click.echo("\n\n".join(_text(line, settings.queue) for line in lines))
    return 1 if any(line["errors"] or any("error" in file for file in line["files"]) for line in lines) else 0


def _jobs(files: Sequence[Path]) -> list[dict[str, Any]]:
    from pilot.core.numbering import numbered
    from pilot.lib.documents import read_objects

    try:
        return numbered([job for file in files for job in read_objects(file)])
    except PilotError as error:
        raise click.UsageError(error.detail or str(error)) from error


class _Explained:
    """What all jobs of one call share."""

    def __init__(self, settings: Settings, workdir: Path, queue: Known, redactor: Redactor) -> None:
        from pilot.core.job import JobDefinition

        self.settings, self.workdir, self.queue = settings, workdir, queue
        words = finding_inputs.tool_options(settings, queue.queue_for(JobDefinition(job_id=0)))
        self.tools: ToolSettings = tool_settings(os.environ, words, settings.proxy)
        self.toolbox: Toolbox = make_toolbox(self.tools)
        host = os.uname().nodename
        self.catalogue = finding_inputs.catalogue(settings, self.toolbox, host, os.environ)
        self.speeds = finding_inputs.speeds(settings.source_speeds).known()
        self.boxes = make_boxes(settings, os.environ, redactor)
        self.sites = harvester.sites(settings, queue.site_for)

    def job(self, raw: dict[str, Any]) -> dict[str, Any]:
        """The plan of one job: `job_id`, `attempt`, `name`, `container`, `errors`, and `files`, one object each."""
        from pilot.engine import form

        definition, slips = form.read(raw)
        line: dict[str, Any] = {"job_id": definition.job_id, "attempt": definition.attempt, "name": definition.name}
        line |= {"container": False, "errors": [in_words(slip) for slip in slips], "files": []}
        if slips:
            return line
        try:
            line["container"] = self._contained(definition)
            plans = [*self._inputs(definition, line), *self._outputs(definition)]
        except PilotError as error:
            line["errors"].append(str(error))
            return line
        line["files"] = [msgspec.to_builtins(self._with_credentials(plan)) for plan in plans]
        return line

    def _inputs(self, definition: JobDefinition, line: dict[str, Any]) -> Sequence[FilePlan]:
        from pilot.engine.forecast import fetched_first, inputs_of
        from pilot.lib.cancel import Cancel
        from pilot.staging.plan import plan_stage_in
        from pilot.staging.room import check_room

        site, first = self.sites(definition), fetched_first(definition)
        found = self.catalogue.find(first, site, Cancel()) if self.catalogue else {}
        plans = inputs_of(definition, site, found, self.speeds, self.toolbox, line["container"])
        copied = {plan.lfn for plan in plans if plan.how == "copy"}
        if not any(plan.error for plan in plans):
            transfers = plan_stage_in(first, str(self.workdir), site, found, self.speeds)
            try:
                there = next(path for path in (self.workdir, *self.workdir.parents) if path.is_dir())
                check_room([transfer for transfer in transfers if transfer.lfn in copied], site, str(there))
            except PilotError as error:
                line["errors"].append(str(error))
        return plans

    def _outputs(self, definition: JobDefinition) -> Sequence[FilePlan]:
        from pilot.engine.forecast import outputs_of

        log = [definition.log] if definition.log else []
        return outputs_of(definition, [*definition.outputs, *log], self.sites(definition), self.toolbox)

    def _contained(self, definition: JobDefinition) -> bool:
        box = self.boxes.box_of(
            definition, self.queue.queue_for(definition), definition.key, str(self.workdir), "", None
        )
        return box is not None

    def _with_credentials(self, plan: FilePlan) -> FilePlan:
        """With the rule by which the credential for each place is found; never with what is in it."""
        places, others = (
            tuple(
                msgspec.structs.replace(place, credential=credential_source(place.url, place.site, self.tools))
                for place in some
            )
            for some in (plan.places, plan.alternative)
        )
        return msgspec.structs.replace(plan, places=places, alternative=others, notes=(*plan.notes, *_absent(plan)))


def _absent(plan: FilePlan) -> Iterator[str]:
    """Which sources on this machine could not be read now, and why."""
    from pilot.lib.files import local_path
    from pilot.staging.explain import unread

    if plan.direction == "in":
        for place in plan.places:
            path = local_path(place.url)
            if path and (why := unread(path)):
                yield f"{path}: {why}"


def _text(line: dict[str, Any], queue: str) -> str:
    inside = ", in a container" if line["container"] else ""
    called = f": {line['name']}" if line["name"] else ""
    head = f"job {line['job_id']}, attempt {line['attempt']}, on queue {queue}{inside}{called}"
    errors = [f"  error: {error}" for error in line["errors"]]
    return "\n".join([head, *errors, *filter(None, [plan_text(line["files"])])])
