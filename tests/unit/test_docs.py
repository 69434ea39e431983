"""What the documents say can be typed: command lines parse, options, variables and settings are there."""

from __future__ import annotations

import re
import shlex
import tomllib
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from pilot.cli.compat import OPTIONS
from pilot.cli.config import setting_problems
from pilot.cli.main import cli
from pilot.lib.validate import problems

ROOT = Path(__file__).resolve().parents[2]
DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
_FENCE = re.compile(r"^```(\w*)\n(.*?)^```", re.DOTALL | re.MULTILINE)
#: The program as documents call it: from a checkout, installed, or as the one file of a batch script.
_PROGRAM = re.compile(r"(bin/)?pilot|.*(PILOT_PYZ|pilot\.pyz).*")
#: Words of documents that are options of others: batch systems, runtimes, transformations.
_OF_OTHERS = {
    *("--accessmode", "--containerImage", "--overwriteQueueData", "--overwriteStorageData", "--usePFCTurl"),
    *("--directIn", "--inputGUIDs", "--useLocalIO", "--signal", "--contain", "--nv", "--from", "--to"),
}
#: Names in capitals that are no variables of the pilot's, or those of an example.
_NO_VARIABLES = {"ZIP_MAP", "MY_SCRATCH", "ERR_", "FOUND_ROOT", "JOB_ID"}


def blocks(text: str) -> Iterator[tuple[str, str]]:
    """Fenced code with its language."""
    for language, block in _FENCE.findall(text):
        yield language, block.replace("\\\n", " ")


def spans(text: str) -> list[str]:
    """Code within sentences."""
    return [" ".join(span.split()) for span in re.findall(r"`([^`]+)`", _FENCE.sub("", text))]


def command_lines(text: str) -> Iterator[list[str]]:
    """Whatever is said to be typed that begins with the program and one of its commands."""
    lines = [line for language, block in blocks(text) if language in ("", "bash") for line in block.splitlines()]
    waiting = [*lines, *spans(text)]
    for line in waiting:
        try:
            words = shlex.split(re.sub(r"[][]|(?<=\w)\.\.\.", " ", line), comments=True)
        except ValueError:
            continue
        waiting += [word for word in words if " " in word and word != line]  # what a shell is given
        for at, word in enumerate(words[:-1]):
            if _PROGRAM.fullmatch(word) and words[at + 1] in cli.list_commands(click.Context(cli)):
                end = next((n for n, other in enumerate(words) if n > at and other in ("&", "|", "&&", ";")), None)
                yield words[at + 1 : end]


LINES = [(path.name, words) for path in DOCUMENTS for words in command_lines(path.read_text())]


def parsed(words: list[str], place: Path) -> None:
    """Parse as the program does; some words stand for a number or a name, a file is there."""
    words = ["1" if word in ("JOB", "N", "FILE") else word for word in words]
    for word in words[1:]:
        if word.endswith(".json"):
            (place / word).write_text("[]")
    command: click.Command = cli
    while isinstance(command, click.Group) and words:
        found = command.get_command(click.Context(command), words[0])
        assert found is not None, f"there is no {words[0]}"
        command, words = found, words[1:]
    command.make_context(command.name, words)


@pytest.mark.parametrize(("document", "words"), LINES, ids=lambda value: str(value)[:60])
def test_a_command_line_of_the_documents_parses(
    document: str, words: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    if len(words) == 1:  # the name of a command
        return
    parsed(words, tmp_path)


def test_the_command_lines_were_found() -> None:
    assert {words[0] for _, words in LINES} >= {"demo", "serve", "submit", "run", "status", "show", "transfer"}
    assert any("--harvester-map" in words for _, words in LINES), "those of batch scripts, too"
    with pytest.raises(click.UsageError):
        parsed(["run", "--slot", "2"], Path())


def options() -> set[str]:
    known = {name for old in OPTIONS for name in old.names} | {"--help", "--version"}
    waiting: list[click.Command] = [cli]
    while waiting:
        command = waiting.pop()
        known |= {name for param in command.params for name in (*param.opts, *param.secondary_opts)}
        if isinstance(command, click.Group):
            context = click.Context(command)
            waiting += [
                found for name in command.list_commands(context) if (found := command.get_command(context, name))
            ]
    return known


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_every_option_of_the_documents_is_there(path: Path) -> None:
    said = {word for span in spans(path.read_text()) for word in re.findall(r"(?<![\w-])--[a-z][\w-]+", span)}
    own = (ROOT / "bin").glob("*")
    others = {word for file in own if file.is_file() for word in re.findall(r"--[a-z][\w-]+", file.read_text())}
    benchmarks = "".join(file.read_text() for file in (ROOT / "tests" / "benchmarks").glob("*.py"))
    events = (ROOT / "pilot" / "events" / "__main__.py").read_text()
    unknown = said - options() - others - _OF_OTHERS
    assert {word for word in unknown if f'"{word}"' not in benchmarks + events} == set()


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_every_variable_of_the_documents_is_one_of_the_program(path: Path) -> None:
    sources = [file for folder in ("pilot", "configs", "bin") for file in (ROOT / folder).rglob("*") if file.is_file()]
    code = "".join(file.read_text() for file in sources if file.suffix in (".py", ".toml", ".json", ""))
    said = {n for span in spans(path.read_text()) for n in re.findall(r"(?<![\w-])[A-Z][A-Z0-9]*_[A-Z0-9_]*\b", span)}
    made = {name for name in said if name[: name.rfind("_") + 1] + "{" in code}  # f"RUCIO_{what}"
    assert {name for name in said - _NO_VARIABLES - made if name not in code} == set()


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_configuration_in_the_documents_is_good(path: Path) -> None:
    for language, block in blocks(path.read_text()):
        if language == "toml":
            document = tomllib.loads(block)
            wrong = setting_problems(document.get("pilot", {}).items())
            assert [*wrong, *problems(document, "config")] == [], block
