"""What is known of storages and of a queue's rules for using them: the part of the queue data that staging reads."""

from __future__ import annotations

import msgspec


class Access(msgspec.Struct, frozen=True, omit_defaults=True):
    """One way to a storage: URLs that begin with `prefix`, for an activity (`read_lan`, `write_wan`, ... or any: "").

    `settings` are the words of the protocol's record (`access_key`, `secret_key`, `is_secure`: names of secrets,
    never secrets themselves).
    """

    prefix: str
    activity: str = ""
    settings: dict[str, str] = {}

    @property
    def scheme(self) -> str:
        """The URL scheme in lower case; `file` for a bare path."""
        head, colon, _ = self.prefix.partition("://")
        return head.lower() if colon else "file"


class Storage(msgspec.Struct, frozen=True, omit_defaults=True):
    """A storage element (RSE): a ddmendpoint record of protocol.md 7.3.

    `kind` is DATADISK, OS_ES, OS_LOGS, ...; `accesses` are in order of preference. On a deterministic storage the
    path follows from scope and LFN.
    """

    rse: str
    site: str = ""
    kind: str = ""
    state: str = "ACTIVE"
    deterministic: bool = True
    tape: bool = False
    accesses: tuple[Access, ...] = ()
    bucket: str = ""

    def ways(self, *activities: str) -> tuple[Access, ...]:
        """The accesses for the first of the activities that has any; then those that serve every activity."""
        for activity in activities:
            found = tuple(access for access in self.accesses if access.activity == activity)
            if found:
                return found
        return tuple(access for access in self.accesses if not access.activity) or self.accesses


class StagingSite(msgspec.Struct, frozen=True, omit_defaults=True):
    """Where a queue's files come from and go to.

    `astorages` maps an activity (`read_lan`, `write_lan`, `pl`, ...) to RSE names in order, `copytools` to the names
    of tools in order, `schemes` to the URL schemes that are allowed. `input_dir` and `output_dir` are directories, by
    path or URL, that hold inputs under their LFN and receive outputs under theirs; they come before any storage.
    `last_resort` is a storage for outputs that nobody tells a place for.
    `staging_map` holds `compute site pattern -> staging sites in order` (`nebraska=firefly_srm,*=local`); with
    `bypass_staging` inputs come through a staging site only if they cannot be had elsewhere. `kind` is the queue's:
    on a `unified` one, jobs of users have activities of their own (`read_lan_analysis`, `write_lan_analysis`).
    `allow_wan_for_lib` lets the libraries of users come from far. The inputs of a job together may have
    `max_input_mb` (0: no limit, below: nothing is checked).
    """

    name: str = ""
    queue: str = ""
    storages: tuple[Storage, ...] = ()
    astorages: dict[str, tuple[str, ...]] = {}
    copytools: dict[str, tuple[str, ...]] = {}
    schemes: dict[str, tuple[str, ...]] = {}
    input_dir: str = ""
    output_dir: str = ""
    last_resort: str = ""
    direct_access_lan: bool = False
    direct_access_wan: bool = False
    allow_lan: bool = True
    allow_wan: bool = False
    allow_wan_for_lib: bool = False
    allow_alternative: bool | None = None
    staging_map: tuple[tuple[str, tuple[str, ...]], ...] = ()
    bypass_staging: bool = False
    kind: str = ""
    max_input_mb: int = -1
    use_pcache: bool = False

    def storage(self, rse: str) -> Storage | None:
        """The storage of that name, if the queue knows it."""
        return next((storage for storage in self.storages if storage.rse == rse), None)

    def storages_for(self, *activities: str) -> tuple[str, ...]:
        """The RSE names of the first of the activities that lists any."""
        return next((names for activity in activities if (names := self.astorages.get(activity))), ())

    def tools_for(self, *activities: str) -> tuple[str, ...]:
        """The names of the copy tools of the first of the activities that lists any, else those of `default`."""
        return next((names for a in (*activities, "default") if (names := self.copytools.get(a))), ())
