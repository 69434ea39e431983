"""What a payload needs to work through event ranges: `from pilot.events import ranges`.

    for r in ranges():
        write_histogram(r.path, r.start_event, r.last_event, "out.root")   # both ends included
        r.done("out.root")                                                 # or r.failed("why")

Each range has `id, lfn, guid, scope, start_event, last_event, path` and ends with exactly one `done` or `failed`. Any
number of workers of one payload (processes, or one process on several nodes of one file system) may do this at once:
the pilot gives each range to one of them, and to another if that one dies. The iteration ends when the pilot has no
more. An output must have a name of its own and stay where it is: the pilot fetches it.

The pilot puts this package alone on the payload's PYTHONPATH and its endpoint into `PILOT_EVENTS`. Needs Python 3.8
and the standard library; uses pyzmq where it is installed, a local stream socket where it is not.
The messages are described in configs/schema/events.json.
"""

from pilot.events.client import NoPilot, Range, ranges
from pilot.events.wire import PilotGone

__all__ = ["NoPilot", "PilotGone", "Range", "ranges"]
