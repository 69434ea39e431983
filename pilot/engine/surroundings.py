"""What stands around one payload: where it is, what it was granted, what its queue and the site say."""

from __future__ import annotations

from pilot.engine.means import Means, Run
from pilot.lib.shellenv import Change
from pilot.runtime.environment import Surroundings


def surroundings(means: Means, run: Run) -> Surroundings:
    """What the payload's environment is made of, besides its definition.

    Before stage-in a named environment may not be known yet, and is left out. Raises `SetupFailure` for one that nobody
    knows.
    """
    grant, queue = run.grant, means.queue_for(run.definition)
    change = means.environments.known(means.environments.name_of(run.definition, queue)) or Change()
    return Surroundings(
        workdir=run.box.request.work_inside if run.box else str(run.directory),
        cores=run.definition.cores,
        memory_mb=run.definition.memory_mb,
        gpus=_gpus(run) if grant and means.here.facts.gpus else None,
        queue=queue.name,
        site=queue.site,
        environ=change.put | queue.environ,
        drop=change.drop,
        add=means.variables.of(run.definition),
        withheld=means.variables.withheld_from(run.definition),
    )


def _gpus(run: Run) -> tuple[str, ...]:
    """The granted GPUs as the payload has to name them: where it sees no others, numbers start anew."""
    assert run.grant is not None
    gpus = run.grant.gpus
    if run.box is None or not run.box.container.traits.own_gpus:
        return gpus
    return tuple(gpu if not gpu.isdigit() else str(number) for number, gpu in enumerate(gpus))
