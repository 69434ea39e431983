"""JSON documents in files, as people and programs write them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from pilot.core.errors import ConversionFailure, FileHandlingFailure, NoSuchFile


def read_objects(file: Path) -> list[dict[str, Any]]:
    """The objects in a file: one document, a list of them, or one on each line.

    Raises `NoSuchFile`, `FileHandlingFailure` or `ConversionFailure`, naming the file and, where it helps, the line.
    """
    try:
        text = file.read_text(encoding="utf-8")
    except FileNotFoundError as error:
        raise NoSuchFile(f"{file}: there is no such file") from error
    except (OSError, UnicodeDecodeError) as error:
        raise FileHandlingFailure(f"{file}: {getattr(error, 'strerror', None) or error}") from error
    try:
        found = json.loads(text)
    except RecursionError as error:
        raise ConversionFailure(f"{file}: nested too deeply to be read") from error
    except ValueError as error:
        lines = [line for line in text.splitlines() if line.strip()]
        if len(lines) < 2 or not all(line.lstrip().startswith("{") for line in lines):
            raise ConversionFailure(f"{file}: {error}") from error
        found = [_line(file, at, line) for at, line in enumerate(text.splitlines(), 1) if line.strip()]
    objects = found if isinstance(found, list) else [found]
    for item in objects:
        if not isinstance(item, dict):
            raise ConversionFailure(f"{file}: expected JSON objects, found {json.dumps(item)[:60]}")
    return objects


def _line(file: Path, at: int, line: str) -> Any:
    try:
        return json.loads(line)
    except ValueError as error:
        raise ConversionFailure(f"{file}, line {at}: {error}") from error
