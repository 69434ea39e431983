"""The signals that tell a pilot to end, and as which error its jobs are told of it (protocol.md 6.4)."""

from __future__ import annotations

import signal

from pilot.core.errors import KillSignal, PilotError, Sigint, Sigquit, Sigterm, Sigusr1, Sigxcpu

SIGNALS: dict[int, type[PilotError]] = {
    signal.SIGINT: Sigint,
    signal.SIGTERM: Sigterm,
    signal.SIGQUIT: Sigquit,
    signal.SIGUSR1: Sigusr1,
    signal.SIGXCPU: Sigxcpu,
    signal.SIGUSR2: KillSignal,
    signal.SIGHUP: KillSignal,
}
