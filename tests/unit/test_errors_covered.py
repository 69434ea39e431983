"""Every error that the product can raise is raised by a test: what nobody has seen fail may say anything."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

from pilot.core.errors import ERRORS

ROOT = Path(__file__).resolve().parents[2]


def trees(folder: str, without: str) -> Iterator[ast.AST]:
    for path in sorted((ROOT / folder).rglob("*.py")):
        if without not in path.as_posix():
            yield ast.parse(path.read_text())


def named(tree: ast.AST) -> Iterator[str | int]:
    """The names and whole numbers that code uses; imports and tables of exit codes do not count."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, (ast.Import, ast.ImportFrom)) or (
            isinstance(node, (ast.Assign, ast.AugAssign)) and "EXITS" in ast.unparse(node)[:40]
        ):
            continue
        if isinstance(node, ast.Name):
            yield node.id
        elif isinstance(node, ast.Attribute):
            yield node.attr
        elif isinstance(node, ast.Constant) and isinstance(node.value, int):
            yield node.value
        yield from named(node)


def test_every_error_of_the_product_is_raised_by_a_test() -> None:
    raised = {name for tree in trees("pilot", "pilot/core/e") for name in named(tree)}
    tried = {name for tree in trees("tests", "test_errors_covered") for name in named(tree)}
    untried = {
        f"{number} {kind.__name__}"
        for number, kind in ERRORS.items()
        if kind.__name__ in raised and not {number, kind.__name__} & tried
    }
    assert not untried
    assert {"NoLocalSpace", "Preemption"} <= raised, "the search finds what is there"
