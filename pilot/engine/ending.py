"""What is done with a job that has come to its end: its hold on the machine is let go, its directory is cleaned up."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from functools import partial

from pilot.engine import concealed, jobdir
from pilot.engine.means import CHORES, Means, Run
from pilot.engine.reserve import Reserve
from pilot.lib.loop import Timer

_log = logging.getLogger("pilot.agent")
#: How often it is looked whether the directory that is cleaned up still answers.
_LOOK_S = 20.0


def let_go(run: Run) -> None:
    """Close what is open for the job. Called in the loop's thread."""
    for name in list(run.timers):
        run.drop_timer(name)
    run.log.close()
    if run.child is not None:
        run.child.close()
    elif run.group is not None:
        run.group.remove()


def clean_up(means: Means, reserve: Reserve, run: Run) -> None:
    """Wait for what is left of its container, and remove what is not to be kept. Called in a staging thread."""
    keep = "none" if run.facts.no_cleanup else means.settings.cleanup
    if run.box is not None and run.box.container.traits.daemon and not run.box_ended:
        run.box.end()  # the job is over, and the pilot may be next: nobody else would wait for it
    concealed.forget(run.directory, run.key)
    jobdir.clean_up(run.directory, keep)
    reserve.keep()


def clean_up_aside(means: Means, reserve: Reserve, run: Run, then: Callable[[], None]) -> None:
    """Have that done, and `then` called in the loop's thread; a directory that does not answer is not waited for."""
    over = False
    again: Timer

    def cleaned() -> None:
        nonlocal over
        if not over:
            over = True
            again.cancel()
            then()

    def look() -> None:
        nonlocal again
        if means.disk.answers(run.key, lambda: os.listdir(run.directory)):
            again = means.loop.after(_LOOK_S, look)
        else:
            _log.error("job %s: %s does not answer: what is in it stays there", run.key, run.directory)
            cleaned()

    again = means.loop.after(_LOOK_S, look)
    work = partial(clean_up, means, reserve, run)
    means.staging.submit(CHORES, work, lambda _, error: means.loop.post(cleaned))
