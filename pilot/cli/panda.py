"""How `pilot run` reaches a PanDA server: its settings in the source's words."""

from __future__ import annotations

from typing import Any

from msgspec.structs import replace

from pilot import __version__
from pilot.core.errors import NoProxy
from pilot.core.settings import Settings
from pilot.core.update import Node
from pilot.plugins.sources.panda_settings import DialectName, PandaSettings

_OWN = "self"


def panda_settings(settings: Settings, node: Node) -> PandaSettings:
    """Who asks, what for, and where."""
    return PandaSettings(
        url=_with_port(settings.url, settings.port),
        queue=settings.queue,
        label="user" if settings.label == _OWN else settings.label,
        node=node,
        dialect=DialectName(settings.dialect),
        ca_file=settings.cacert,
        ca_path=settings.capath,
        proxy=settings.proxy,
        token_file=settings.token_file,
        origin=settings.token_origin,
        answer_s=settings.http_timeout,
        resource_type=settings.resource_type,
        job_type=settings.job_type,
        working_group=settings.working_group,
        country_group=settings.country_group,
        other_country=settings.other_country,
        user_agent=f"pilot/{__version__}",
    )


def settings_for_jobs(settings: Settings, node: Node, gpus: tuple[dict[str, Any], ...] | None = None) -> PandaSettings:
    """The same for who asks for jobs, with these GPUs to give to them: the label `self` means one's own. Raises
    `NoProxy` if nobody knows whose."""
    found = replace(panda_settings(settings, node), gpus=gpus)
    return replace(found, user_id=_own_name(settings)) if settings.label == _OWN else found


def _own_name(settings: Settings) -> str:
    """The name in our certificate; with a token the server itself knows whose jobs are asked for."""
    if settings.token_file and not settings.proxy:
        return ""
    from pilot.lib.certificate import owner

    try:
        return owner(settings.proxy or settings.cacert)
    except (OSError, ValueError) as error:
        raise NoProxy(f"jobs of one's own (label self) need a certificate that says whose: {error}") from error


def _with_port(url: str, port: int) -> str:
    from urllib.parse import urlsplit

    parts = urlsplit(url if "://" in url else f"https://{url}")
    if not port or parts.port:
        return url
    return parts._replace(netloc=f"{parts.netloc}:{port}").geturl()
