"""The faults of the dummy container runtime."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from pilot.core.command import Command, ContainerRequest
from pilot.core.errors import ContainerGeneralFailure, ImageNotFound
from pilot.core.job import Exit
from pilot.plugins.containers.base import Host
from pilot.plugins.containers.dummy import DummyContainer, Faults

COMMAND = Command(("/bin/sh", "-c", "exit 4"), "/", {"PATH": "/usr/bin:/bin"})
REQUEST = ContainerRequest(name="c1", workdir="/", token="t")


def dummy(**faults: object) -> DummyContainer:
    return DummyContainer(Host(), Faults(**faults))  # type: ignore[arg-type]


def test_a_runtime_told_to_fail_writes_its_message_and_is_diagnosed_by_it(tmp_path: Path) -> None:
    plugin = dummy(fail="no such planet")
    wrapped = plugin.wrap(COMMAND, REQUEST)
    done = subprocess.run(wrapped.argv, env=wrapped.env, cwd=tmp_path, capture_output=True, text=True)
    failure = plugin.diagnose(Exit(code=done.returncode), done.stderr)
    assert failure is not None
    assert (failure.code, "no such planet" in failure.message) == (1306, True)


def test_a_delay_does_not_change_the_exit_code() -> None:
    wrapped = dummy(delay_s=0.01).wrap(COMMAND, REQUEST)
    assert subprocess.run(wrapped.argv, env=wrapped.env).returncode == 4


def test_a_refusal_a_missing_program_and_silence_are_as_told() -> None:
    with pytest.raises(ImageNotFound):
        dummy(refuse=ImageNotFound("x")).wrap(COMMAND, REQUEST)
    assert dummy(missing="nothing here").check() == "nothing here"
    for ask in (lambda plugin: plugin.end("c1"), lambda plugin: plugin.ours("t")):
        with pytest.raises(ContainerGeneralFailure):
            ask(dummy(deaf=True))
