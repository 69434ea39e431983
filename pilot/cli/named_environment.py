"""What configuration files have for payloads: named environments and utilities."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import click
import msgspec

from pilot.cli.settings import documents
from pilot.engine.environments import Environments, Named
from pilot.runtime.environment import PASSED_ON, passed_on
from pilot.runtime.utilities import Utility

T = TypeVar("T")


class ForPayloads(NamedTuple):
    """The sections `[environments.NAME]` and `[utilities.NAME]`."""

    environments: dict[str, Named]
    utilities: tuple[Utility, ...]


def for_payloads(files: Iterable[Path], environ: Mapping[str, str] | None = None) -> ForPayloads:
    """All sections; one of the same name in a later file takes the place of the earlier.

    Raises `click.UsageError` naming file, section and key.
    """
    environments: dict[str, Named] = {}
    utilities: dict[str, Utility] = {}
    for path, document in documents(files, environ):
        for name, section in document.get("environments", {}).items():
            environments[name] = _read(path, f"environments.{name}", section, Named)
        for name, section in document.get("utilities", {}).items():
            words = {**section, "name": name} if isinstance(section, dict) else section
            utilities[name] = _read(path, f"utilities.{name}", words, Utility)
    return ForPayloads(environments, tuple(utilities.values()))


def make_environments(named: Mapping[str, Named], setup: str, environ: Mapping[str, str]) -> Environments:
    """The environments; what `setup` makes, which every payload gets, is evaluated here.

    Raises `SetupFailure` or `LsetupTimedOut`.
    """
    base = passed_on(environ, PASSED_ON)
    if not setup.strip():
        return Environments(named, base)
    from pilot.lib.shellenv import evaluate

    return Environments(named, base, evaluate(setup, base))


def _read(path: Path, where: str, section: Any, kind: type[T]) -> T:
    try:
        return msgspec.convert(section, kind)
    except (msgspec.ValidationError, ValueError) as error:
        raise click.UsageError(f"{path}: {where}: {error}") from None
