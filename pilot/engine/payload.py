"""One payload: how it is started, told to end, and what is read from what it leaves."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Iterator, Mapping
from pathlib import Path

import msgspec

from pilot.core import diagnose
from pilot.core.command import Command
from pilot.core.errors import (
    Failure,
    NoLocalSpace,
    PayloadExecutionException,
    PayloadExecutionFailure,
    PilotError,
    first_of,
)
from pilot.core.facts import Facts
from pilot.core.job import Exit
from pilot.core.limits import Limits, aftermath
from pilot.core.registrylogins import TOKENS, logins_of
from pilot.core.series import memory_leak
from pilot.core.usage import Usage
from pilot.engine import records, utilities
from pilot.engine.bounds import bounds_of, limits_of
from pilot.engine.boxes import Box
from pilot.engine.concealed import PAYLOADS_OWN
from pilot.engine.leavings import Leavings, disk_mb, gather, of_disk
from pilot.engine.means import CHORES, Means, Run
from pilot.engine.surroundings import surroundings
from pilot.lib.files import local_path, write_atomically
from pilot.lib.kin import Identity
from pilot.lib.process import Child, spawn
from pilot.lib.procfs import Proc
from pilot.runtime import steps
from pilot.runtime.environment import payload_environment
from pilot.runtime.payload_command import PayloadCommand, payload_command
from pilot.runtime.remote_inputs import with_turls

#: How long until a container's daemon is asked again for a container that is not there yet.
_ASK_AGAIN_S = 0.5
#: How long what a payload left is waited for: a disk under heavy load takes seconds.
_PATIENCE_S = 10.0
_OF_BATCH_SYSTEMS = frozenset(
    {signal.SIGTERM, signal.SIGINT, signal.SIGQUIT, signal.SIGUSR1, signal.SIGUSR2, signal.SIGXCPU, signal.SIGHUP}
)


def announce(means: Means, run: Run) -> None:
    """Let the PilotDB know the token, and the container, of what is about to start. Raises `PilotError`.

    So there is no moment in which a killed pilot would leave a process that the next one cannot find.
    """
    token = _token(means, run)
    queue = means.queue_for(run.definition)
    name = f"pilot-{means.token[:12]}-{run.key}-{run.facts.runs}"
    limits = _limits(means, run)
    bounds = bounds_of(limits, run.grant)
    folder = str(run.directory)
    logins = logins_of(run.secrets.get(TOKENS))
    run.box_ended = False
    run.box = means.boxes.box_of(run.definition, queue, name, folder, token, run.grant, bounds, logins)
    run.group = means.ground.make(name, bounds) if means.ground else None
    intent = Identity(0, f"{Proc().boot_id()}:0", 0, token, run.group.identity if run.group else "")
    means.store.add_process(run.key, msgspec.json.encode(intent).decode(), run.box.mark if run.box else "")
    cores = run.grant.cores if run.grant else run.definition.cores
    means.store.begin_run(run.key, run.facts.runs, means.pilot, max(1, cores))


def note_end(means: Means, run: Run, facts: Facts) -> None:
    """Let the PilotDB know that nothing of the payload runs any more, and what it has used."""
    means.store.end_processes(run.key)
    means.store.end_run(run.key, facts.runs, facts.usage.cpu_s if facts.usage else None)


def _token(means: Means, run: Run) -> str:
    return f"{means.token}-{run.key}-{run.facts.runs}"


def start(means: Means, run: Run) -> None:
    """Start the payload in the job's directory, under the monitor. Raises `PilotError` when it cannot be started."""
    setup = means.variables.release.setup(run.definition)
    launched = run.box is not None and run.box.request.launcher is not None
    command = payload_command(
        with_turls(run.definition, run.turls, means.remote_options),
        present=means.disk.need(run.key, lambda: _names(run.directory), _PATIENCE_S),
        setup=() if launched or run.definition.image else setup,  # an image that a job names brings its own software
        utilities=utilities.utilities_of(means, run),
    )
    env = payload_environment(means.base_env, run.definition, surroundings(means, run)) | run.variables
    try:
        means.disk.need(run.key, lambda: _lay_out(means, run, command, env), _PATIENCE_S)
        with _opened(run.directory / "payload.stdout") as out, _opened(run.directory / "payload.stderr") as err:
            cpus = run.grant.cpus if run.grant and run.grant.cpus else None
            inner = Command(command.argv, str(run.directory), env, setup=setup if launched else ())
            in_place = [path for url in run.turls.values() if (path := local_path(url))]
            outer = run.box.wrap(inner, in_place) if run.box else inner
            for name, text in outer.files.items():
                (run.directory / name).write_text(text)
            run.written = tuple(outer.files)
            run.child = spawn(
                outer.argv,
                cwd=Path(outer.cwd),
                env=outer.env,
                stdout=out,
                stderr=err,
                cpus=cpus,
                cgroup=run.group,
                token=_token(means, run),
            )
    except OSError as error:
        kind = NoLocalSpace if error.errno == 28 else PayloadExecutionException
        raise kind(f"{error.filename or run.directory}: {error.strerror}") from error
    with contextlib.suppress(NoLocalSpace):  # its token is noted already, that is proof enough
        means.store.add_process(run.key, msgspec.json.encode(run.child.identity).decode())
    outputs = [file.lfn for file in run.definition.outputs]
    gpus = run.grant.gpus if run.grant else ()
    means.monitor.watch(run.key, run.child, run.directory, _limits(means, run), outputs, gpus)
    if run.box is not None and run.box.container.traits.daemon:
        watch_inside(means, run, run.box, run.child)
    line = " ".join(command.line.split())
    run.log.info(f"payload started, pid {run.child.pid}: {line[:300]}")


