"""The section `[info]` of configuration files: where queue and storage data lie, and what wins over them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import click
import msgspec

from pilot.cli.settings import documents


class PlaceWords(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One place: a name for messages, and a path or URL in which `{queue}` stands for the queue's name."""

    name: str
    where: str


class Info(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """What a user's files say. Places come before all that are known otherwise but the command line's; times in s.

    `cache_s`: documents from the network that are younger are not fetched again. `local_s`: how long a file may take to
    be read. `fetch_s`: the same for a URL. `rounds` over all places until the pilot gives up. `overlay` are keys of
    queue data that win over everything.
    """

    main: tuple[PlaceWords, ...] = ()
    details: tuple[PlaceWords, ...] = ()
    storages: tuple[PlaceWords, ...] = ()
    cache_s: float = 3 * 3600.0
    local_s: float = 20.0
    fetch_s: float = 60.0
    rounds: int = 3
    overlay: dict[str, Any] = {}


def info_of(files: Iterable[Path], environ: Mapping[str, str] | None = None) -> Info:
    """All `[info]` sections, later files win key by key. Raises `click.UsageError` naming file and key."""
    merged: dict[str, Any] = {}
    for path, document in documents(files, environ):
        section = document.get("info", {})
        try:
            msgspec.convert(section, Info)
        except msgspec.ValidationError as error:
            raise click.UsageError(f"{path}: info: {error}") from None
        overlay = {**merged.get("overlay", {}), **section.get("overlay", {})}
        merged = {**merged, **section, "overlay": overlay}
    return msgspec.convert(merged, Info)
