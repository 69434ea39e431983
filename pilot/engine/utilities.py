"""Utilities as the pilot sees them: those before stage-in are run, and all are told of in the job's log."""

from __future__ import annotations

import contextlib

from pilot.core.errors import PilotError
from pilot.engine.means import Means, Run
from pilot.engine.surroundings import surroundings
from pilot.lib.activelog import tail
from pilot.lib.command import run as run_command
from pilot.runtime.environment import payload_environment
from pilot.runtime.utilities import FOLDER, NOTES, Utility, When, chosen, read_notes


def utilities_of(means: Means, run: Run) -> tuple[Utility, ...]:
    """Those that the site has for this job."""
    return chosen(means.utilities, run.definition, means.queue_for(run.definition)) if means.utilities else ()


def before_stage_in(means: Means, run: Run) -> None:
    """Run what is to run before the inputs come, one after the other; none of them fails the job."""
    for utility in utilities_of(means, run):
        if utility.when is When.BEFORE_STAGE_IN and not run.cancel.is_set():
            try:
                run.log.info(f"utility {utility.name}: {_run(means, run, utility)}")
            except (OSError, PilotError) as error:
                run.log.error(f"utility {utility.name}: {error}")


def _run(means: Means, run: Run, utility: Utility) -> str:
    folder = run.directory / FOLDER
    folder.mkdir(exist_ok=True)
    env = payload_environment(means.base_env, run.definition, surroundings(means, run))
    ran = run_command(
        ("/bin/bash", "-c", utility.command),
        env={**env, "PILOT_UTILITY": utility.name},
        cancel=run.cancel,
        limit_s=utility.limit_s,
        cwd=str(run.directory),
    )
    (folder / f"{utility.name}.stdout").write_text(ran.out)
    (folder / f"{utility.name}.stderr").write_text(ran.err)
    return f"ended, it took longer than {utility.limit_s} s" if ran.late else f"exit code {ran.code}"


def tell(run: Run) -> None:
    """Note in the job's log how the utilities around the payload ended."""
    with contextlib.suppress(OSError):
        for name, code in read_notes(tail(run.directory / NOTES, 4096)):
            run.log.info(f"utility {name}: exit code {code}")
