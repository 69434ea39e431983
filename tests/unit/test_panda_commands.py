"""Orders in a server's answer."""

from __future__ import annotations

import pytest

from pilot.core.commands import debug_argv, parse_commands
from pilot.core.errors import RequestRefused
from pilot.core.update import Command

PARSED = [
    (None, []),
    ("NULL", []),
    ("", []),
    ("tobekilled", [("tobekilled", "")]),
    ("ToBeKilled", [("tobekilled", "")]),
    ("debug,tobekilled", [("debug", ""), ("tobekilled", "")]),
    ("debugoff", [("debugoff", "")]),
    ("softkill, nocleanup", [("softkill", ""), ("nocleanup", "")]),
    ("tail -n 5 payload.stdout", [("tail", "-n 5 payload.stdout")]),
    ("debug,tail a,b.txt", [("debug", ""), ("tail", "a,b.txt")]),
    ("ls -l,tobekilled", [("ls", "-l"), ("tobekilled", "")]),
    ("debug,ls a,b,nocleanup,tobekilled", [("debug", ""), ("ls", "a,b"), ("nocleanup", ""), ("tobekilled", "")]),
    ("somethingnew", [("somethingnew", "")]),
]


@pytest.mark.parametrize(("text", "expected"), PARSED)
def test_every_form_of_a_command_is_understood(text: str | None, expected: list[tuple[str, str]]) -> None:
    assert [(c.word, c.argument) for c in parse_commands(text)] == expected


ALLOWED = [
    ("tail", "-n 20 payload.stdout", ["tail", "-n", "20", "payload.stdout"]),
    ("tail", "-50 logs/a.txt", ["tail", "-50", "logs/a.txt"]),
    ("ls", "-la sub", ["ls", "-la", "sub"]),
    ("ls", "", ["ls"]),
    ("du", "-sh .", ["du", "-sh", "."]),
    ("ps", "-ef --forest", ["ps", "-ef", "--forest"]),
    ("tail", "'a file'", ["tail", "a file"]),
    ("gdb", "--pid % -ex 'generate-core-file'", ["gdb", "--batch", "--nx", "--pid", "77", "-ex", "generate-core-file"]),
    ("gdb", "--pid %", ["gdb", "--batch", "--nx", "--pid", "77", "-ex", "generate-core-file"]),
    (
        "gdb",
        "--pid 77 -ex 'thread apply all bt'",
        ["gdb", "--batch", "--nx", "--pid", "77", "-ex", "thread apply all bt"],
    ),
]


@pytest.mark.parametrize(("word", "argument", "argv"), ALLOWED)
def test_a_command_that_only_looks_is_let_through(word: str, argument: str, argv: list[str]) -> None:
    assert debug_argv(Command(word, argument), payload_pid=77) == argv


REFUSED = [
    ("rm", "-rf ."),
    ("tail", "/etc/passwd"),
    ("tail", "../other/job.json"),
    ("tail", "a/../../b"),
    ("tail", "-f payload.stdout"),
    ("tail", "--follow payload.stdout"),
    ("tail", "--pid=1 a"),
    ("ls", "; rm a"),
    ("ls", "$(id)"),
    ("ls", "a | b"),
    ("ls", "`id`"),
    ("ls", "a > b"),
    ("ls", "a\nb"),
    ("ls", "'unclosed"),
    ("ls", "x" * 251),
    ("du", "--files0-from=/etc/passwd"),
    ("du", "--exclude-from=/x"),
    ("ps", "/x"),
    ("gdb", "--pid 1"),
    ("gdb", "-x script"),
    ("gdb", "--pid % -ex 'shell id'"),
    ("gdb", "--pid % -ex 'python 1'"),
]


@pytest.mark.parametrize(("word", "argument"), REFUSED)
def test_a_command_that_could_do_more_is_refused(word: str, argument: str) -> None:
    with pytest.raises(RequestRefused):
        debug_argv(Command(word, argument), payload_pid=77)


def test_gdb_needs_a_payload() -> None:
    with pytest.raises(RequestRefused, match="only while it runs"):
        debug_argv(Command("gdb", "--pid %"))
