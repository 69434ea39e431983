"""`pilot run`: the agent. The place that picks the classes and puts them together."""

from __future__ import annotations

import contextlib
import os
import socket
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from pilot import __version__
from pilot.cli import settings as settings_of
from pilot.core.settings import Settings
from pilot.plugins.sources.base import Source

_EXIT_MKDIR, _EXIT_NO_SPACE = 66, 69


@click.command(name="run", context_settings={"ignore_unknown_options": False})
@click.argument("files", nargs=-1, type=click.Path(path_type=Path))
@click.option("--config", multiple=True, type=click.Path(path_type=Path), help="a configuration file; repeatable")
@click.option(
    "--log-level", default="info", type=click.Choice(["debug", "info", "warning", "error"]), help="of the log on stderr"
)
@settings_of.options()
def command(files: tuple[Path, ...], config: tuple[Path, ...], log_level: str, **flags: Any) -> int:
    """Take jobs from a source, run them, report them.

    FILES are job descriptions (JSON or JSON lines) for `--source local`. Jobs that an earlier pilot left unfinished in
    the same work directory are brought to their end first.
    """
    from pilot.lib import log

    settings = settings_of.load(flags, config)
    if files and settings.source != "local":
        raise click.UsageError(f"{files[0]}: files are for --source local, the source is {settings.source!r}")
    if settings.source == "panda" and not settings.url:
        raise click.UsageError("--url is missing: the base URL of the job server (or --source local FILE)")
    log.to_stderr(log_level)
    workdir = Path(settings.workdir).absolute()
    try:
        workdir.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        click.echo(f"pilot: {workdir}: {error.strerror}", err=True)
        return _EXIT_MKDIR
    with _only_pilot_in(workdir):
        return _run(settings, workdir, files)


def _run(settings: Settings, workdir: Path, files: tuple[Path, ...]) -> int:
    from pilot.core.errors import NoLocalSpace
    from pilot.core.staging import StagingSettings
    from pilot.db.store import Store
    from pilot.engine.agent import Agent
    from pilot.engine.means import Means
    from pilot.engine.monitor import Monitor
    from pilot.lib.loop import Loop
    from pilot.lib.process import become_subreaper
    from pilot.plugins.copytools.registry import ALIASES, by_scheme, registry
    from pilot.runtime.slots import slots_for
    from pilot.staging.toolbox import Toolbox
    from pilot.staging.transfer import Transferer

    become_subreaper()
    try:
        slots = slots_for(settings.slots, _this_node(workdir))
    except ValueError as error:
        raise click.UsageError(str(error)) from error
    try:
        store = Store(settings.db or workdir / "pilot.db")
    except NoLocalSpace as error:
        click.echo(f"pilot: {error}", err=True)
        return _EXIT_NO_SPACE
    loop = Loop()
    agent: Agent
    monitor = Monitor(
        lambda message: loop.post(lambda: agent.from_monitor(message)), interval_s=settings.monitor_interval
    )
    means = Means(
        settings=settings,
        workdir=workdir,
        store=store,
        loop=loop,
        source=_source(settings, files),
        slots=slots,
        transferer=Transferer(StagingSettings(), Toolbox(registry(), by_scheme(), ALIASES)),
        site=_site(settings, workdir),
        monitor=monitor,
        base_env=dict(os.environ),
        token=os.urandom(12).hex(),
    )
    means.pilot = store.add_pilot(
        host=socket.gethostname(),
        pid=os.getpid(),
        version=__version__,
        queue=settings.queue,
        source=settings.source,
        url=settings.url,
    )
    _write_braindump(settings, workdir, means.pilot)
    agent = Agent(means)
    code = agent.run()
    means.source.close()
    means.transferer.close()
    store.end_pilot(means.pilot, code)
    store.close()
    loop.close()
    return code


def _source(settings: Settings, files: tuple[Path, ...]) -> Source:
    from pilot.plugins.sources.registry import SOURCES

    kind: Any = SOURCES.load(settings.source)
    if settings.source == "local":
        found: Source = kind(files)
    elif settings.source == "panda":
        found = kind(_panda_settings(settings))
    else:
        found = kind()
    return found


def _panda_settings(settings: Settings) -> Any:
    from pilot.core.update import Node
    from pilot.plugins.sources.panda_settings import DialectName, PandaSettings

    return PandaSettings(
        url=settings.url,
        queue=settings.queue,
        label=settings.label,
        node=Node(host=socket.gethostname(), site=settings.queue, queue=settings.queue),
        dialect=DialectName(settings.dialect),
        ca_file=settings.cacert,
        ca_path=settings.capath,
        proxy=settings.proxy,
        token_file=settings.token_file,
        origin=settings.token_origin,
        answer_s=settings.http_timeout,
        user_agent=f"pilot/{__version__}",
    )


def _site(settings: Settings, workdir: Path) -> Any:
    """Where files come from and go to when no queue data tells more: local directories."""
    from pilot.core.storage import Access, StagingSite, Storage

    local = Storage("LOCAL", accesses=(Access(f"file://{workdir}/storage/"),))
    return StagingSite(
        name=settings.queue,
        queue=settings.queue,
        storages=(local,),
        astorages={"write_lan": ("LOCAL",), "read_lan": ("LOCAL",)},
        copytools={"pr": (settings.stage_in_mode,)},
        input_dir=str(Path(settings.input_dir).absolute()) if settings.input_dir else "",
        output_dir=str(Path(settings.output_dir).absolute()) if settings.output_dir else "",
    )


def _this_node(workdir: Path) -> Any:
    from pilot.runtime.slots import Node

    cpus = frozenset(os.sched_getaffinity(0))
    memory_mb = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 1024**2
    disk = os.statvfs(workdir)
    return Node(cores=len(cpus), memory_mb=memory_mb, disk_mb=disk.f_bavail * disk.f_frsize // 1024**2, cpus=cpus)


@contextlib.contextmanager
def _only_pilot_in(workdir: Path) -> Iterator[None]:
    """One pilot a work directory: a second one would take the first one's jobs for a dead pilot's."""
    import fcntl

    fd = os.open(workdir / ".pilot.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(fd)
        raise click.UsageError(f"another pilot is at work in {workdir}: give this one its own --workdir") from None
    try:
        yield
    finally:
        os.close(fd)


def _write_braindump(settings: Settings, workdir: Path, pilot: int) -> None:
    import json
    import time

    from pilot.engine.records import write_atomically

    facts = {
        "pilot": pilot,
        "version": __version__,
        "started": time.time(),
        "host": socket.gethostname(),
        "pid": os.getpid(),
        "user": os.getuid(),
        "workdir": str(workdir),
        "db": settings.db or str(workdir / "pilot.db"),
        "queue": settings.queue,
        "source": settings.source,
        "url": settings.url,
        "python": sys.version.split()[0],
    }
    write_atomically(workdir / "pilot.braindump.json", json.dumps(facts, indent=2) + "\n")
