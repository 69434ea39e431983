"""The house's own rules: layers, purity, exceptions, waiting, names. Read from the source itself."""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
FILES = sorted((ROOT / "pilot").rglob("*.py"))

#: What each part of the house may import beside itself. A room's base is open to the layer above, nothing else of it.
BELOW: dict[str, set[str]] = {
    "core": set(),
    "lib": {"core"},
    "db": {"core", "lib"},
    "plugins": {"core", "lib"},
    "info": {"core", "lib"},
    "staging": {"core", "lib", "bases"},
    "runtime": {"core", "lib", "bases"},
    "engine": {"core", "lib", "db", "bases", "staging", "runtime"},
    "insight": {"core", "lib", "db", "bases"},
    "server": {"core", "lib", "bases"},
    "cli": {"core", "lib", "db", "info", "bases", "staging", "runtime", "engine", "insight", "server", "plugins"},
}
#: importer -> imported: each with the reason why the table does not say it.
ALLOWED = {
    # The package's version and place.
    ("pilot.lib.program", "pilot"),
    ("pilot.__main__", "pilot.cli.main"),
}
PURE = {
    "__future__", "ast", "base64", "binascii", "bisect", "collections", "collections.abc", "dataclasses", "enum",
    "functools", "hashlib", "itertools", "json", "math", "msgspec", "pathlib.PurePath", "pathlib.PurePosixPath",
    "fractions", "operator", "re", "shlex", "string", "struct", "typing", "urllib.parse", "zlib",
}  # fmt: skip
#: Modules outside cli/ that look at the environment of the process or its arguments, and why they must.
ENVIRONMENT = {
    "pilot.events.__main__": "is a program of its own in the payload",
    "pilot.events.client": "runs in the payload, whose environment names the endpoint",
    "pilot.lib.program": "starts this very program again with the environment it was given",
    "pilot.lib.selfextract": "runs before everything else, in a file that brings its own packages",
    # programs of their own that a container is started with
    "pilot.plugins.containers.docker_stand_in": "stands in the pilot's process tree for a container's processes",
    "pilot.plugins.containers.podman_stand_in": "a program that is started beside the pilot",
    "pilot.plugins.containers.sif_start": "the first process inside a container",
    "pilot.plugins.copytools.stream_guard": "a program of its own between the pilot and one that reads a stream",
}


@cache
def name_of(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


@cache
def tree_of(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), str(path))


@cache
def modules() -> dict[str, Path]:
    return {name_of(path): path for path in FILES}


def imports(path: Path, *, top_level: bool = False) -> Iterator[str]:
    """Every module that a file imports; for `from pilot.a import b` the submodule where b is one."""
    tree = tree_of(path)
    for node in _import_time(tree) if top_level else ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative imports hide what the table is about"
            for alias in node.names:
                whole = f"{node.module}.{alias.name}"
                yield whole if whole in modules() else str(node.module)


def _import_time(tree: ast.AST) -> Iterator[ast.AST]:
    """The nodes that run when the module is imported, without those for the type checker only."""
    for node in ast.iter_child_nodes(tree):
        checking = isinstance(node, ast.If) and ast.unparse(node.test) in ("TYPE_CHECKING", "typing.TYPE_CHECKING")
        if not isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)) and not checking:
            yield node
            yield from _import_time(node)


def part_of(module: str) -> str:
    words = module.split(".")
    return words[1] if len(words) > 1 else "pilot"


def room_of(module: str) -> str:
    words = module.split(".")
    return words[2] if len(words) > 2 and words[1] == "plugins" else ""


@cache
def plugins() -> dict[str, str]:
    """Every concrete plugin's module by the registry that names it."""
    found = {}
    for path in FILES:
        for node in ast.walk(tree_of(path)) if path.name == "registry.py" else ():
            text = node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else ""
            if match := re.fullmatch(r"(pilot\.[\w.]+):\w+", text):
                found[match[1]] = name_of(path)
    return found


def _fine(importer: str, imported: str) -> bool:
    mine, theirs = part_of(importer), part_of(imported)
    if mine == theirs:
        return mine != "plugins" or room_of(importer) == room_of(imported) or not room_of(imported)
    if theirs == "plugins" and "bases" in BELOW[mine]:
        return imported.endswith(".base") or "plugins" in BELOW[mine]
    return theirs in BELOW[mine]


def test_imports_point_down_only() -> None:
    wrong = {
        f"{name} imports {other}"
        for name, path in modules().items()
        for other in imports(path)
        if other.split(".")[0] == "pilot" and (name, other) not in ALLOWED
        if name not in ("pilot", "pilot.__main__") and other != "pilot" and not _fine(name, other)
    }
    assert not wrong


def test_every_exception_to_the_layers_is_still_needed() -> None:
    made = {(name, other) for name, path in modules().items() for other in imports(path)}
    assert made >= ALLOWED


def test_nobody_imports_a_concrete_plugin_but_a_plugin_of_its_own_room() -> None:
    assert len(plugins()) > 5, "the registries were not found"
    wrong = {
        f"{name} imports {other}"
        for name, path in modules().items()
        for other in imports(path)
        if other in plugins() and room_of(name) != room_of(other)
    }
    assert not wrong


def test_every_registered_plugin_is_there() -> None:
    """A class that a table names exists under that name; looked up in the source, so that no extra is needed."""
    lost = []
    for path in FILES:
        for node in ast.walk(tree_of(path)) if path.name == "registry.py" else ():
            text = node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else ""
            if match := re.fullmatch(r"(pilot\.[\w.]+):(\w+)", text):
                there = modules().get(match[1])
                defined = {n.name for n in tree_of(there).body if isinstance(n, ast.ClassDef)} if there else set()
                if match[2] not in defined:
                    lost.append(text)
    assert not lost


