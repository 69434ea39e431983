"""What `pilot benchmark` found reaches the report of a job that `pilot run` runs afterwards."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

from pilot.lib.program import own_command, own_environment


def test_a_measured_node_is_told_in_the_jobs_report(tmp_path: Path) -> None:
    env = {**own_environment(), "TMPDIR": str(tmp_path)}

    def pilot(*args: str) -> str:
        done = subprocess.run(own_command(*args), env=env, capture_output=True, text=True, check=False, timeout=60)
        assert done.returncode == 0, done.stderr
        return done.stdout

    score = json.loads(pilot("benchmark", "--seconds", "0.05", "--copies", "1", "--json"))["score"]
    job = {"PandaID": 5, "attemptNr": 1, "transformation": "/bin/true", "jobPars": ""}
    job |= {"logFile": "5.log.tgz", "outFiles": "5.log.tgz", "scopeLog": "t"}
    (tmp_path / "job.json").write_text(json.dumps(job))
    options = ["--source", "local", "--benchmark", "true", "--cleanup", "none", "--workdir", str(tmp_path / "work")]
    pilot("run", *options, str(tmp_path / "job.json"))
    heartbeat = json.loads((tmp_path / "work" / "job-5.1" / "heartbeat.json").read_text())
    assert heartbeat["state"] == "finished"
    assert heartbeat["metrics"]["whirl"] == f"{score:.2f}"
