"""The copy tools of one pilot: made when first needed, kept with their connections, closed at the end."""

from __future__ import annotations

import threading
from collections.abc import Mapping

from pilot.core.errors import NoStorageProtocol, UnknownCopyTool
from pilot.core.staging import ToolSettings
from pilot.lib.registry import Registry, UnknownPlugin
from pilot.lib.urls import scheme_of
from pilot.plugins.copytools.base import CopyTool


class Toolbox:
    """Tools by name and by scheme. Any thread may ask; a tool is made once.

    `schemes` tells the first choice for each URL scheme, `abilities` all schemes that a tool can move (tools that are
    not in it: every one), `aliases` the names by which queues call tools.
    """

    def __init__(
        self,
        tools: Registry[CopyTool],
        schemes: Mapping[str, str],
        aliases: Mapping[str, str],
        settings: ToolSettings | None = None,
        abilities: Mapping[str, frozenset[str]] | None = None,
    ) -> None:
        self._registry = tools
        self._schemes = dict(schemes)
        self._aliases = dict(aliases)
        self._abilities = dict(abilities or {})
        self._settings = settings or ToolSettings()
        self._made: dict[str, CopyTool] = {}
        self._guard = threading.RLock()

    def tool(self, name: str) -> CopyTool:
        """The tool of that name, or of what queues call so; `a+b` moves by `a` to here and by `b` away again.

        Raises `UnknownCopyTool`.
        """
        name = self._aliases.get(name, name)
        made = self._made.get(name)
        if made is None:
            with self._guard:
                made = self._made.get(name) or self._make(name)
                self._made[name] = made
        return made

    def proper(self, name: str) -> str:
        """The name of a tool by what queues call it."""
        return self._aliases.get(name, name)

    def _make(self, name: str) -> CopyTool:
        first, plus, second = name.partition("+")
        if plus:
            from pilot.staging.relay import Relay

            return Relay(self.tool(first), self.tool(second), self._settings.spool_dir)
        try:
            kind = self._registry.load(name)
        except UnknownPlugin as error:
            raise UnknownCopyTool(str(error)) from error
        return kind(self._settings)

    def name_for(self, source: str, target: str, wanted: str = "") -> str:
        """The name of the tool for a pair of URLs.

        `wanted` names tools in order, separated by blanks: the first that can move both ends is taken. Local files
        can always be copied. Raises `UnknownCopyTool` for a scheme or a tool that nobody knows, `NoStorageProtocol`
        if none of those wanted can move the file.
        """
        ends = (scheme_of(source), scheme_of(target))
        for scheme in ends:
            if scheme not in self._schemes and not wanted:
                known = ", ".join(sorted(self._schemes))
                raise UnknownCopyTool(f"no copy tool for {scheme}:// (known: {known})")
        for name in wanted.split():
            name = self._aliases.get(name, name)
            self.tool(name)
            if self._can(name, *ends):
                return self._route(name, name, ends)
        if wanted and "auto" not in wanted.split() and ends != ("file", "file"):
            raise NoStorageProtocol(f"none of {wanted} moves {ends[0]}:// to {ends[1]}://")
        if any(scheme not in self._schemes for scheme in ends):
            raise UnknownCopyTool(f"no copy tool for {ends[0]}:// to {ends[1]}://")
        if "file" in ends:
            return self._schemes[ends[0] if ends[1] == "file" else ends[1]]
        return self._route(self._schemes[ends[0]], self._schemes[ends[1]], ends)

    def _route(self, first: str, second: str, ends: tuple[str, str]) -> str:
        """One tool where one does it, else two with a local file between them."""
        if "file" in ends or (first == second and self.tool(first).ability.third_party):
            return first
        return f"{first}+{second}"

    def _can(self, name: str, *schemes: str) -> bool:
        """Whether a tool moves between these; every tool reaches local files at the other end of a remote one."""
        able = self._abilities.get(name)
        if able is None or "*" in able:
            return True
        remote = [scheme for scheme in schemes if scheme != "file"]
        return able.issuperset(remote) if remote else "file" in able

    def close(self) -> None:
        """Close every tool that was made."""
        with self._guard:
            made, self._made = list(self._made.values()), {}
        for tool in made:
            tool.close()
