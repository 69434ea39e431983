"""A wrong command line, file or place is told in one line, with the exit code that says so."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path

import pytest

from pilot.cli import main as command_line
from pilot.cli.compat import OPTIONS, translate
from pilot.cli.experiment import without_rules
from pilot.core.definition import parse
from pilot.core.facts import Facts
from pilot.core.lifecycle import Job
from pilot.db.store import Store
from pilot.lib.activelog import active_log


def _end(capsys: pytest.CaptureFixture[str], *argv: object) -> tuple[int, str]:
    with pytest.raises(SystemExit) as ended:
        command_line.main([str(word) for word in argv])
    code = ended.value.code
    assert isinstance(code, int)
    return code, capsys.readouterr().err


@pytest.mark.parametrize("text", ["{bad", "[1, 2]", None, b"\xff\xfe"])
def test_a_job_file_that_cannot_be_read_is_a_wrong_file(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str | bytes | None
) -> None:
    file = tmp_path / "jobs.json"
    if text is not None:
        file.write_bytes(text if isinstance(text, bytes) else text.encode())
    code, said = _end(capsys, "run", "--source", "local", file, "--workdir", tmp_path / "w", "--cgroups", "false")
    assert code == 2
    assert said.count("\n") == 1 and str(file) in said


def test_a_pilotdb_that_is_not_there_is_a_wrong_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, said = _end(capsys, "status", "--db", tmp_path)
    assert code == 2 and said.startswith(f"pilot: there is no PilotDB {tmp_path}/pilot.db")


def test_without_a_command_the_help_is_shown_as_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    code, said = _end(capsys)
    assert code == 2 and said.startswith("Usage: pilot") and "\n  demo" in said


def test_a_demo_in_a_place_that_is_no_directory_names_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").touch()
    code, said = _end(capsys, "demo", "--workdir", tmp_path / "file")
    assert code == 66 and said.startswith(f"pilot: {tmp_path}/file/inputs: ") and said.count("\n") == 1


def test_submitting_to_nobody_is_a_server_that_cannot_be_reached(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "jobs.json").write_text(json.dumps({"transformation": "/bin/true"}))
    code, said = _end(capsys, "submit", tmp_path / "jobs.json", "--url", "http://127.0.0.1:1")
    assert code == 79 and "no job server at http://127.0.0.1:1" in said


def test_a_wrappers_flag_takes_no_word_from_the_next_option() -> None:
    assert translate(["-u", "-q", "Q"], ["--queue"])[0] == ["--queue", "Q"]


def test_an_option_at_the_end_without_its_value_is_left_to_be_refused() -> None:
    assert translate(["-q"], [old.becomes for old in OPTIONS])[0] == ["--queue"]


def test_what_the_pilot_writes_of_outputs_is_nobodys_log(tmp_path: Path) -> None:
    (tmp_path / "payload.stderr").write_text("boom\n")
    (tmp_path / "OutputFiles.xml").write_text("<outfiles/>\n")
    (tmp_path / "PoolFileCatalog.xml").write_text("<POOLFILECATALOG/>\n")
    assert active_log(tmp_path) == tmp_path / "payload.stderr"


def _run_locally(capsys: pytest.CaptureFixture[str], tmp_path: Path, db: Path) -> tuple[int, str]:
    (tmp_path / "jobs.json").write_text("[]")
    words = ["--source", "local", tmp_path / "jobs.json", "--workdir", tmp_path / "w", "--cgroups", "false"]
    return _end(capsys, "run", *words, "--db", db)


def test_a_pilotdb_in_no_directory_is_told_before_anything_is_done(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, said = _run_locally(capsys, tmp_path, tmp_path / "nowhere" / "x.db")
    assert code == 2 and said == f"pilot: --db {tmp_path}/nowhere/x.db: there is no directory {tmp_path}/nowhere\n"
    assert not (tmp_path / "w" / "pilot.braindump.json").exists()


def test_a_file_that_is_no_pilotdb_is_a_wrong_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "x.db").write_text("no database at all, whatever its name says" * 10)
    code, said = _run_locally(capsys, tmp_path, tmp_path / "x.db")
    assert code == 2 and said == f"pilot: --db: the PilotDB {tmp_path}/x.db: file is not a database\n"


def test_a_directory_for_the_pilotdb_is_one_for_run_as_for_status(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "dbs").mkdir()
    assert _run_locally(capsys, tmp_path, tmp_path / "dbs")[0] == 0
    assert (tmp_path / "dbs" / "pilot.db").is_file()
    assert json.loads((tmp_path / "w" / "pilot.braindump.json").read_text())["db"] == f"{tmp_path}/dbs/pilot.db"
    assert _end(capsys, "status", "--db", tmp_path / "dbs")[0] == 0


@pytest.mark.parametrize(("name", "meant"), [("atlsa", "; did you mean 'atlas'?"), ("rubin", ". Its jobs")])
def test_an_experiment_without_rules_is_told_and_its_jobs_run(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str, meant: str
) -> None:
    (tmp_path / "jobs.json").write_text(json.dumps({"transformation": "/bin/touch", "jobPars": f"{tmp_path}/ran"}))
    words = ["--source", "local", tmp_path / "jobs.json", "--workdir", tmp_path / "w", "--cgroups", "false"]
    code, said = _end(capsys, "run", *words, "--pilot-user", name)
    (line,) = (line for line in said.splitlines() if "the experiment '" in line)
    assert code == 0 and f"{name!r} is not known{meant}" in line and "atlas, generic" in line
    assert (tmp_path / "ran").exists()


@pytest.mark.parametrize("name", ["atlas", "generic"])
def test_nothing_is_said_of_an_experiment_that_is_known(name: str) -> None:
    assert without_rules(name) == ""


def test_no_files_and_nothing_left_to_do_is_a_wrong_command_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, said = _end(capsys, "run", "--source", "local", "--workdir", tmp_path / "w", "--cgroups", "false")
    assert code == 2 and "FILES is missing" in said and str(tmp_path / "w") in said
    assert not (tmp_path / "w" / "pilot.db").exists()


def test_jobs_of_an_earlier_pilot_need_no_files(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "w" / "job-7.1").mkdir(parents=True)
    job = parse({"PandaID": 7, "attemptNr": 1, "transformation": "/bin/touch", "jobPars": f"{tmp_path}/ran"})
    with contextlib.closing(Store(tmp_path / "w" / "pilot.db")) as store:
        store.add_job(job, Job(job.key), Facts(acquired=1.0), str(tmp_path / "w" / "job-7.1"), store.add_pilot())
    code, said = _end(capsys, "run", "--source", "local", "--workdir", tmp_path / "w", "--cgroups", "false")
    assert (code, (tmp_path / "ran").exists()) == (0, True), said
