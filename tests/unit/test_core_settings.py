"""Settings: where they come from, what wins, and what is said of a wrong one."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path

import click
import pytest

from pilot.cli.settings import load
from pilot.core.settings import Settings, setting_names


def written(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


def test_without_anything_the_defaults_hold() -> None:
    assert load({}, [], {}) == Settings()


def test_flags_win_over_the_environment_over_files_over_the_users_file(tmp_path: Path) -> None:
    (tmp_path / "pilot").mkdir()
    written(tmp_path / "pilot" / "pilot.toml", '[pilot]\nqueue = "user"\nslots = "5"\ngrace = 1.5\nwait = 4\n')
    first = written(tmp_path / "a.toml", '[pilot]\nqueue = "first"\nslots = "6"\ngrace = 2.5\n')
    second = written(tmp_path / "b.toml", '[pilot]\nqueue = "second"\nslots = "7"\n')
    environ = {"XDG_CONFIG_HOME": str(tmp_path), "PILOT_QUEUE": "environment"}
    found = load({"queue": "flag", "slots": None}, [first, second], environ)
    assert (found.queue, found.slots, found.grace, found.wait) == ("flag", "7", 2.5, 4.0)
    assert load({}, [first, second], environ).queue == "environment"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[pilot]\nqueu = 'x'\n", ["a.toml", "queu", "did you mean 'queue'"]),
        ("[pilot]\nheartbaet = 3\n", ["heartbaet", "did you mean 'heartbeat'"]),
        ("[pilot]\njobs = 'many'\n", ["jobs", "'many'", "int"]),
        ("[pilot]\njobs = true\n", ["jobs", "True"]),
        ("[pilot]\ncleanup = 'most'\n", ["cleanup", "'most'", "none, records, all"]),
        ("[pilot\n", ["a.toml"]),
    ],
)
def test_a_wrong_file_is_named_with_what_is_wrong_and_the_nearest_right_word(
    tmp_path: Path, text: str, words: list[str]
) -> None:
    with pytest.raises(click.UsageError) as caught:
        load({}, [written(tmp_path / "a.toml", text)], {})
    assert all(word in caught.value.message for word in words), caught.value.message
    assert "\n" not in caught.value.message


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(click.UsageError, match=r"gone\.toml"):
        load({}, [tmp_path / "gone.toml"], {})


def test_a_wrong_variable_is_named() -> None:
    with pytest.raises(click.UsageError, match="PILOT_JOBS"):
        load({}, [], {"PILOT_JOBS": "several"})


def test_every_setting_says_what_it_means_and_no_variable_sets_two() -> None:
    described = fields(Settings)
    assert [field.name for field in described] == setting_names()
    assert all(len(field.metadata["help"]) > 8 for field in described)
    variables = [field.metadata["env"] for field in described if field.metadata["env"]]
    assert len(variables) == len(set(variables))
