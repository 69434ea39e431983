"""Set-up commands, evaluated by a real shell."""

from __future__ import annotations

from pathlib import Path

import pytest

from pilot.cli.named_environment import with_setup
from pilot.core.errors import LsetupTimedOut, SetupFailure
from pilot.core.job import JobDefinition
from pilot.core.queue import QueueData
from pilot.lib.shellenv import Change, difference, evaluate

BASE = {"PATH": "/usr/bin:/bin", "OLD": "1", "SAME": "x"}


def test_what_is_set_changed_and_unset_is_the_difference() -> None:
    change = evaluate('export NEW="a\nb"; OLD=2; unset SAME; LOCAL=no; echo noise', BASE)
    assert change == Change({"NEW": "a\nb", "OLD": "2"}, frozenset({"SAME"}))
    assert change.apply({**BASE, "OTHER": "y"}) == {"PATH": "/usr/bin:/bin", "OLD": "2", "NEW": "a\nb", "OTHER": "y"}


def test_nothing_changed_is_no_difference() -> None:
    assert evaluate("true", BASE) == Change()
    assert difference({"_": "a", "SHLVL": "1"}, {"_": "b", "SHLVL": "2", "PWD": "/"}) == Change()


def test_a_sourced_file_counts(tmp_path: Path) -> None:
    (tmp_path / "setup.sh").write_text("export LIB=/opt/lib\n")
    assert evaluate(f". {tmp_path}/setup.sh", BASE).put == {"LIB": "/opt/lib"}


@pytest.mark.parametrize(
    "setup", ["echo broken >&2; false", "echo broken >&2; exit 3", "echo broken >&2; exit 0", "((("]
)
def test_a_set_up_that_fails_is_told_with_its_words(setup: str) -> None:
    with pytest.raises(SetupFailure, match=r"broken|unexpected"):
        evaluate(setup, BASE)


def test_a_set_up_that_hangs_is_given_up() -> None:
    with pytest.raises(LsetupTimedOut):
        evaluate("exec sleep 60", BASE, limit_s=0.3)


def test_a_pilots_set_up_is_evaluated_once_and_goes_before_the_queues_own(tmp_path: Path) -> None:
    setup = f'echo x >> {tmp_path}/count; export B="$USER" C=setup'
    own = QueueData("Q", environ={"C": "queue"})
    queues = with_setup(lambda job: own, setup, {"PATH": "/usr/bin:/bin", "USER": "grid", "TOKEN": "no"})
    assert [queues(JobDefinition(n)).environ for n in range(3)] == [{"B": "grid", "C": "queue"}] * 3
    assert (tmp_path / "count").read_text().split() == ["x"]
    assert with_setup(lambda job: own, " ", {})(JobDefinition(1)) is own
