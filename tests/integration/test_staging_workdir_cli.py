import json
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def test_the_command_tells_the_place_and_the_reasons(tmp_path: Path) -> None:
    def run(*words: str) -> subprocess.CompletedProcess[str]:
        env = {**os.environ, "PYTHONPATH": str(ROOT), "SCRATCH": str(tmp_path), "PEGASUS_WN_TMP": "/nope"}
        argv = [sys.executable, "-m", "pilot", "workdir", "--order", "PEGASUS_WN_TMP SCRATCH", *words]
        return subprocess.run(argv, env=env, capture_output=True, text=True)

    assert run("--need", "1M").stdout.strip() == str(tmp_path)
    told = run("--need", "1M", "--explain").stdout
    assert "- PEGASUS_WN_TMP: /nope: No such file" in told and f"* SCRATCH: {tmp_path}" in told
    assert run("--need", "900000T").returncode == 69
    document = json.loads(run("--need", "1M", "--json", "--make").stdout)
    assert os.path.dirname(document["path"]) == str(tmp_path) and os.path.isdir(document["path"])
    assert run("--need", "much").returncode == 2
