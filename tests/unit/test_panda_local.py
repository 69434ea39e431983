"""Jobs from files: every form of file, and what is said of a bad one."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from pilot.core.errors import ConversionFailure, FileHandlingFailure, NoSuchFile, PilotError
from pilot.core.update import JobUpdate, State
from pilot.plugins.sources.base import Capacity
from pilot.plugins.sources.local import LocalSource


@pytest.mark.parametrize("content", ['{"PandaID": 7}', '[{"PandaID": 7}]', '{"PandaID": 7}\n\n{"PandaID": 8}\n'])
def test_a_file_holds_one_job_or_many(tmp_path: Path, content: str) -> None:
    (tmp_path / "j").write_text(content)
    assert LocalSource([tmp_path / "j"]).acquire(Capacity(jobs=1)).jobs[0]["PandaID"] == 7


def test_the_last_job_says_that_there_are_no_more(tmp_path: Path) -> None:
    (tmp_path / "j").write_text("[{}, {}]")
    source = LocalSource([tmp_path / "j"])
    assert [source.acquire(Capacity(jobs=1)).finished for _ in range(2)] == [False, True]


def test_jobs_without_a_number_get_one_that_no_other_has(tmp_path: Path) -> None:
    (tmp_path / "a").write_text('[{}, {"PandaID": 1}, {"PandaID": "2"}]')
    (tmp_path / "b").write_text("{}")
    jobs = LocalSource([tmp_path / "a", tmp_path / "b"]).acquire(Capacity(jobs=9)).jobs
    numbers = [int(job["PandaID"]) for job in jobs]
    assert len(set(numbers)) == 4 and numbers[1:3] == [1, 2]


BAD: list[tuple[str | None, type[PilotError], str]] = [
    (None, NoSuchFile, "there is no such file"),
    ("", ConversionFailure, "Expecting value"),
    ('{"PandaID": 1}\n{"half', ConversionFailure, "line 2"),
    ("[1]", ConversionFailure, "expected JSON objects, found 1"),
    ('"x"', ConversionFailure, "expected JSON objects"),
    ('[{"PandaID": 1}, {"PandaID": 1}]', ConversionFailure, "PandaID 1 is given to two jobs"),
]


@pytest.mark.parametrize(("content", "error", "words"), BAD)
def test_a_bad_file_is_told_before_any_job_runs(
    tmp_path: Path, content: str | None, error: type[PilotError], words: str
) -> None:
    if content is not None:
        (tmp_path / "j.json").write_text(content)
    with pytest.raises(error, match=words):
        LocalSource([tmp_path / "j.json"])


def test_what_is_told_goes_to_a_file_line_by_line(tmp_path: Path) -> None:
    source = LocalSource([], tmp_path / "told")
    source.report([JobUpdate(1, 0, State.RUNNING, 1.0), JobUpdate(1, 0, State.FINISHED, 2.0)])
    states = [json.loads(line)["state"] for line in (tmp_path / "told").read_text().splitlines()]
    assert states == ["running", "finished"]
    with pytest.raises(FileHandlingFailure, match="Is a directory"):
        LocalSource([], tmp_path).report([JobUpdate(1, 0, State.RUNNING, 1.0)])
