"""Where settings come from, later ones win: defaults, configuration files, the environment, the command line."""

from __future__ import annotations

import difflib
import os
import tomllib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

import click

from pilot.core.settings import Settings

#: The sections of a configuration file.
_SECTIONS = ("pilot", "info", "environments", "utilities")


def load(flags: Mapping[str, Any], files: Iterable[Path], environ: Mapping[str, str] | None = None) -> Settings:
    """The settings of this run. Raises `click.UsageError` naming what is wrong, where, and the nearest right word."""
    values: dict[str, Any] = {}
    for _, found in _layers(files, environ):
        values |= found
    given = {name: value for name, value in flags.items() if value is not None}
    values |= {name: converted(name, value, "--" + name.replace("_", "-")) for name, value in given.items()}
    return Settings(**values)


def origins(files: Iterable[Path], environ: Mapping[str, str] | None = None) -> dict[str, str]:
    """For each setting that is not at its default: the file or the variable that it comes from."""
    return {name: origin for origin, found in _layers(files, environ) for name in found}


def _layers(files: Iterable[Path], environ: Mapping[str, str] | None) -> Iterator[tuple[str, dict[str, Any]]]:
    """Files and variables, later ones win: each with the settings that it holds."""
    environ = os.environ if environ is None else environ
    for path, document in documents(files, environ):
        own = document.get("pilot", {})
        yield str(path), {name: converted(name, value, str(path)) for name, value in own.items()}
    for field in fields(Settings):
        variable = field.metadata["env"] or ""
        if text := environ.get(variable, ""):
            yield f"${variable}", {field.name: converted(field.name, text, variable)}


def options() -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """One command line option for each setting; what is not given is None."""

    def add(function: Callable[..., Any]) -> Callable[..., Any]:
        for field in reversed(fields(Settings)):
            meta = field.metadata
            default = "" if field.default in ("", None) else f" [{field.default}]"
            function = click.option(
                "--" + field.name.replace("_", "-"),
                field.name,
                type=click.Choice(meta["choices"]) if meta["choices"] else type(field.default),
                help=meta["help"] + default,
            )(function)
        return function

    return add


def documents(files: Iterable[Path], environ: Mapping[str, str] | None = None) -> Iterator[tuple[Path, dict[str, Any]]]:
    """The user's own file, if there is one, and these. Raises `click.UsageError` for words that nobody reads."""
    environ = os.environ if environ is None else environ
    user = Path(environ.get("XDG_CONFIG_HOME") or Path(environ.get("HOME") or "/") / ".config") / "pilot" / "pilot.toml"
    for path in ([user] if user.is_file() else []) + list(files):
        try:
            document = tomllib.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise click.UsageError(f"{path}: {getattr(error, 'strerror', None) or error}") from error
        for name, section in document.items():
            if name not in _SECTIONS or not isinstance(section, dict):
                raise click.UsageError(f"{path}: {_misplaced(name, section)}")
        yield path, document


def _misplaced(name: str, section: Any) -> str:
    """What is wrong with a key at the top of a file, and where it belongs."""
    if name in _SECTIONS:
        return f"{name!r} is no section: write [{name}] and its keys below"
    if name in {field.name for field in fields(Settings)} and not isinstance(section, dict):
        return f"{name!r} stands outside of its section: write it below [pilot]"
    near = difflib.get_close_matches(name, _SECTIONS, 1, cutoff=0.4)
    return f"there is no section {name!r}" + (f"; did you mean {near[0]!r}?" if near else f" ({', '.join(_SECTIONS)})")


def converted(name: str, value: Any, where: str) -> Any:
    """The value in its setting's type. Raises `click.UsageError` naming the place, and the nearest right word."""
    known = {field.name: field for field in fields(Settings)}
    if name not in known:
        near = difflib.get_close_matches(name, known, 1, cutoff=0.4)
        raise click.UsageError(
            f"{where}: there is no setting {name!r}" + (f"; did you mean {near[0]!r}?" if near else "")
        )
    wanted: type = type(known[name].default)
    choices = known[name].metadata["choices"]
    try:
        if isinstance(value, bool) and wanted is not bool:
            raise ValueError
        converted = _yes_or_no(value) if wanted is bool else wanted(value)
    except (TypeError, ValueError):
        raise click.UsageError(f"{where}: {name} is {value!r}, expected {wanted.__name__}") from None
    if wanted in (int, float) and not converted >= 0:
        raise click.UsageError(f"{where}: {name} is {value!r}, expected 0 or more")
    if choices and converted not in choices:
        raise click.UsageError(f"{where}: {name} is {value!r}, expected one of {', '.join(choices)}")
    return converted


def _yes_or_no(value: Any) -> bool:
    words = {"true": True, "yes": True, "1": True, "on": True, "false": False, "no": False, "0": False, "off": False}
    if str(value).lower() not in words:
        raise ValueError
    return words[str(value).lower()]
