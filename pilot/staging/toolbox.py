"""The copy tools of one pilot: made when first needed, kept with their connections, closed at the end."""

from __future__ import annotations

import threading
from collections.abc import Mapping

from pilot.core.errors import UnknownCopyTool
from pilot.core.staging import ToolSettings
from pilot.lib.registry import Registry, UnknownPlugin
from pilot.plugins.copytools.base import CopyTool


class Toolbox:
    """Tools by name and by scheme. Any thread may ask; a tool is made once."""

    def __init__(
        self,
        tools: Registry[CopyTool],
        schemes: Mapping[str, str],
        aliases: Mapping[str, str],
        settings: ToolSettings | None = None,
    ) -> None:
        self._registry = tools
        self._schemes = dict(schemes)
        self._aliases = dict(aliases)
        self._settings = settings or ToolSettings()
        self._made: dict[str, CopyTool] = {}
        self._guard = threading.Lock()

    def tool(self, name: str) -> CopyTool:
        """The tool of that name, or of what queues call so. Raises `UnknownCopyTool`."""
        name = self._aliases.get(name, name)
        made = self._made.get(name)
        if made is None:
            with self._guard:
                made = self._made.get(name) or self._make(name)
                self._made[name] = made
        return made

    def _make(self, name: str) -> CopyTool:
        try:
            kind = self._registry.load(name)
        except UnknownPlugin as error:
            raise UnknownCopyTool(str(error)) from error
        return kind(self._settings)

    def name_for(self, source: str, target: str) -> str:
        """The name of the first choice for a pair of URLs. Raises `UnknownCopyTool` for a scheme nobody knows."""
        schemes = [scheme_of(source), scheme_of(target)]
        for scheme in schemes:
            if scheme not in self._schemes:
                known = ", ".join(sorted(self._schemes))
                raise UnknownCopyTool(f"no copy tool for {scheme}:// (known: {known})")
        remote = [scheme for scheme in schemes if scheme != "file"]
        return self._schemes[remote[-1] if remote else "file"]

    def close(self) -> None:
        """Close every tool that was made."""
        with self._guard:
            made, self._made = list(self._made.values()), {}
        for tool in made:
            tool.close()


def scheme_of(url: str) -> str:
    """The scheme of a URL in lower case; `file` for a path."""
    head, colon, _ = url.partition("://")
    if not colon:
        return "file"
    return head.lower()


def host_of(url: str) -> str:
    """`host:port` of a URL without its user; empty for a local one."""
    _, colon, rest = url.partition("://")
    return rest.partition("/")[0].rpartition("@")[2].lower() if colon else ""
