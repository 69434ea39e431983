"""The pilot as one file, on a bare Debian root: nothing but Python 3.11, no network but loopback."""

import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.bench import shell_job
from tests.system.pyz import ROOT

Run = Callable[..., subprocess.CompletedProcess[str]]

#: Where the file unpacks itself, by what home there is.
HOMES = {
    "an empty one": (["--dir", "/srv/home", "--setenv", "HOME", "/srv/home"], "/srv/home/.cache/pilot-pyz"),
    "a read-only one": (["--setenv", "HOME", "/root"], "/tmp/pilot-pyz-0"),
    "none": ([], "/tmp/pilot-pyz-0"),
}


@pytest.fixture
def bare(rootfs: dict[str, Any], pyz: Path, tmp_path: Path) -> Run:
    """Runs a shell script there, in an empty /srv/work: the root read-only, an environment of PATH and HOME alone."""

    def run(script: str, home: str = "none") -> subprocess.CompletedProcess[str]:
        box = ["bwrap", "--unshare-all", "--die-with-parent", "--clearenv", "--setenv", "PATH", "/usr/bin:/bin"]
        box += ["--ro-bind", rootfs["folder"], "/", "--proc", "/proc", "--dev", "/dev", "--tmpfs", "/tmp"]
        box += ["--tmpfs", "/srv", "--ro-bind", str(pyz), "/srv/pilot.pyz", "--bind", str(tmp_path), "/srv/work"]
        box += ["--chdir", "/srv/work", *HOMES[home][0], "/bin/sh", "-euc", script]
        return subprocess.run(box, capture_output=True, text=True, timeout=120, check=False)

    return run


@pytest.mark.parametrize("home", HOMES)
def test_it_starts_and_its_demonstration_finishes_every_job(bare: Run, home: str) -> None:
    there = f"test -d {HOMES[home][1]} || echo unpacked elsewhere >&2"
    done = bare(f"/srv/pilot.pyz --version >&2; {there}; exec /srv/pilot.pyz demo --json", home)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stderr.startswith("pilot, version ") and "elsewhere" not in done.stderr
    report = json.loads(done.stdout)
    assert report["ok"] and len(report["jobs"]) == 3
    assert all(job["as_expected"] for job in report["jobs"])


def test_it_runs_jobs_from_files_with_nothing_but_loopback(bare: Run, tmp_path: Path) -> None:
    script = "import ssl, sys; open('v', 'w').write('.'.join(map(str, sys.version_info[:2])))"
    job = shell_job(1, f'/usr/bin/python3 -c "{script}"', outputs=("v",))
    (tmp_path / "jobs.json").write_text(json.dumps(job))
    done = bare(
        "cut -d: -f1 /proc/net/dev > net; /srv/pilot.pyz run --source local --workdir w --output-dir o jobs.json;"
        "/srv/pilot.pyz status --db w --json"
    )
    assert done.returncode == 0, done.stderr
    assert [line.strip() for line in (tmp_path / "net").read_text().splitlines()[2:]] == ["lo"]
    assert (tmp_path / "o" / "v").read_text() == "3.11"
    assert "finished" in done.stdout


def test_a_checkout_that_cannot_set_itself_up_says_what_to_install(rootfs: dict[str, Any], tmp_path: Path) -> None:
    """On the bare root there is no `venv` module, and this user may not install it."""
    shutil.copytree(ROOT / "bin", tmp_path / "bin")
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    box = [
        "bwrap",
        "--unshare-all",
        "--unshare-user",
        "--uid",
        "1000",
        "--clearenv",
        "--setenv",
        "PATH",
        "/usr/bin:/bin",
    ]
    box += ["--ro-bind", rootfs["folder"], "/", "--proc", "/proc", "--dev", "/dev", "--tmpfs", "/tmp"]
    box += ["--tmpfs", "/srv", "--bind", str(tmp_path), "/srv/pilot", "/srv/pilot/bin/pilot", "--version"]
    done = subprocess.run(box, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 2
    assert "apt-get install python3-venv" in done.stderr.splitlines()[-1], done.stderr
    assert not (tmp_path / ".venv").exists(), "half of an environment is left"
