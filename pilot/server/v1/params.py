"""Checking the parameters of a v1 call: names are a closed set and JSON types must be the declared ones."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pilot.server.fields import Kind
from pilot.server.refusal import BadParameter, BadType


@dataclass(frozen=True)
class Param:
    """One declared parameter. It may be null only if null is its default."""

    name: str
    kind: Kind
    required: bool = False
    default: Any = None


def must(name: str, kind: Kind) -> Param:
    """A parameter that has to be given."""
    return Param(name, kind, required=True)


def may(name: str, kind: Kind, default: object = None) -> Param:
    """A parameter that can be left out."""
    return Param(name, kind, default=default)


def _is_int(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_list_of(test: Callable[[object], bool]) -> Callable[[object], bool]:
    return lambda value: isinstance(value, list) and all(map(test, value))


_TESTS: Mapping[Kind, Callable[[object], bool]] = {
    Kind.INT: _is_int,
    Kind.FLOAT: lambda value: isinstance(value, float),
    Kind.ANY: lambda value: True,
    Kind.NUMBER: lambda value: _is_int(value) or isinstance(value, float),
    Kind.STR: lambda value: isinstance(value, str),
    Kind.BOOL: lambda value: isinstance(value, bool),
    Kind.INTS: _is_list_of(_is_int),
    Kind.STRS: _is_list_of(lambda value: isinstance(value, str)),
    Kind.OBJECTS: _is_list_of(lambda value: isinstance(value, dict)),
}
_LISTS: Mapping[Kind, Kind] = {Kind.INTS: Kind.INT, Kind.STRS: Kind.STR}


def check(declared: Sequence[Param], given: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments with their defaults; raises `BadParameter` for an unknown, a missing or a wrongly typed one."""
    names = {param.name for param in declared}
    for name in given:
        if name not in names:
            raise BadParameter(f"Argument error: got an unexpected keyword argument '{name}'")
    values: dict[str, Any] = {}
    for param in declared:
        if param.name not in given:
            if param.required:
                raise BadParameter(f"Argument error: missing a required argument: '{param.name}'")
            values[param.name] = param.default
            continue
        value = given[param.name]
        nothing = value is None and not param.required and param.default is None
        if not nothing and not _TESTS[param.kind](value):
            raise BadType(
                f"Type error: '{param.name}' with value {value!r:.100} is a {type(value).__name__}, "
                f"expected {param.kind.value}"
            )
        values[param.name] = value
    return values


def cast(declared: Sequence[Param], query: Mapping[str, Sequence[str]]) -> dict[str, Any]:
    """The values of a query string in their declared types; the text `None` is null; a repeated key makes a list."""
    kinds = {param.name: param.kind for param in declared}
    return {name: _cast_all(name, kinds.get(name, Kind.STR), texts) for name, texts in query.items()}


def _cast_all(name: str, kind: Kind, texts: Sequence[str]) -> object:
    if kind in _LISTS:
        return [_cast_one(name, _LISTS[kind], text) for text in texts]
    return _cast_one(name, kind, texts[-1])


def _cast_one(name: str, kind: Kind, text: str) -> object:
    if text == "None":
        return None
    try:
        if kind is Kind.INT:
            return int(text)
        if kind in (Kind.NUMBER, Kind.FLOAT):
            return float(text)
    except ValueError as error:
        raise BadType(f"Type error: '{name}' with value {text!r:.100} is not {kind.value}") from error
    if kind is Kind.BOOL and text.lower() in ("true", "false"):
        return text.lower() == "true"
    return text
