"""Carries transfers out: groups, lanes, retries, other sources. Every copy tool gets all of this for nothing.

The thread that calls `Transferer.carry_out` decides everything and keeps all state; lanes only run one tool over
one list of files and tell what came of each. When there is but one lane, it is the calling thread itself.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING

from pilot.core.staging import StagingSettings
from pilot.core.transfer import Outcome, Transfer
from pilot.lib.cancel import Cancel
from pilot.staging.course import Course, OnAttempt, OnBytes
from pilot.staging.gate import HostGate
from pilot.staging.toolbox import Toolbox

if TYPE_CHECKING:
    import random


class Transferer:
    """Moves files for a whole pilot. Any number of threads may call `carry_out` at once.

    `token` goes into the names of files that still grow: with the same one, a pilot that starts again writes over
    what its dead predecessor left. Empty means one of its own.
    """

    def __init__(self, settings: StagingSettings, toolbox: Toolbox, token: str = "", seed: int | None = None) -> None:
        self.settings = settings
        self.toolbox = toolbox
        self.gate = HostGate(settings.host_limit)
        self.pace: dict[str, float] = {}
        self.token = token or f"{os.getpid():x}{os.urandom(4).hex()}"
        self._seed = seed

    @cached_property
    def dice(self) -> random.Random:
        """What the length of pauses is drawn from."""
        import random

        return random.Random(self._seed)

    def carry_out(
        self,
        transfers: Sequence[Transfer],
        *,
        cancel: Cancel,
        on_attempt: OnAttempt | None = None,
        on_bytes: OnBytes | None = None,
    ) -> list[Outcome]:
        """Bring every file to all its targets; one `Outcome` for each transfer, in order.

        Never raises for a file: what went wrong is in `Outcome.failure`. A local file is whole and verified under its
        final name, or not there. `on_attempt` is called in the calling thread, once for each try, as it ends;
        `on_bytes` in any thread. Setting `cancel` ends the work within about 100 ms, in the middle of a file too.
        """
        return Course(self, transfers, cancel, on_attempt, on_bytes).run()

    def close(self) -> None:
        """Let go of all connections."""
        self.toolbox.close()
