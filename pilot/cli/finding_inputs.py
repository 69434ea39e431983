"""How a pilot finds its jobs' inputs: which catalogue it asks, how fast sources are known to be, who reads in place."""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pilot.cli.experiment import section
from pilot.core.queue import QueueData
from pilot.core.settings import Settings
from pilot.lib.speeds import Speeds, speeds_file

if TYPE_CHECKING:
    from pilot.core.transfer import Outcome, Transfer
    from pilot.staging.catalogue import Catalogue
    from pilot.staging.toolbox import Toolbox

_RUCIO_CONFIGURATION = "etc/rucio.cfg"
#: Nothing is sent there: the kernel is asked by which address it would be.
_ELSEWHERE = ("192.0.2.1", 9)


def tool_options(settings: Settings, queue: QueueData | None = None) -> dict[str, dict[str, str]]:
    """What the queue and the command line say of single copy tools, by their own names."""
    from pilot.plugins.copytools.registry import ALIASES

    found = {ALIASES.get(name, name): dict(words) for name, words in (queue.tool_settings if queue else {}).items()}
    if settings.rucio_python:
        found["rucio"] = {**found.get("rucio", {}), "python": settings.rucio_python}
    return found


def catalogue(settings: Settings, toolbox: Toolbox, host: str, environ: Mapping[str, str]) -> Catalogue | None:
    """Who is asked for replicas; None for nobody."""
    if settings.replicas == "none":
        return None
    from pilot.staging.catalogue import Catalogue

    location: dict[str, Any] = {"fqdn": host, "ip": _address(), "site": environ.get("RUCIO_LOCAL_SITE_ID", "")}
    location["latitude"] = _degrees(environ.get("RUCIO_LATITUDE", ""))
    location["longitude"] = _degrees(environ.get("RUCIO_LONGITUDE", ""))
    return Catalogue(
        toolbox,
        {name: value for name, value in location.items() if value not in ("", None)},
        always=settings.replicas == "rucio",
        known=_is_set_up(environ),
        attempts=settings.stageout_attempts,
    )


def speeds(named: str) -> Speeds:
    """The measured speeds of sources: in the file that is named, `none`, or where all pilots of the node have them."""
    if named == "none":
        return Speeds()
    return Speeds(Path(named) if named else speeds_file())


def fastest_first(transfers: Sequence[Transfer], speeds: Speeds) -> tuple[Transfer, ...]:
    """The same transfers; of sources with the same priority the faster one is tried first."""
    from msgspec.structs import replace

    from pilot.staging.replicas import speed_class
    from pilot.staging.sitemap import in_order

    known = speeds.known() if any(len(transfer.sources) > 1 for transfer in transfers) else {}
    if not known:
        return tuple(transfers)
    ordered = []
    for transfer in transfers:
        if len(transfer.sources) > 1:
            places = sorted(transfer.sources, key=lambda place: (-place.priority, -speed_class(place.url, known)))
            transfer = replace(transfer, sources=in_order(places))
        ordered.append(transfer)
    return tuple(ordered)


def remember(outcomes: Sequence[Outcome], speeds: Speeds) -> None:
    """Note how fast the sources were."""
    from pilot.staging.measured import speeds_of

    speeds.note(speeds_of(outcomes))


def remote_options(experiment: str) -> str:
    """What the experiment adds to the command line of a user's transformation that reads its inputs in place."""
    return str(section(experiment, "payload").get("reads_in_place", ""))


def _is_set_up(environ: Mapping[str, str]) -> bool:
    if environ.get("RUCIO_HOME") or environ.get("RUCIO_CONFIG"):
        return True
    homes = ("/opt/rucio", environ.get("VIRTUAL_ENV", ""))
    return any(os.path.isfile(os.path.join(home, _RUCIO_CONFIGURATION)) for home in homes if home)


def _degrees(text: str) -> float | None:
    """Where on the globe; None for what is no number."""
    try:
        return float(text)
    except ValueError:
        return None


def _address() -> str:
    try:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            probe.connect(_ELSEWHERE)
            return str(probe.getsockname()[0])
    except OSError:
        return ""
