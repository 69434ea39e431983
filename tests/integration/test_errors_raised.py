"""Each error number in the place where a user meets it: a whole job, and the number in its final report."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path
from typing import Any

import pytest

from pilot.core.update import State
from pilot.lib.process import become_subreaper
from pilot.plugins.sources.dummy import DummySource
from tests.bench import Bench, shell_job
from tests.copytools.webserver import serving


@pytest.fixture(scope="module", autouse=True)
def subreaper() -> None:
    become_subreaper()


def error_of(
    folder: Path, job: dict[str, Any], code: int, queue: dict[str, Any] | None = None, **settings: Any
) -> tuple[Bench, str]:
    """Run one job; it has to fail with this number. The pilot, and the message."""
    bench = Bench(folder, DummySource([job]))
    if queue is not None:
        (bench.workdir / "queuedata.json").write_text(json.dumps({"nickname": "Q"} | queue))
        settings["queue"] = "Q"
    assert bench.run(**settings) in (0, 65)
    final = bench.final(job["PandaID"])
    assert final.state is State.FAILED and final.error is not None
    assert final.error.code == code, final.error
    return bench, final.error.message


WORDS = {
    "sqlite on NFS": ("echo 'prepare 5 database is locked' >&2; exit 1", 1115),
    "a release that is not there": ("echo 'AtlasSetup(FATAL): no such release 99.1' >&2; exit 1", 1211),
    "memory that the payload did not get": ("echo MemoryError >&2; exit 1", 1212),
    "an allocation that failed": ('echo "what():  std::bad_alloc" >&2; kill -ABRT $$', 1223),
    "a crash": ("kill -SEGV $$", 1328),
    "too much CPU by the kernel's count": ("kill -XCPU $$", 1204),
    "user code that is gone": ("echo 'ERROR: unable to retrieve x.tgz: jobO file' >&2; exit 1", 1335),
    "arguments that the transform does not know": ("echo 'tf: error: unrecognized arguments: --x' >&2; exit 2", 1349),
    "an unknown failure of the transform": ("exit 255", 1315),
    "a transform that may not be run": ("exec /etc/passwd", 1143),
    "a transform that is not there": ("exec nosuchprogram", 1346),
    "plain failure": ("exit 3", 1305),
}


@pytest.mark.parametrize("what", WORDS)
def test_what_a_payload_ends_with_becomes_its_number(tmp_path: Path, what: str) -> None:
    script, code = WORDS[what]
    error_of(tmp_path, shell_job(1, script), code)


def test_a_step_before_the_payload_that_fails(tmp_path: Path) -> None:
    job = shell_job(1, "touch ../ran") | {"preprocess": {"command": "echo 'no license' >&2; exit", "args": "9"}}
    bench, message = error_of(tmp_path, job, 1356)
    assert "exit code 9; it said: no license" in message
    assert not (bench.workdir / "ran").exists()


def test_a_step_after_the_payload_that_fails(tmp_path: Path) -> None:
    job = shell_job(1, "echo a > a.txt", outputs=("a.txt",)) | {"postprocess": {"command": "false", "args": ""}}
    error_of(tmp_path, job, 1357)


def test_a_transform_that_cannot_be_downloaded(tmp_path: Path) -> None:
    with serving(tmp_path / "web") as web:
        job = shell_job(1, "") | {"transformation": f"{web.url}/gone/tf.sh", "jobPars": ""}
        _, message = error_of(tmp_path, job, 1149)
        assert "/gone/tf.sh" in message
        asked = len(web.seen)
        _, message = error_of(tmp_path, job | {"PandaID": 2}, 1149, base_urls="https://allowed.example/")
        assert "allowed base URLs" in message and len(web.seen) == asked, "what is not allowed is not asked for"


def test_an_input_whose_storage_has_no_protocol_that_the_queues_tools_speak(tmp_path: Path) -> None:
    job = shell_job(1, "true") | {"inFiles": "in", "inFilePaths": "https://127.0.0.1:1/in", "scopeIn": "t"}
    _, message = error_of(tmp_path, job, 1313, queue={"copytools": {"xrootd": {}}})
    assert "xrootd" in message and "https" in message


def test_an_input_with_a_scheme_that_nobody_knows(tmp_path: Path) -> None:
    job = shell_job(1, "true") | {"inFiles": "in", "inFilePaths": "gopher://h/in", "scopeIn": "t"}
    _, message = error_of(tmp_path, job, 1323)
    assert "gopher" in message


def test_a_queue_with_a_tool_that_nobody_knows(tmp_path: Path) -> None:
    (tmp_path / "in").write_text("x")
    job = shell_job(1, "true", inputs={"in": tmp_path / "in"})
    _, message = error_of(tmp_path, job, 1323, queue={"copytools": {"teleport": {}}})
    assert "teleport" in message


def test_an_input_that_no_storage_has(tmp_path: Path) -> None:
    job = shell_job(1, "true") | {"inFiles": "in", "scopeIn": "t"}
    _, message = error_of(tmp_path, job, 1133, queue={"astorages": {"write_lan": ["LOST"], "read_lan": ["LOST"]}})
    assert "LOST" in message


def test_outputs_for_a_storage_that_nobody_knows(tmp_path: Path) -> None:
    job = shell_job(1, "echo a > a", outputs=("a",)) | {"ddmEndPointOut": "NOWHERE_DISK,NOWHERE_DISK"}
    _, message = error_of(tmp_path, job, 1133, queue={"astorages": {"write_lan": ["NOWHERE_DISK"]}}, output_dir="")
    assert "NOWHERE_DISK" in message


def test_a_log_that_cannot_be_archived(tmp_path: Path) -> None:
    """The payload made a directory where the archive has to be."""
    bench, _ = error_of(tmp_path, shell_job(1, "mkdir -p job.1.log.tgz/x"), 1320)
    assert bench.final(1).payload_exit == 0


def test_a_signal_to_a_pod_is_pre_emption(tmp_path: Path) -> None:
    bench = Bench(tmp_path, DummySource([shell_job(1, "echo here; sleep 60")]))
    bench.at(1.0, lambda: os.kill(os.getpid(), signal.SIGTERM))
    assert bench.run(pod=True) == 143
    final = bench.final(1)
    assert final.state is State.FAILED and final.error is not None and final.error.code == 1379
    assert "SIGTERM" in final.error.message


def test_an_event_job_from_a_source_without_events(tmp_path: Path) -> None:
    job = shell_job(1, "true") | {"eventService": "True"}
    _, message = error_of(tmp_path, job, 1300)
    assert "event" in message


@pytest.mark.parametrize(("fault", "code"), [("500", 1324), ("full", 1333), ("403", 1383), ("other", 1172)])
def test_an_output_that_its_storage_does_not_take(tmp_path: Path, fault: str, code: int) -> None:
    with serving(tmp_path / "web") as web:
        _, message = error_of(
            tmp_path, shell_job(1, "echo a > a.txt", outputs=("a.txt",)), code, output_dir=f"{web.url}/{fault}/x"
        )
    assert "a.txt" in message


def test_an_experiments_set_up_script_that_takes_too_long(tmp_path: Path) -> None:
    """It ends with 2 then; a payload's own 2 means nothing else than that the payload failed."""
    script = tmp_path / "base" / "user" / "atlasLocalSetup.sh"
    script.parent.mkdir(parents=True)
    script.write_text("echo 'lsetup: timed out' >&2; exit 2")
    queue = {"environ": f"ATLAS_LOCAL_ROOT_BASE={tmp_path}/base", "container_type": "singularity:pilot"}
    job = shell_job(1, "true") | {"container_name": "docker://image"}
    (tmp_path / "pilot").mkdir()
    (tmp_path / "pilot" / "cric_ddmendpoints.json").write_text(json.dumps({"D": {"name": "D"}}))
    _, message = error_of(tmp_path, job, 1378, queue=queue, experiment="atlas")
    assert "lsetup: timed out" in message
    error_of(tmp_path, shell_job(2, "exit 2"), 1305)