def test_the_core_is_pure() -> None:
    wrong = set()
    for name, path in modules().items():
        if part_of(name) != "core":
            continue
        for node in ast.walk(tree_of(path)):
            if isinstance(node, ast.Import):
                used = [alias.name for alias in node.names if alias.name != "signal"]  # its numbers are names only
            elif isinstance(node, ast.ImportFrom) and node.module in ("pathlib", "signal"):
                used = [f"{node.module}.{alias.name}" for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                used = [str(node.module)]
            elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in ("open", "input"):
                used = [f"{node.func.id}()"]
            elif isinstance(node, ast.Attribute) and ast.unparse(node.value) == "signal":
                used = [] if re.fullmatch("SIG[A-Z0-9]+|Signals", node.attr) else [f"signal.{node.attr}"]
            else:
                continue
            wrong |= {f"{name}: {module}" for module in used if module not in PURE and not module.startswith("pilot.")}
    assert not wrong


def test_there_is_no_import_cycle() -> None:
    graph = {name: {o for o in imports(path, top_level=True) if o in modules()} for name, path in modules().items()}
    done: set[str] = set()

    def visit(name: str, trail: tuple[str, ...]) -> None:
        assert name not in trail, "cycle: " + " -> ".join([*trail[trail.index(name) :], name])
        if name not in done:
            for other in sorted(graph[name]):
                visit(other, (*trail, name))
            done.add(name)

    for name in graph:
        visit(name, ())


def test_only_the_command_line_reads_the_environment_and_the_arguments() -> None:
    readers = set()
    for name, path in modules().items():
        for node in ast.walk(tree_of(path)):
            if isinstance(node, ast.Attribute) and ast.unparse(node) in ("os.environ", "os.getenv", "sys.argv"):
                readers.add(name)
    outside = {name for name in readers if part_of(name) != "cli" and name != "pilot.__main__"}
    assert outside <= set(ENVIRONMENT)


def test_broad_excepts_give_their_reason() -> None:
    """`except:` never; `except Exception` or `BaseException` only where it is raised again or a comment says why."""
    wrong = []
    for path in FILES:
        lines = path.read_text(encoding="utf-8").splitlines()
        for node in ast.walk(tree_of(path)):
            if not isinstance(node, ast.ExceptHandler):
                continue
            caught = ast.unparse(node.type) if node.type else "everything"
            broad = re.search(r"\b(everything|Exception|BaseException)\b", caught)
            beside = " ".join(lines[node.lineno - 1 : node.body[0].lineno]).replace("# noqa: BLE001", "#")
            reason = re.search(r"#[\s-]*\w+(\s+\S+){3,}", beside)
            again = isinstance(node.body[-1], ast.Raise) and node.body[-1].exc is None
            if caught == "everything" or (broad and not reason and not again):
                wrong.append(f"{path.relative_to(ROOT)}:{node.lineno}: except {caught}")
    assert not wrong


def test_nothing_in_the_product_sleeps() -> None:
    sleeping = [
        f"{path.relative_to(ROOT)}:{node.lineno}"
        for path in FILES
        for node in ast.walk(tree_of(path))
        if (isinstance(node, ast.Attribute) and ast.unparse(node) == "time.sleep")
        or (isinstance(node, ast.ImportFrom) and node.module == "time" and any(a.name == "sleep" for a in node.names))
    ]
    assert not sleeping


def test_no_module_keeps_state_of_its_own() -> None:
    """No `global`, and nothing at module level that is made empty in order to be filled later."""
    wrong = []
    for name, path in modules().items():
        wrong += [f"{name}: global {n.names}" for n in ast.walk(tree_of(path)) if isinstance(n, ast.Global)]
        for node in tree_of(path).body:
            value = node.value if isinstance(node, (ast.Assign, ast.AnnAssign)) else None
            text = ast.unparse(value) if value is not None else ""
            if text in ("{}", "[]", "set()", "dict()", "list()", "deque()") or re.match(r"(defaultdict|deque)\(", text):
                wrong.append(f"{name}: {ast.unparse(node)[:60]}")
    assert set(wrong) <= {
        # Filled while the classes of the tree are defined, never afterwards.
        "pilot.core.errors.base: ERRORS: dict[int, type[PilotError]] = {}",
        # Never filled: the answer for ranges without anything special.
        "pilot.runtime.rangetable: _NO_EXTRA: dict[str, Any] = {}",
    }


def test_a_module_is_named_for_the_question_it_answers() -> None:
    empty = {"util", "utils", "common", "helper", "helpers", "manager", "handler", "misc"}
    assert not [name for name in modules() if empty & set(re.split(r"[_.]", name))]


def test_files_stay_short() -> None:
    long = {name: count for name in modules() if (count := len(modules()[name].read_text().splitlines())) > 450}
    assert not long


def test_every_module_tells_what_it_is() -> None:
    silent = [n for n, p in modules().items() if p.read_text().strip() and not ast.get_docstring(tree_of(p))]
    assert not silent


def test_each_third_party_package_has_few_homes() -> None:
    """A package that many import cannot be replaced. msgspec and click are the house's own words."""
    homes: dict[str, set[str]] = {}
    for name, path in modules().items():
        for other in imports(path):
            top = other.split(".")[0]
            if top not in sys.stdlib_module_names and top not in ("pilot", "msgspec", "click"):
                homes.setdefault(top, set()).add(part_of(name) + "." + room_of(name))
    assert {top: where for top, where in homes.items() if len(where) > 3} == {}
