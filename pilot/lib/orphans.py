"""Ending what earlier pilots left of payloads and of transfers: all are told at once, and waited for together."""

from __future__ import annotations

import os
import signal
from collections.abc import Sequence

from pilot.lib import kin
from pilot.lib.cgroup import attach
from pilot.lib.kin import Identity
from pilot.lib.procfs import Proc

TRANSFERS = "PILOT_TRANSFERS"
"""The environment variable that marks every program that moves files for a pilot of one work directory."""


def end_transfers(mark: str, grace_s: float, proc: Proc | None = None) -> list[int]:
    """End the programs that a dead pilot had move files, found by their mark and older than this process; whom it met.

    They would go on to write where their successors write.
    """
    proc = proc or Proc()
    me = proc.stat(os.getpid())
    if me is None or not mark:
        return []
    born = me.start_ticks
    everyone = proc.everyone()
    found = [
        pid
        for pid, stat in everyone.items()
        if stat.alive and pid != me.pid and stat.start_ticks <= born and proc.has_variable(pid, TRANSFERS, mark)
    ]
    left = found
    for number, patience_s in ((signal.SIGTERM, grace_s), (signal.SIGKILL, 2.0)):
        left = [pid for pid in left if (stat := proc.stat(pid)) is not None and stat.alive]
        if not left:
            break
        kin.signal_and_wait(left, number, patience_s, proc)
    return found


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
