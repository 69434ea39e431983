"""How `pilot run` reaches a PanDA server: its settings in the source's words."""

from __future__ import annotations

from pilot import __version__
from pilot.core.settings import Settings
from pilot.core.update import Node
from pilot.plugins.sources.panda_settings import DialectName, PandaSettings


def panda_settings(settings: Settings, node: Node) -> PandaSettings:
    """Who asks, what for, and where."""
    return PandaSettings(
        url=_with_port(settings.url, settings.port),
        queue=settings.queue,
        label=settings.label,
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


def _with_port(url: str, port: int) -> str:
    from urllib.parse import urlsplit

    parts = urlsplit(url if "://" in url else f"https://{url}")
    if not port or parts.port:
        return url
    return parts._replace(netloc=f"{parts.netloc}:{port}").geturl()
