"""Where a job's inputs lie, as Rucio tells it: all of them asked for at once (protocol.md 8.2)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

import msgspec

from pilot.core.errors import ReplicaNotFound, RucioListReplicasFailed, StageInFailed
from pilot.core.job import InputFile, JobDefinition
from pilot.core.storage import StagingSite
from pilot.lib.cancel import Cancel
from pilot.plugins.copytools.base import Fault, ReplicaCatalogue, ToolError
from pilot.staging.faults import TRANSIENT
from pilot.staging.plan import read_activities, read_tools
from pilot.staging.replicas import Resolved, resolved, schemes_for
from pilot.staging.toolbox import Toolbox

#: What is asked for where the queue does not say which schemes it wants.
_SCHEMES = ("srm", "root", "davs", "gsiftp", "https", "storm", "file")
_TOOL = "rucio"
#: Of inputs that are read through caches of the site (`useVP`): how, and from which storages.
_THROUGH_CACHES, _NOT_PLACED = ("root",), r"istape=False\type=SPECIAL"


class Catalogue:
    """Asks Rucio. Any thread.

    `location` is our place as the server shall see it (`ip`, `fqdn`, `site`, ...). With `always` it is asked whatever
    tools the queue has, and nobody else is; else for queues whose tools go by replicas, and then, unless `rucio` is
    among these, only if `known`: if Rucio is set up here.
    """

    def __init__(
        self,
        toolbox: Toolbox,
        location: Mapping[str, Any],
        *,
        always: bool = False,
        known: bool = True,
        attempts: int = 2,
        pause_s: float = 2.0,
    ) -> None:
        self._toolbox = toolbox
        self._location = dict(location)
        self._always, self._known = always, known
        self._attempts, self._pause_s = max(1, attempts), pause_s

    def find(self, definition: JobDefinition, site: StagingSite, cancel: Cancel) -> dict[str, Resolved]:
        """What is known of the job's inputs by `scope:lfn`, without replicas for those that Rucio does not know.

        Empty when nobody needs to be asked. What Rucio is silent about is marked so (`silence`), but where it is asked
        in any case: then it has the last word, and `RucioListReplicasFailed` is raised when it does not answer. Raises
        `StageInFailed` when cancelled.
        """
        dids = [f"{item.scope}:{item.lfn}" for item in definition.inputs if _is_open(item, site)]
        if not dids or not self._is_wanted(definition, site):
            return {}
        schemes, expression = schemes_for(site, read_activities(definition, site)) or _SCHEMES, ""
        if definition.virtual_placement:
            schemes, expression = _THROUGH_CACHES, _NOT_PLACED
        location = {**({"site": site.name} if site.name else {}), **self._location}
        tool = cast(ReplicaCatalogue, self._toolbox.tool(_TOOL))
        for left in reversed(range(self._attempts)):
            try:
                told = tool.replicas(dids, schemes, location, cancel, expression)
                return {did: self._read(did, told.get(did, {})) for did in dids}
            except ToolError as error:
                if error.fault is Fault.CANCELLED:
                    break
                if not left or error.fault not in TRANSIENT:
                    failed = RucioListReplicasFailed(error.detail or str(error))
                    if self._always:
                        raise failed from error
                    return dict.fromkeys(dids, Resolved(silence=failed))
            if cancel.wait(self._pause_s):
                break
        raise StageInFailed("cancelled while Rucio was asked")

    def _read(self, did: str, told: Mapping[str, Any]) -> Resolved:
        found = resolved(told)
        if found.replicas or self._always:
            return found
        return msgspec.structs.replace(found, silence=ReplicaNotFound(f"{did}: the catalogue knows none"))

    def _is_wanted(self, definition: JobDefinition, site: StagingSite) -> bool:
        if self._always:
            return True
        names = [self._toolbox.proper(name) for name in read_tools(definition, site)]
        if _TOOL in names:
            return True
        known = filter(self._toolbox.is_known, names if self._known else ())
        return any(self._toolbox.tool(name).ability.by_replica for name in known)


def _is_open(item: InputFile, site: StagingSite) -> bool:
    """Whether nothing else tells where an input lies."""
    told = item.path or "://" in item.lfn or site.input_dir or item.storage_id is not None
    return bool(item.scope) and not told