def _lay_out(means: Means, run: Run, command: PayloadCommand, env: Mapping[str, str]) -> None:
    """Write what the payload finds in the job's directory, and what runs it again by hand."""
    for name, text in command.files.items():
        (run.directory / name).write_text(text)
    if run.secrets:
        write_atomically(run.directory / PAYLOADS_OWN, msgspec.json.encode(run.secrets), mode=0o600)
    _make_executable(run.directory, run.definition.transformation)
    script = records.replay_script(run.definition, command.argv, env, run.sources)
    (run.directory / "replay.sh").write_text(means.redactor.scrub(script))
    (run.directory / "replay.sh").chmod(0o755)


def watch_inside(means: Means, run: Run, box: Box, child: Child) -> None:
    """Have what a container's daemon runs watched as the payload's own, from when it is there."""

    def ask() -> None:
        if run.child is child and child.exit is None:
            means.staging.submit(CHORES, lambda: box.container.pid(box.request.name), told)

    def told(pid: int | None, error: PilotError | None) -> None:
        if pid is None or not means.monitor.include(run.key, pid):
            means.loop.post(later)

    def later() -> None:
        means.loop.after(_ASK_AGAIN_S, ask)

    ask()


def end(means: Means, run: Run) -> None:
    """Tell the payload to end, and end it if it does not."""
    child = run.child
    if child is None or run.kill_sent:
        return
    run.kill_sent = True
    child.terminate()
    run.set_timer("kill", means.loop.after(means.settings.kill_after, lambda: _kill(means, run, child)))


def _limits(means: Means, run: Run) -> Limits:
    total_mb = of_disk(means, run, lambda: disk_mb(run.directory), 0)
    queue = means.queue_for(run.definition)
    return limits_of(run.definition, queue, total_mb, means.own_limits, means.resource_types)


