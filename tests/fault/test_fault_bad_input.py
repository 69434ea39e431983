"""Bad input: the right error number, a message that a person understands, and everything that exists is kept."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from pilot.core.transfer import Endpoint, Transfer
from pilot.core.update import JobUpdate, State
from pilot.engine.claims import Claims
from pilot.lib.files import local_path
from pilot.lib.process import become_subreaper
from pilot.plugins.sources.dummy import DummySource
from tests.bench import Bench, shell_job


@pytest.fixture(scope="module", autouse=True)
def subreaper() -> None:
    become_subreaper()


def ended(folder: Path, *jobs: dict[str, Any], **settings: Any) -> tuple[Bench, dict[str, JobUpdate]]:
    bench = Bench(folder, DummySource(jobs))
    assert bench.run(**settings) == 0
    return bench, bench.source.final


GOOD = shell_job(2, "echo good > good.txt", outputs=("good.txt",))

DESCRIPTIONS: dict[str, tuple[dict[str, Any], int, str]] = {
    "a count that is no number": ({"coreCount": "many"}, 1302, "coreCount is 'many', expected an integer"),
    "lists of different lengths": ({"inFiles": "a,b", "fsize": "1"}, 1312, "fsize has 1 entries, inFiles has 2"),
    "an input that leaves the directory": ({"inFiles": "../passwd"}, 1371, "'../passwd' leaves the job's directory"),
    "an output that leaves the directory": ({"outFiles": "../../x", "logFile": ""}, 1371, "leaves the job's directory"),
    "a log that leaves the directory": ({"logFile": "/etc/log", "outFiles": ""}, 1371, "leaves the job's directory"),
    "an input with a NUL": ({"inFiles": "a\0b"}, 1371, "holds a control character"),
    "an output with a NUL": ({"outFiles": "a\0b", "logFile": ""}, 1371, "holds a control character"),
    "a name too long": ({"inFiles": "x" * 256}, 1190, "has 256"),
    "an output named twice": ({"outFiles": "a,a", "logFile": ""}, 1371, "'a' is named twice"),
    "an input that the pilot writes over": ({"inFiles": "payload.stdout"}, 1371, "a file that the pilot writes itself"),
    "nothing to run": ({"transformation": "", "jobPars": ""}, 1346, "transformation is missing"),
    "more memory than there is": ({"minRamCount": 900_000_000}, 1344, "900000000 MB memory"),
    "half a surrogate": ({"jobName": "\ud800"}, 1302, "Unicode"),
    "infinite memory": ({"minRamCount": float("inf")}, 1302, "minRamCount"),
}


@pytest.mark.parametrize("what", DESCRIPTIONS)
def test_a_description_that_breaks_the_rules_fails_that_job_alone(tmp_path: Path, what: str) -> None:
    change, code, words = DESCRIPTIONS[what]
    bench, final = ended(tmp_path, shell_job(1, "touch ../ran") | change, GOOD)
    assert final["1.1"].state is State.FAILED
    error = final["1.1"].error
    assert error is not None and (error.code, words in error.message) == (code, True), error
    assert not (bench.workdir / "ran").exists()
    assert final["2.1"].state is State.FINISHED
    assert (bench.outputs / "good.txt").exists()
    assert not (tmp_path.parent / "passwd").exists()


@pytest.mark.parametrize("number", [None, "", "seven", -3, 0, 10**30, True, [1], {"a": 1}, 1.5, float("inf")])
def test_a_description_without_a_usable_number_is_refused_and_the_next_one_runs(tmp_path: Path, number: object) -> None:
    bench = Bench(tmp_path, DummySource([shell_job(1, "true") | {"PandaID": number}, GOOD]))
    assert bench.run() == 65, "nobody else hears of a job that cannot be named"
    final = bench.source.final
    assert set(final) == {"2.1"}
    assert final["2.1"].state is State.FINISHED


def test_a_missing_input_is_named_and_the_payload_does_not_run(tmp_path: Path) -> None:
    (tmp_path / "here").write_text("x")
    job = shell_job(1, "touch ../ran", inputs={"here": tmp_path / "here"})
    job |= {"inFiles": "here,gone", "inFilePaths": f"{tmp_path}/here,{tmp_path}/gone", "scopeIn": "t,t"}
    job |= {"fsize": "1,5", "checksum": job["checksum"] + ",ad:00000001"}
    bench, final = ended(tmp_path, job)
    error = final["1.1"].error
    assert error is not None and error.code in (1103, 1331) and "gone" in error.message, error
    assert {file.lfn for file in final["1.1"].report or ()} == {"job.1.log.tgz"}, "the log is kept"
    assert not (bench.workdir / "ran").exists()


@pytest.mark.parametrize(
    ("change", "code"),
    [({"checksum": "ad:deadbeef"}, 1171), ({"checksum": "md:" + "0" * 32}, 1145), ({"fsize": "7"}, 0)],
)
def test_an_input_that_is_not_what_was_promised_is_not_given_to_the_payload(
    tmp_path: Path, change: dict[str, str], code: int
) -> None:
    (tmp_path / "in.txt").write_text("content")
    job = shell_job(1, "touch ../ran", inputs={"in.txt": tmp_path / "in.txt"})
    bench, final = ended(tmp_path, job | ({"fsize": "8"} if "fsize" in change else change), cleanup="none")
    error = final["1.1"].error
    assert error is not None and "in.txt" in error.message
    assert error.code == code if code else "7 bytes instead of 8" in error.message
    assert not (bench.workdir / "ran").exists()
    assert not (bench.directory(1) / "in.txt").exists()
    assert (tmp_path / "in.txt").read_text() == "content", "the source is left alone"


def test_an_output_that_was_not_written_fails_the_job_and_the_others_are_kept(tmp_path: Path) -> None:
    bench, final = ended(tmp_path, shell_job(1, "echo a > a.txt", outputs=("a.txt", "b.txt")))
    error = final["1.1"].error
    assert error is not None and (error.code, "b.txt" in error.message) == (1165, True)
    assert {file.lfn for file in final["1.1"].report or ()} == {"a.txt", "job.1.log.tgz"}
    assert (bench.outputs / "a.txt").read_text() == "a\n"


def test_an_empty_output_is_told_as_such(tmp_path: Path) -> None:
    _, final = ended(tmp_path, shell_job(1, ": > a.txt", outputs=("a.txt",)))
    assert final["1.1"].error is not None and final["1.1"].error.code == 1350


def test_an_optional_output_may_be_missing(tmp_path: Path) -> None:
    _, final = ended(tmp_path, shell_job(1, "true", outputs=("a.txt",)) | {"allowNoOutput": "a.txt"})
    assert final["1.1"].state is State.FINISHED


def test_an_output_that_is_a_directory_is_missing(tmp_path: Path) -> None:
    _, final = ended(tmp_path, shell_job(1, "mkdir a.txt", outputs=("a.txt",)))
    assert final["1.1"].error is not None and final["1.1"].error.code == 1165


def test_a_payload_that_cannot_be_started_is_told_with_its_name(tmp_path: Path) -> None:
    _, final = ended(tmp_path, shell_job(1, "") | {"transformation": "/no/such/program", "jobPars": ""})
    assert final["1.1"].error is not None and final["1.1"].payload_exit == 127
    assert "/no/such/program" in final["1.1"].error.message


def test_a_log_with_the_longest_name_is_archived(tmp_path: Path) -> None:
    name = "l" * 251 + ".tgz"
    bench, final = ended(tmp_path, shell_job(1, "true") | {"logFile": name, "outFiles": name})
    assert final["1.1"].state is State.FINISHED, final["1.1"].error
    assert (bench.outputs / name).exists()


def test_a_report_of_the_payload_that_is_no_json_does_no_harm(tmp_path: Path) -> None:
    _, final = ended(
        tmp_path,
        shell_job(1, "printf '{\"nEvents\": ' > jobReport.json"),
        shell_job(2, "printf '[1, 2]' > jobReport.json"),
        shell_job(3, "head -c 100000 /dev/zero | tr '\\0' '[' > jobReport.json"),
        shell_job(4, 'echo \'{"nEvents": "many", "files": 7}\' > jobReport.json'),
    )
    assert [update.state for update in final.values()] == [State.FINISHED] * 4
    assert [update.events for update in final.values()] == [None] * 4


def test_the_same_job_offered_again_is_neither_run_nor_reported_twice(tmp_path: Path) -> None:
    bench = Bench(tmp_path, DummySource([shell_job(1, "echo x >> ../ran"), shell_job(1, "echo x >> ../ran")]))
    assert bench.run(cleanup="all") == 0
    bench.source.jobs.append(shell_job(1, "echo x >> ../ran"))
    assert bench.run(cleanup="all") == 0
    assert (bench.workdir / "ran").read_text() == "x\n"
    assert bench.finals(1) == 1
    assert not bench.directory(1).exists()


def test_another_attempt_of_the_same_job_is_another_job(tmp_path: Path) -> None:
    bench = Bench(tmp_path, DummySource([shell_job(1, "exit 1")]))
    assert bench.run() == 0
    bench.source.jobs.append(shell_job(1, "true") | {"attemptNr": 2})
    assert bench.run() == 0
    assert [bench.source.final[key].state for key in ("1.1", "1.2")] == [State.FAILED, State.FINISHED]


@pytest.mark.parametrize("slots", ["1", "2"])
def test_two_jobs_with_one_name_for_their_outputs_do_not_overwrite_each_other(tmp_path: Path, slots: str) -> None:
    bench, final = ended(
        tmp_path,
        shell_job(1, "echo one > same.txt; echo 1 > own1.txt", outputs=("same.txt", "own1.txt")),
        shell_job(2, "echo two > same.txt; echo 2 > own2.txt", outputs=("same.txt", "own2.txt")),
        slots=slots,
    )
    assert [update.state for update in final.values()] == [State.FINISHED, State.FINISHED]
    places = {u.job_id: {f.lfn: f.surl for f in u.report or ()}["same.txt"] for u in final.values()}
    assert len(set(places.values())) == 2
    for number, word in ((1, "one\n"), (2, "two\n")):
        path = local_path(places[number])
        assert path is not None and Path(path).read_text() == word
    assert (bench.outputs / "same.txt").exists(), "the first has the place that the site gives"


def test_a_remote_storage_is_not_asked_to_overwrite_another_jobs_output() -> None:
    claims = Claims()
    order = [Transfer("same.txt", (), (Endpoint("root://far//data/same.txt"),))]
    assert claims.claim(1, order) == (order, None)
    assert claims.claim(1, order) == (order, None), "another attempt of the same job"
    kept, failure = claims.claim(2, order)
    assert kept == [] and failure is not None and failure.code == 1221
    assert "same.txt of job 1 is at root://far//data/same.txt" in failure.message


@pytest.mark.parametrize("kind", ["pipe", "device", "directory"])
def test_an_input_that_is_no_plain_file_is_refused_at_once(tmp_path: Path, kind: str) -> None:
    os.mkfifo(tmp_path / "pipe")
    path = {"pipe": tmp_path / "pipe", "device": Path("/dev/zero"), "directory": tmp_path}[kind]
    _, final = ended(tmp_path, shell_job(1, "true") | {"inFiles": "in", "inFilePaths": str(path), "scopeIn": "t"})
    error = final["1.1"].error
    assert error is not None and error.code == 1099 and "is not a plain file" in error.message
