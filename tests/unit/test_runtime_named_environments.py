"""Set-up commands, evaluated by a real shell."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import click
import pytest

from pilot.cli.checking import check_file
from pilot.cli.named_environment import for_payloads, make_environments
from pilot.core.errors import LsetupTimedOut, SetupFailure
from pilot.core.job import JobDefinition
from pilot.core.queue import QueueData
from pilot.engine.environments import Environments, Named
from pilot.lib.shellenv import Change, difference, evaluate
from pilot.runtime.utilities import Utility, When

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


def counted(folder: Path, lines: str) -> str:
    return f"echo x >> {folder}/count; {lines}"


def test_what_every_payload_gets_is_evaluated_once_and_at_once(tmp_path: Path) -> None:
    environ = {"PATH": "/usr/bin:/bin", "USER": "grid", "TOKEN": "no"}
    found = make_environments({}, counted(tmp_path, 'export B="$USER$TOKEN"; unset USER'), environ)
    assert (tmp_path / "count").read_text().split() == ["x"]
    assert found.known(found.name_of(JobDefinition(1), QueueData("Q"))) == Change({"B": "grid"}, frozenset({"USER"}))
    with pytest.raises(SetupFailure):
        make_environments({}, "false", environ)


def test_an_environment_is_evaluated_by_the_first_who_needs_it_on_top_of_what_all_get(tmp_path: Path) -> None:
    named = {"el9": Named(setup=counted(tmp_path, 'export C="$B+"; unset LANG')), "other": Named(setup="false")}
    found = make_environments(named, "export B=first", {"LANG": "C", "PATH": "/usr/bin:/bin"})
    job, queue = JobDefinition(1, raw={"environment": "el9"}), QueueData("Q")
    assert not (tmp_path / "count").exists()
    work = found.missing(job, queue)
    assert work is not None
    with ThreadPoolExecutor(4) as pool:
        changes = list(pool.map(lambda _: work(), range(4)))
    assert changes == [Change({"B": "first", "C": "first+"}, frozenset({"LANG"}))] * 4
    assert (tmp_path / "count").read_text().split() == ["x"]
    assert found.missing(job, queue) is None and found.known("el9") == changes[0]


def test_the_job_the_queue_and_then_patterns_choose(tmp_path: Path) -> None:
    named = {
        "plain": Named(setup="true"),
        "site": Named(setup="true", queues=("CERN*",)),
        "el9": Named(setup="true", platforms=("x86_64-el9-*",)),
    }
    found = Environments(named)
    queue = QueueData("Q", flags={"environment": "plain"})
    el9 = JobDefinition(1, platform="x86_64-el9-gcc13-opt")
    assert found.name_of(el9, QueueData("Q")) == "el9"
    assert found.name_of(el9, QueueData("CERN_PROD")) == "site"
    assert found.name_of(el9, queue) == "plain"
    assert found.name_of(JobDefinition(1, raw={"environment": "el9"}), queue) == "el9"
    assert found.name_of(JobDefinition(1), QueueData("Q")) == ""
    with pytest.raises(SetupFailure, match=r"'gone' here .plain, site, el9"):
        found.name_of(JobDefinition(1, raw={"environment": "gone"}), queue)


def test_sections_are_read_and_a_wrong_word_is_named(tmp_path: Path) -> None:
    file, later = tmp_path / "a.toml", tmp_path / "b.toml"
    file.write_text("[environments.a]\nsetup='x'\n[utilities.u]\ncommand='y'\nwhen='after'\nqueues=['Q*']\n")
    later.write_text("[environments.a]\nsetup='z'\n")
    found = for_payloads([file, later], {})
    assert found.environments == {"a": Named(setup="z")}
    assert found.utilities == (Utility(name="u", command="y", when=When.AFTER, queues=("Q*",)),)
    for text, wrong in {
        "[environments.a]\nset='x'\n": r"environments.a: .*set",
        "[utilities.u]\ncommand='y'\nwhen='later'\n": r"utilities.u: .*later",
        "[utilities.'a b']\ncommand='y'\n": "utilities.a b: .*cannot be the name",
    }.items():
        file.write_text(text)
        with pytest.raises(click.UsageError, match=wrong):
            for_payloads([file], {})
        assert check_file(file)["ok"] is (" b" in text)