class Finish:
    """What is done once the payload's first process has ended."""

    def __init__(self, means: Means, run: Run) -> None:
        assert run.child is not None
        self._means, self._run, self._child = means, run, run.child
        self.told: list[int] = []

    def leftovers(self) -> bool:
        """End what the payload left running; True if there was anything."""
        self.told = self._child.terminate()
        return bool(self.told)

    def signalled_from_outside(self) -> bool:
        """Whether it was ended by a signal that batch systems send to a whole job, this pilot included."""
        exit = self._child.poll()
        return exit is not None and exit.status - 128 in _OF_BATCH_SYSTEMS

    def collect(self) -> tuple[Failure | None, Facts]:
        """Read how it ended: the failure, if it failed, and the facts."""
        run = self._run
        self._child.kill()
        end_box(self._means, run)
        exit = self._child.poll() or Exit(code=255)
        means = self._means
        usage = means.monitor.unwatch(run.key)
        usage = run.box.counted(usage) if run.box else usage
        left = of_disk(means, run, lambda: gather(run, means.workdir, means.redactor), Leavings(), _PATIENCE_S)
        facts = msgspec.structs.replace(
            run.facts,
            exit=exit,
            usage=usage,
            events=records.events_of(left.report) if left.report else None,
            payload_error=records.payload_error_of(left.report, left.complaint),
            metrics={**run.facts.metrics, **self._metrics()},
        )
        run.log.info(f"payload ended with {_words(exit)} after {usage.wall_s:.1f} s, {usage.cpu_s:.1f} s of CPU")
        if (around := steps.verdict(run.definition, left.notes, left.step_words)) is not None:
            return around, msgspec.structs.replace(facts, exit=_payload_exit(left.notes))
        if run.definition.hpo and exit.code in (steps.NO_POINTS, steps.ALL_DONE, steps.LOOP_LIMIT):
            exit = _payload_exit(left.notes) or Exit(code=0)
            facts = msgspec.structs.replace(facts, exit=exit)
        return self._failure(exit, usage, left, facts.payload_error), facts

    def _failure(self, exit: Exit, usage: Usage, left: Leavings, said: tuple[int, str] | None) -> Failure | None:
        """What is wrong: the container's trouble, the payload's own, and what shows only afterwards."""
        failure: Failure | None = None
        words = left.words
        if exit.code != 0 and self._run.box is not None:
            failure = self._run.box.diagnose(exit, words.text)
        if failure is None:
            launched = self._run.box is not None and self._run.box.request.launcher is not None
            around = diagnose.Surroundings(usage.oom_kills, alrb=launched, on_stdout=words.on_stdout)
            failure = diagnose.diagnose(exit, words.text, said, around)
        if failure is None and said is not None:
            failure = PayloadExecutionFailure(f"exit code 0, but it reports error {said[0]}: {said[1]}").failure()
        if failure is not None and left.full:
            failure = first_of(failure, NoLocalSpace("nothing is left on the disk of the work directory").failure())
        after = aftermath(_limits(self._means, self._run), usage)
        if after is None or (failure is not None and failure.code == after.code):
            return after or failure  # the same, told with peak and limit
        return first_of(failure, after)

    def _metrics(self) -> dict[str, str]:
        """What the memory's time series and the machine's features add to jobMetrics."""
        found = dict(self._means.here.metrics)
        hs06 = self._means.here.hs06
        if hs06:
            found["hs06"] = f"{hs06:.1f}"
        times, memory_kb = self._means.store.memory_series(self._run.key)
        if (leak := memory_leak(times, memory_kb)) is not None:
            found["leak"] = f"{leak.slope_kb_s:.2f}"
            found["chi2"] = f"{leak.chi2:.2f}"
            found["intersect"] = f"{leak.intersect_kb:.2f}"
        return found


def _names(directory: Path) -> set[str]:
    with contextlib.suppress(OSError):
        return set(os.listdir(directory))
    return set()


def _make_executable(directory: Path, transformation: str) -> None:
    """A transform that came as a file (downloaded, or among the inputs) is run from the job's directory."""
    path = directory / os.path.basename(transformation.rstrip("/"))
    if transformation and path.is_file() and not os.access(path, os.X_OK):
        path.chmod(path.stat().st_mode | 0o755)


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[int]:
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND | os.O_CLOEXEC, 0o644)
    try:
        yield fd
    finally:
        os.close(fd)


def _payload_exit(notes: list[steps.Noted]) -> Exit | None:
    code = steps.payload_code(notes)
    return None if code is None else Exit(code=code)


def _words(exit: Exit) -> str:
    return f"exit code {exit.code}" if exit.signal is None else f"signal {exit.signal}"


def _kill(means: Means, run: Run, child: Child) -> None:
    child.kill()
    end_box(means, run)


def end_box(means: Means, run: Run) -> None:
    """Have the container of a daemon ended; `run.box_ended` tells when it is."""
    box = run.box
    if box is not None and box.container.traits.daemon:

        def ended(_: None, error: PilotError | None) -> None:
            run.box_ended = run.box is box and error is None

        means.staging.submit(CHORES, lambda: box.container.end(box.request.name), ended)
