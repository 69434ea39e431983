"""What all calls for transfers of one pilot share."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import random

    from pilot.core.staging import StagingSettings
    from pilot.staging.gate import HostGate
    from pilot.staging.toolbox import Toolbox


class Owner(Protocol):
    """Made once. `pace` holds the seconds that a small file takes, by lane; `token` marks half-written files."""

    settings: StagingSettings
    toolbox: Toolbox
    gate: HostGate
    token: str
    pace: dict[str, float]

    @property
    def dice(self) -> random.Random:
        """What the length of pauses is drawn from."""
