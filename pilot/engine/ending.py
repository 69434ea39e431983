"""What is done with a job that has come to its end: its hold on the machine is let go, its directory is cleaned up."""

from __future__ import annotations

from pilot.engine import concealed, jobdir
from pilot.engine.means import Means, Run
from pilot.engine.reserve import Reserve


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
