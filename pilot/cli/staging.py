"""Puts the staging engine together from the environment: which tools, with whose credentials."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import click

from pilot import __version__
from pilot.core.staging import StagingSettings, ToolSettings

if TYPE_CHECKING:
    from pilot.core.settings import Settings
    from pilot.core.update import Node
    from pilot.engine.traces import Traces
    from pilot.staging.toolbox import Toolbox
    from pilot.staging.transfer import Transferer

_GRID_CERTIFICATES = "/etc/grid-security/certificates"


def tool_settings(
    environ: Mapping[str, str],
    options: Mapping[str, Mapping[str, str]] | None = None,
    proxy: str = "",
    object_keys: Callable[[str], Any] | None = None,
) -> ToolSettings:
    """What the copy tools are told: the environment, and the proxy, token and CA files that it names."""
    own = f"/tmp/x509up_u{os.geteuid()}"
    found = proxy or environ.get("X509_USER_PROXY", "") or (own if os.path.exists(own) else "")
    ca_path = environ.get("X509_CERT_DIR") or environ.get("SSL_CERT_DIR") or ""
    if not ca_path and os.path.isdir(_GRID_CERTIFICATES):
        ca_path = _GRID_CERTIFICATES
    return ToolSettings(
        environment=dict(environ),
        options={name: dict(words) for name, words in (options or {}).items()},
        proxy_file=found,
        ca_path=ca_path or environ.get("SSL_CERT_FILE", ""),
        object_keys=object_keys,
    )


def make_toolbox(settings: ToolSettings) -> Toolbox:
    """All registered copy tools under these settings."""
    from pilot.plugins.copytools.registry import ALIASES, abilities, by_scheme, registry
    from pilot.staging.toolbox import Toolbox

    return Toolbox(registry(), by_scheme(), ALIASES, settings, abilities())


def check_copytools(names: str) -> None:
    """Raise `UsageError` for a copy tool that nobody knows among these names, which blanks separate."""
    from pilot.lib.registry import UnknownPlugin
    from pilot.plugins.copytools.registry import ALIASES, registry

    for name in names.split():
        try:
            registry().load(ALIASES.get(name, name))
        except UnknownPlugin as error:
            raise click.UsageError(f"--copytool: {error}") from error


def make_transferer(settings: StagingSettings, tools: ToolSettings, token: str = "") -> Transferer:
    """A staging engine with all tools."""
    from pilot.staging.transfer import Transferer

    return Transferer(settings, make_toolbox(tools), token)


def credential_source(url: str, site: str, settings: ToolSettings) -> str:
    """By which rule the credential for a URL is found, and in which file; what is in it is never told."""
    from pilot.lib.urls import scheme_of
    from pilot.plugins.copytools.base import ToolError
    from pilot.staging.credentials import settings_at

    settings = settings_at(settings, site) if site else settings
    scheme = scheme_of(url)
    if scheme == "file":
        return ""
    if scheme in ("s3", "s3s"):
        from pilot.plugins.copytools.s3_place import keys_for, parse_url

        try:
            return keys_for(parse_url(url), settings, site).origin
        except ToolError as error:
            return f"none: {error.detail}"
    token = settings.token_file or settings.environment.get("BEARER_TOKEN_FILE", "")
    if not token and settings.environment.get("BEARER_TOKEN"):
        token = "BEARER_TOKEN"
    found = [f"token {token}"] if token else []
    found += [f"proxy {settings.proxy_file}"] if settings.proxy_file else []
    return ", ".join(found) or "none"


def make_traces(settings: Settings, node: Node) -> tuple[Traces | None, Callable[[], None]]:
    """Who tells Rucio of transfers, None if nobody shall, and how that is ended."""
    if not (settings.rucio_traces and settings.rucio_host):
        return None, lambda: None
    from pilot.engine.traces import Traces
    from pilot.lib.tracesink import TraceSink
    from pilot.staging.trace import trace_version

    sink = TraceSink(settings.rucio_host)
    user = proxy_owner(tool_settings(os.environ, proxy=settings.proxy).proxy_file)
    return Traces(sink.put, trace_version(__version__), node.host, node.site, settings.queue, user), sink.close


def proxy_owner(path: str) -> str:
    """Whose a proxy is, as traces name users; empty where there is none or it cannot be read."""
    from pilot.lib.certificate import owner

    try:
        return owner(path) if path else ""
    except (OSError, ValueError):
        return ""
