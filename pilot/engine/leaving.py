"""The last thing a pilot does, however it ends: nothing that it started stays behind."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from functools import partial

from pilot.engine.means import Run
from pilot.lib import kin
from pilot.lib.cgroup_ground import Ground
from pilot.lib.worker import all_at_once

_log = logging.getLogger("pilot.leaving")
#: How many containers are ended at the same time, and how long their runtimes may take for all of them.
_AT_ONCE, _CONTAINERS_S = 8, 20.0
_DYING_S = 0.5


def leave_nothing(runs: Iterable[Run], ground: Ground | None) -> None:
    """End payloads with their containers at once and remove their cgroups; nothing happens when all jobs are done.

    Waits for runtimes, so the loop must not be needed any more. What cannot be ended stays noted in the PilotDB.
    """
    left = list(runs)
    for run in left:
        if run.child is not None:
            run.child.kill()
    boxes = [run.box for run in left if run.box and run.box.container.traits.daemon and not run.box_ended]
    works = [partial(box.container.end, box.request.name) for box in boxes]
    wrong = all_at_once("leaving", works, _AT_ONCE, _CONTAINERS_S)
    for box, error in zip(boxes, wrong, strict=True):
        if error is not None:
            _log.error("container %s could not be ended: %s", box.mark, error)
    for run in left:
        if run.group is not None and not run.group.remove():
            kin.wait_for(run.group.pids(), _DYING_S)
            run.group.remove()
    if ground is not None:
        ground.restore()
