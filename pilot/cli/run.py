"""`pilot run`: the agent. The place that picks the classes and puts them together."""

from __future__ import annotations

import contextlib
import difflib
import logging
import os
import socket
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pilot import __version__
from pilot.cli import finding_inputs, harvester
from pilot.cli import settings as settings_of
from pilot.cli.containers import make_boxes, payload_variables
from pilot.cli.experiment import without_rules
from pilot.cli.harvester import as_worker
from pilot.cli.info import Info, info_of
from pilot.cli.named_environment import ForPayloads, for_payloads, make_environments
from pilot.cli.staging import make_traces, make_transferer, tool_settings
from pilot.cli.store import db_path
from pilot.cli.surprise import told_in
from pilot.cli.workplace import BRAINDUMP, workplace
from pilot.core.errors import PilotError
from pilot.core.settings import Settings
from pilot.lib.redact import Redactor
from pilot.plugins.sources.base import Source

if TYPE_CHECKING:
    from pilot.cli.here import Here


class _Run(click.Command):
    """Understands the options that wrappers pass to the PanDA pilot as well."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        from pilot.cli.compat import OPTIONS, translate

        known = [name for param in self.params for name in param.opts]
        args, ctx.meta["pilot.notes"] = translate(args, known)
        try:
            return super().parse_args(ctx, args)
        except click.NoSuchOption as error:
            words = [*known, *(name for old in OPTIONS for name in old.names)]
            near = difflib.get_close_matches(error.option_name, words, 1, cutoff=0.4)
            raise click.NoSuchOption(error.option_name, possibilities=near, ctx=ctx) from error


@click.command(name="run", cls=_Run)
@click.argument("files", nargs=-1, type=click.Path(path_type=Path))
@click.option("--config", multiple=True, type=click.Path(path_type=Path), help="a configuration file; repeatable")
@click.option(
    "--log-level", default="info", type=click.Choice(["debug", "info", "warning", "error"]), help="of the log on stderr"
)
@click.option("--explain", is_flag=True, help="print where the files of the jobs in FILES would come from and go to")
@click.option("--json", "as_json", is_flag=True, help="with --explain: one JSON document")
@settings_of.options()
@click.pass_context  # type: ignore[arg-type]
def command(
    ctx: click.Context,
    files: tuple[Path, ...],
    config: tuple[Path, ...],
    log_level: str,
    explain: bool,
    as_json: bool,
    **flags: Any,
) -> int:
    """Take jobs from a source, run them, report them.

    FILES are job descriptions (JSON or JSON lines) for `--source local`, which needs one at least. Jobs that an earlier
    pilot left unfinished in the same work directory are brought to their end first, and without FILES alone.

    With `--explain` nothing is moved, started or asked of a job server: the plan of the jobs in FILES is printed, each
    place of a file in its order and why others are left out. Exit code 1 if a file could not be moved.
    """
    from pilot.lib import log

    settings = as_worker(settings_of.load(flags, config), chosen=bool(flags.get("source")))
    info, own = info_of(config), for_payloads(config)
    redactor = Redactor()
    if explain:
        from pilot.cli import explaining

        log.to_stderr(log_level, redactor)
        return explaining.explain(settings, files, info, redactor, as_json)
    if as_json:
        raise click.UsageError("--json goes with --explain")
    if files and settings.source != "local":
        raise click.UsageError(f"{files[0]}: files are for --source local, the source is {settings.source!r}")
    if settings.source == "panda" and not settings.url:
        raise click.UsageError("--url is missing: the base URL of the job server (or --source local FILE)")
    log.to_stderr(log_level, redactor)
    for note in ctx.meta["pilot.notes"]:
        logging.getLogger("pilot").info("%s", note)
    if told := without_rules(settings.experiment):
        logging.getLogger("pilot").warning("%s", told)
    with workplace(settings, os.environ) as (settings, workdir):
        if settings.db:
            db_path(settings, workdir)  # a wrong one is told before anything else is done
        with told_in(workdir / "pilot.log", redactor), contextlib.ExitStack() as held:
            return _run(settings, workdir, files, redactor, held, info, own)


def _run(
    settings: Settings,
    workdir: Path,
    files: tuple[Path, ...],
    redactor: Redactor,
    held: contextlib.ExitStack,
    info: Info | None = None,
    own: ForPayloads = ForPayloads({}, ()),  # noqa: B008 - nobody changes it
) -> int:
    from pilot.cli.credentials import Look, with_credentials
    from pilot.cli.cvmfs import check_cvmfs
    from pilot.cli.here import look_around, time_left
    from pilot.cli.keys import key_ring, learning
    from pilot.cli.panda import panda_settings
    from pilot.cli.queue import queue_of
    from pilot.cli.recording import transfer_events
    from pilot.cli.store import has_left, open_store
    from pilot.core.errors import NoLocalSpace
    from pilot.core.job import JobDefinition
    from pilot.core.staging import StagingSettings
    from pilot.db.outputs import output_owners
    from pilot.engine.agent import Agent
    from pilot.engine.bounds import parse_limits
    from pilot.engine.claims import Claims
    from pilot.engine.means import Means, Place
    from pilot.engine.monitor import Monitor
    from pilot.lib.cgroup_ground import Ground
    from pilot.lib.gpu import Gpus
    from pilot.lib.loop import Loop
    from pilot.lib.orphans import TRANSFERS
    from pilot.lib.process import become_subreaper
    from pilot.runtime.slots import slots_for

    become_subreaper()
    queue = queue_of(settings, workdir, os.environ, info)
    check_cvmfs(settings, queue.queue_for(JobDefinition(job_id=0)), os.environ)
    settings = replace(settings, label=queue.label) if queue.label else settings
    if settings.source == "local" and not files and not has_left(db_path(settings, workdir), os.environ):
        raise click.UsageError(
            "FILES is missing: --source local takes its jobs from files (pilot run --source local JOB.json), and no"
            f" earlier pilot left any in {workdir}"
        )
    here = look_around(settings, workdir, os.environ)
    look: Look | None = None
    if settings.source == "panda" or harvester.tells_server(settings):
        settings, look = with_credentials(
            settings, workdir, os.environ, redactor, lambda own: panda_settings(own, here.node)
        )
    try:
        slots = slots_for(settings.slots, here.room)
        limits = parse_limits(settings.limits)
    except ValueError as error:
        raise click.UsageError(str(error)) from error
    loop = held.enter_context(contextlib.closing(Loop()))
    store = held.enter_context(contextlib.closing(open_store(db_path(settings, workdir), os.environ, redactor)))
    agent: Agent
    monitor = Monitor(
        lambda message: loop.post(lambda: agent.from_monitor(message)),
        interval_s=settings.monitor_interval,
        gpus=Gpus.find(os.environ.get("PATH")) if here.facts.gpus else None,
    )
    ring = key_ring(settings, redactor, lambda: panda_settings(settings, here.node))
    traces, end_traces = make_traces(settings, here.node)
    keys = ring.keys if ring else None
    words = finding_inputs.tool_options(settings, queue.queue_for(JobDefinition(job_id=0)))
    mark = _mark_of(workdir)
    tools = tool_settings({**os.environ, TRANSFERS: mark}, words, settings.proxy, keys)
    transferer = make_transferer(StagingSettings(max_attempts=settings.stageout_attempts), tools, mark)
    events = transfer_events(settings.transfer_events)
    means = Means(
        settings=settings,
        workdir=workdir,
        store=store,
        loop=loop,
        source=_source(settings, here, files),
        slots=slots,
        transferer=transferer,
        catalogue=finding_inputs.catalogue(settings, transferer.toolbox, here.node.host, os.environ),
        speeds=finding_inputs.speeds(settings.source_speeds),
        on_attempt=events.attempt if events else None,
        claims=Claims(output_owners(store.path)),
        remote_options=finding_inputs.remote_options(settings.experiment),
        queue_for=queue.queue_for,
        environments=make_environments(own.environments, settings.payload_setup, os.environ),
        utilities=own.utilities,
        variables=payload_variables(settings.experiment),
        site_for=learning(ring, harvester.sites(settings, queue.site_for)),
        time_floor_s=queue.time_floor_s,
        own_limits=limits,
        redactor=redactor,
        traces=traces,
        ground=Ground.prepare() if settings.cgroups else None,
        look_at_credentials=look,
        boxes=make_boxes(settings, os.environ, redactor),
        monitor=monitor,
        base_env=dict(os.environ),
        token=os.urandom(12).hex(),
        here=Place(here.node, here.facts, here.ends_at, here.features.hs06, time_left(here.batch), here.metrics),
    )
    means.pilot = store.add_pilot(
        host=socket.gethostname(),
        pid=os.getpid(),
        version=__version__,
        queue=settings.queue,
        source=settings.source,
        url=settings.url,
        cores=here.room.cores,
    )
    _write_braindump(settings, workdir, means.pilot)
    logging.getLogger("pilot").info("pilot %s in %s: %s", __version__, workdir, here.words())
    if settings.source == "harvester":
        harvester.keep_beating(means)
    agent = Agent(means)
    code = agent.run()
    means.source.close()
    means.transferer.close()
    end_traces()
    if events and (trouble := events.close()):
        logging.getLogger("pilot").warning("%s", trouble)
    if means.ground is not None:
        means.ground.restore()
    with contextlib.suppress(NoLocalSpace):
        store.end_pilot(means.pilot, code, sum(os.times()[:4]))
    return code


def _source(settings: Settings, here: Here, files: tuple[Path, ...]) -> Source:
    from pilot.cli.panda import panda_settings, settings_for_jobs
    from pilot.plugins.sources.registry import SOURCES

    node = here.node
    kind: Any = SOURCES.load(settings.source)
    if settings.source == "local":
        try:
            found: Source = kind(files)
        except PilotError as error:
            raise click.UsageError(error.detail or str(error)) from error
    elif settings.source == "harvester":
        panda: Any = SOURCES.load("panda")
        found = harvester.make_source(settings, node, lambda: panda(panda_settings(settings, node)))
    elif settings.source == "panda":
        found = kind(settings_for_jobs(settings, node, here.gpus))
    else:
        found = kind()
    if settings.server_updates or settings.source == "harvester":  # Harvester's files are no server
        return found
    from pilot.plugins.sources.untold import UntoldSource

    return UntoldSource(found)


def _mark_of(workdir: Path) -> str:
    """Marks half-written files, and the programs that write them: the same for every pilot in a directory, so that the
    next one writes over the ones and ends the others."""
    import hashlib

    return hashlib.blake2b(f"{socket.gethostname()}:{workdir}".encode(errors="replace"), digest_size=6).hexdigest()


def _write_braindump(settings: Settings, workdir: Path, pilot: int) -> None:
    import json
    import time

    from pilot.lib.files import write_atomically

    facts = {
        "pilot": pilot,
        "version": __version__,
        "started": time.time(),
        "host": socket.gethostname(),
        "pid": os.getpid(),
        "user": os.getuid(),
        "workdir": str(workdir),
        "db": str(db_path(settings, workdir)),
        "queue": settings.queue,
        "source": settings.source,
        "url": settings.url,
        "python": sys.version.split()[0],
    }
    write_atomically(workdir / BRAINDUMP, json.dumps(facts, indent=2) + "\n")
