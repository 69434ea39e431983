"""The files below `configs/` that come with the program: schemas, experiments, sites."""

from __future__ import annotations

from pathlib import Path

ROOT = Path(__file__).resolve().parents[2] / "configs"


def names(folder: str, ending: str) -> list[str]:
    """The names, without their ending, of the files in a folder below `configs/`."""
    return sorted(path.name.removesuffix(ending) for path in (ROOT / folder).glob(f"*{ending}"))


def text(name: str) -> str:
    """The content of the file of that name below `configs/`. Raises `FileNotFoundError`."""
    return (ROOT / name).read_text(encoding="utf-8")
