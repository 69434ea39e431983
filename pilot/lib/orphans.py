"""Ending what earlier pilots left of many payloads: all are told at once, and waited for together."""

from __future__ import annotations

import signal
from collections.abc import Sequence

from pilot.lib import kin
from pilot.lib.cgroup import attach
from pilot.lib.kin import Identity
from pilot.lib.procfs import Proc


def end_all(identities: Sequence[Identity], grace_s: float, proc: Proc | None = None) -> list[list[int]]:
    """End these payloads: TERM to all, up to `grace_s` for all together, KILL. Their cgroups are removed.

    Returns what could not be ended, payload by payload.
    """
    proc = proc or Proc()
    for number, patience_s in ((signal.SIGTERM, grace_s), (signal.SIGKILL, 2.0), (signal.SIGKILL, 2.0)):
        left = [pid for identity in identities for pid in kin.anywhere(identity, proc)]
        if not left:
            break
        kin.signal_and_wait(list(dict.fromkeys(left)), number, patience_s, proc)
    return [_settle(identity, proc) for identity in identities]


def _settle(identity: Identity, proc: Proc) -> list[int]:
    left = kin.anywhere(identity, proc)
    group = attach(identity.cgroup)
    if group is not None and not left:
        group.remove()
    return left
