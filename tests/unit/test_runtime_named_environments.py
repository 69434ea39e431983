"""Set-up commands, evaluated by a real shell."""

from __future__ import annotations

from pathlib import Path

import pytest

from pilot.core.errors import LsetupTimedOut, SetupFailure
from pilot.lib.shellenv import Change, NamedEnvironments, difference, evaluate

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


def test_it_is_evaluated_once_for_each_start(tmp_path: Path) -> None:
    named = NamedEnvironments()
    setup = f'echo x >> {tmp_path}/count; export B="$OLD"'
    assert [named.change(setup, BASE).put for _ in range(3)] == [{"B": "1"}] * 3
    assert named.change(setup, {**BASE, "OLD": "5"}).put == {"B": "5"}
    assert (tmp_path / "count").read_text().split() == ["x", "x"]
    assert named.change("  ", BASE) == Change()


def test_one_that_failed_is_tried_again(tmp_path: Path) -> None:
    named = NamedEnvironments()
    setup = f"[ -e {tmp_path}/there ] && export C=1"
    with pytest.raises(SetupFailure):
        named.change(setup, BASE)
    (tmp_path / "there").touch()
    assert named.change(setup, BASE).put == {"C": "1"}
