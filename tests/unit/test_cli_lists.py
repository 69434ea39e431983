"""What somebody is told who has made a mistake in a list of files or in the command beside it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from pilot.cli import main as command_line
from pilot.core.transfer import Direction
from pilot.lib import scratch
from pilot.plugins.copytools.base import Fault
from pilot.staging.faults import failure_of


def _end(capsys: pytest.CaptureFixture[str], *argv: object) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as ended:
        command_line.main([str(word) for word in argv])
    said = capsys.readouterr()
    return int(ended.value.code or 0), said.out, said.err


def _list(folder: Path, *entries: dict[str, Any]) -> Path:
    path = folder / "list.json"
    path.write_text(json.dumps(entries))
    return path


def _entry(source: Path | str, target: Path | str, **more: Any) -> dict[str, Any]:
    return {"type": "transfer", "sources": [str(source)], "targets": [str(target)], **more}


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"size": "six"}, "entry 2, size: expected int | null, got str"),
        ({"type": "transfr"}, "entry 2, type: invalid value 'transfr'; known: transfer, mkdir, remove"),
        ({"type": "mkdir"}, "entry 2: object missing required field target"),
        ({"sources": [], "source": ["/a"]}, "transfer 2 (no lfn): it has no source: give `sources` or `src_urls`"),
        ({"targets": []}, "transfer 2 (no lfn): it has no destination: give `targets` or `dest_urls`"),
        ({"sources": [{"url": "/a", "priority": "high"}]}, "transfer 2 (no lfn): priority is no number: 'high'"),
    ],
)
def test_a_mistake_in_a_list_is_told_with_its_entry_its_key_and_what_would_do(
    wrong: dict[str, Any], told: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = _list(tmp_path, _entry("/a", "/b"), {**_entry("/a", "/b"), **wrong})
    assert _end(capsys, "transfer", path) == (2, "", f"pilot: {path}: {told}\n")


def test_a_list_that_is_none_is_told_what_a_list_is(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "list.json"
    path.write_text("{}")
    assert _end(capsys, "transfer", path)[2] == f"pilot: {path}: a list of entries is expected: [{{...}}, ...]\n"


def test_a_copy_tool_that_nobody_knows_is_a_wrong_command_line_and_told_once(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "f").write_text("x")
    path = _list(tmp_path, _entry(tmp_path / "f", tmp_path / "g"), _entry(tmp_path / "f", tmp_path / "h"))
    code, _, err = _end(capsys, "transfer", path, "--copytool", "reflnk")
    assert (code, err.count("\n")) == (2, 1) and err.startswith("pilot: --copytool: ") and "'reflink'" in err
    assert _end(capsys, "transfer", path, "--copytool", "reflink cp")[0] == 0
    assert (tmp_path / "g").read_text() == (tmp_path / "h").read_text() == "x"


@pytest.mark.parametrize("option", ["--report", "--events"])
def test_a_record_that_cannot_be_made_is_told_with_its_option(
    option: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, _, err = _end(capsys, "transfer", _list(tmp_path), option, tmp_path / "no" / "f")
    assert (code, err) == (2, f"pilot: {option}: {tmp_path}/no/f: No such file or directory\n")


def test_a_list_is_told_of_files_not_of_staging(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, _, err = _end(capsys, "transfer", _list(tmp_path, _entry(tmp_path, tmp_path / "f")))
    assert (code, err) == (1, f"transfer f: A file could not be moved: {tmp_path} is not a plain file\n")
    denied = failure_of(Fault.DENIED, "/s: Permission denied", Direction.OTHER, True)
    assert (denied.code, denied.message) == (1338, "The source may not be read: /s: Permission denied")
    refused = failure_of(Fault.REFUSED, "/t", Direction.OTHER, True)
    assert (refused.code, refused.message, refused.retry) == (1099, "The target may not be written: /t", False)
    assert "staged in" in failure_of(Fault.REFUSED, "/t", Direction.IN, True).message


def test_every_reason_of_a_file_that_no_source_gave_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "bad").write_text("x")
    one = {**_entry("", tmp_path / "f", checksum="ad:1"), "sources": [str(tmp_path / "none"), str(tmp_path / "bad")]}
    code, _, err = _end(capsys, "transfer", _list(tmp_path, one))
    assert code == 1 and err.count("\n") == 1
    first, _, second = err.partition("; also: ")
    assert f"{tmp_path}/none" in first and f"{tmp_path}/bad: adler32" in second


def test_the_plan_of_a_list_says_which_sources_are_not_there_and_each_thing_once(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "f").write_text("x")
    path = _list(
        tmp_path,
        _entry(tmp_path / "f", tmp_path / "made"),
        _entry(tmp_path / "made", tmp_path / "again"),
        _entry(tmp_path / "none", tmp_path / "never"),
    )
    code, out, _ = _end(capsys, "transfer", "--explain", path)
    assert code == 0 and [line.endswith("(source: not there now)") for line in out.splitlines()] == [False] * 5 + [True]
    (tmp_path / "loose").symlink_to(tmp_path / "none")
    path = _list(tmp_path, _entry(tmp_path / "loose", tmp_path / "never"))
    assert _end(capsys, "transfer", "--explain", path)[1].endswith("(source: not there now)\n")
    code, out, _ = _end(capsys, "transfer", "--explain", _list(tmp_path, _entry("htpp://x/y", tmp_path / "g")))
    assert code == 1 and out.count("no copy tool for htpp://") == 1 and "1. no tool: htpp://x/y" in out


def test_the_plan_of_a_job_says_which_sources_are_not_there(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "here").write_text("x")
    job = {"PandaID": 1, "transformation": "true", "inFiles": "a,b", "scopeIn": "s,s"}
    (tmp_path / "j.json").write_text(json.dumps({**job, "inFilePaths": f"{tmp_path}/here,{tmp_path}/gone"}))
    words = ("run", "--explain", tmp_path / "j.json", "--workdir", tmp_path / "w", "--replicas", "none")
    code, out, _ = _end(capsys, *words)
    assert code == 0 and f"{tmp_path}/gone: not there now" in out and f"{tmp_path}/here:" not in out


def test_the_plan_on_a_queue_of_which_nothing_is_known_says_so_and_tells_mistakes_once(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "j.json").write_text('{"PandaID": 1, "transformation": "true"}')
    words = ("run", "--explain", tmp_path / "j.json", "--workdir", tmp_path / "w")
    assert _end(capsys, *words)[2] == ""
    code, _, err = _end(capsys, *words, "--queue", "FAR")
    assert code == 0 and err.startswith("pilot: nothing is known of queue FAR: ") and "--queuedata-url" in err
    (tmp_path / "j.json").write_text('{"PandaID": 1}')
    code, out, _ = _end(capsys, *words)
    assert code == 1 and out.splitlines()[1].startswith("  error: transformation is missing")


def test_room_that_lacks_is_told_in_units(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, _, err = _end(capsys, "workdir", "--order", tmp_path, "--need", "900T")
    assert (code, err) == (69, "no candidate has 900.000 TiB (--need) and can be written; --explain says why\n")
    (place,) = scratch.survey({}, [str(tmp_path)], 900 << 40)
    assert place.why.endswith("iB free, 900.000 TiB needed")
    (place,) = scratch.survey({}, [str(tmp_path)], 1, reserved=lambda path: (1 << 60, 0))
    assert "1048576.000 TiB of it claimed by other pilots, 1 bytes needed" in place.why


def test_a_work_directory_that_cannot_be_made_is_told_as_one(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").touch()
    code, _, err = _end(capsys, "run", "--source", "dummy", "--workdir", tmp_path / "file" / "w")
    assert (code, err) == (66, f"pilot: the work directory {tmp_path}/file/w cannot be made: Not a directory\n")


def test_jobs_one_after_another_over_several_lines_are_told_what_form_they_need(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "jobs.json"
    path.write_text('{"transformation":\n "true"}\n{"transformation":\n "true"}\n')
    code, _, err = _end(capsys, "submit", path, "--url", "http://127.0.0.1:1")
    assert code == 2 and "line 3: Extra data (jobs are one JSON object, a list of them, or one a line)" in err
