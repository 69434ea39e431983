"""The copy tools of one pilot: made when first needed, kept with their connections, closed at the end."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import TYPE_CHECKING

import msgspec

from pilot.core.errors import NoStorageProtocol, PilotError, UnknownCopyTool
from pilot.core.staging import ToolSettings
from pilot.core.transfer import Endpoint, Transfer
from pilot.lib.files import local_path
from pilot.lib.registry import Registry, UnknownPlugin
from pilot.lib.urls import scheme_of
from pilot.plugins.copytools.base import CopyTool, ToolError

if TYPE_CHECKING:
    from pilot.lib.shellenv import Change

#: The sites at the source and at the target that have credentials of their own; empty for others.
Sites = tuple[str, str]
NO_SITES: Sites = ("", "")


class Toolbox:
    """Tools by name and by scheme. Any thread may ask; a tool is made once.

    `schemes` tells the first choice for each URL scheme, `abilities` all schemes that a tool can move (tools that are
    not in it: every one), `aliases` the names by which queues call tools. A site with credentials of its own gets
    tools of its own.
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
        self._made: dict[tuple[str, Sites], CopyTool] = {}
        self._at: dict[str, ToolSettings] = {"": self._settings}
        self._names: dict[tuple[str, str, str], str] = {}
        self._changes: dict[str, Change] = {}
        self._guard = threading.RLock()

    def tool(self, name: str, sites: Sites = NO_SITES) -> CopyTool:
        """The tool of that name, or of what queues call so; `a+b` moves by `a` to here and by `b` away again.

        Raises `UnknownCopyTool`.
        """
        name = self._aliases.get(name, name)
        made = self._made.get((name, sites))
        if made is None:
            with self._guard:
                made = self._made.get((name, sites)) or self._make(name, sites)
                self._made[name, sites] = made
        return made

    def proper(self, name: str) -> str:
        """The name of a tool by what queues call it."""
        return self._aliases.get(name, name)

    def chosen(self, source: Endpoint, target: Endpoint, wanted: str = "") -> tuple[str, Sites]:
        """The name of the tool that moves between two places, made and with credentials that may be shown, and whose
        they are. Raises as `name_for`, and `MissingCredentials` for a credential that others can read."""
        name = self.name_for(source.url, target.url, wanted)
        sites = self.sites(source, target)
        self.tool(name, sites)
        if "://" in source.url or "://" in target.url:
            self._check_credentials(source, target, sites)
        return name, sites

    def sites(self, source: Endpoint, target: Endpoint) -> Sites:
        """Whose credentials count for a pair of places."""
        if not source.site and not target.site:
            return NO_SITES
        return (self._own(source), self._own(target))

    def _own(self, place: Endpoint) -> str:
        if not place.site or local_path(place.url) is not None:
            return ""
        return place.site if self._settings_at(place.site) is not self._settings else ""

    def _settings_at(self, site: str) -> ToolSettings:
        found = self._at.get(site)
        if found is None:
            from pilot.staging.credentials import settings_at

            found = self._at[site] = settings_at(self._settings, site)
        return found

    def _check_credentials(self, source: Endpoint, target: Endpoint, sites: Sites) -> None:
        from pilot.staging.credentials import check_files

        for place, site in zip((source, target), sites, strict=True):
            check_files(self._settings_at(site), place.url)

    def explained(self, error: ToolError, sites: Sites) -> ToolError:
        """A refusal as the fault of the credential that was shown, where it is."""
        from pilot.staging.credentials import explained

        return explained(error, self._settings_at(sites[0] or sites[1]))

    def _make(self, name: str, sites: Sites) -> CopyTool:
        first, plus, second = name.partition("+")
        if plus:
            from pilot.staging.relay import Relay

            ends = self.tool(first, (sites[0], "")), self.tool(second, ("", sites[1]))
            return Relay(*ends, self._settings.spool_dir)
        try:
            kind = self._registry.load(name)
        except UnknownPlugin as error:
            raise UnknownCopyTool(str(error)) from error
        settings = self._settings_at(sites[0] or sites[1])
        made = kind(settings)
        changed = settings if made.ability.sets_up else self._set_up(name, settings)
        return made if changed is settings else kind(changed)

    def _set_up(self, name: str, settings: ToolSettings) -> ToolSettings:
        """The settings with what the queue's set-up of a tool makes of the environment. One that fails is passed over:
        the tool may be here without."""
        setup = settings.options.get(name, {}).get("setup", "")
        if not setup:
            return settings
        if name not in self._changes:
            from pilot.lib.shellenv import Change, evaluate

            try:
                self._changes[name] = evaluate(f". {setup}", settings.environment)
            except PilotError as error:
                import logging

                logging.getLogger("pilot.staging").warning("the set-up %s of copy tool %s: %s", setup, name, error)
                self._changes[name] = Change()
        return msgspec.structs.replace(settings, environment=self._changes[name].apply(settings.environment))

    def name_for(self, source: str, target: str, wanted: str = "") -> str:
        """The name of the tool for a pair of URLs.

        `wanted` names tools in order, separated by blanks: the first that can move both ends is taken. Local files
        can always be copied. Raises `UnknownCopyTool` for a scheme or a tool that nobody knows, `NoStorageProtocol`
        if none of those wanted can move the file.
        """
        ends = (scheme_of(source), scheme_of(target))
        found = self._names.get((*ends, wanted))
        if found is None:
            found = self._names[(*ends, wanted)] = self._named(ends, wanted)
        return found

    def sends(self, target: str, wanted: str = "") -> bool:
        """Whether any of the tools can send a local file to a URL."""
        try:
            self.name_for("/", target, wanted)
        except PilotError:
            return False
        return True

    def rest_after(self, name: str, transfer: Transfer) -> str:
        """Those of a transfer's tools that come after the one of this name and can move any of its sources; what is
        local at both ends needs no other tool."""
        words = transfer.copytool.split()
        proper = [self.proper(word) for word in words]
        name = name.partition("+")[0]
        rest = [w for w in words[proper.index(name) + 1 :] if w != "auto"] if name in proper else []
        ends = [(scheme_of(s.url), scheme_of(t.url)) for s in transfer.sources for t in transfer.targets]
        remote = [pair for pair in ends if pair != ("file", "file")]
        able = [w for w in rest if any(self._can(self.proper(w), *pair) for pair in remote)]
        return " ".join(word for word in able if self.is_known(word))

    def is_known(self, name: str) -> bool:
        """Whether there is a copy tool of that name."""
        try:
            self.tool(name)
        except UnknownCopyTool:
            return False
        return True

    def _named(self, ends: tuple[str, str], wanted: str) -> str:
        for scheme in ends:
            if scheme not in self._schemes and not wanted:
                known = ", ".join(sorted(self._schemes))
                raise UnknownCopyTool(f"no copy tool for {scheme}:// (known: {known})")
        names = [self.proper(name) for name in wanted.split()]
        for name in names:
            if self.is_known(name) and self._can(name, *ends):
                return self._route(name, name, ends)
        for name in names:
            self.tool(name)
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
