"""Every limit, broken by the payload of a whole job: what the server is told, and that nothing of it is left."""

from __future__ import annotations

import os
import re
import shlex
import signal
import subprocess
from pathlib import Path

import pytest

from tests.pilots import Site, assert_reported_once

PYTHON = "exec python3 -S -E -c "


def python(code: str) -> str:
    return PYTHON + shlex.quote("import os, time\n" + code + "\ntime.sleep(120)")


#: limit -> what `--limits` says, the payload, the error number, the end of the message.
CASES = {
    "memory": (
        "memory_mb=60,memory_grace=1",
        python("kept = bytearray(os.urandom(4096)) * (90 * 256)"),
        1235,
        r"PSS \d\d+ MB over the limit of 60 MB",
    ),
    "cpu time": ("cpu_s=1", "while :; do :; done", 1213, r"CPU time [1-9]\.\d s over the limit of 1 s"),
    "wall time": ("wall_s=1", "exec sleep 120", 1213, r"wall time [1-9]\.\d s over the limit of 1 s"),
    "work directory": (
        "workdir_mb=5",
        "mkdir a; head -c 8M /dev/zero > a/b; exec sleep 120",
        1104,
        r"work directory [6-8]\.\d MB over the limit of 5 MB",
    ),
    "output": (
        "output_mb=3",
        "head -c 5M /dev/zero > out.root; exec sleep 120",
        1124,
        r"out\.root [3-5]\.\d MB over the limit of 3 MB",
    ),
    "stdout": (
        "stdout_mb=1",
        "printf 'first \\377\\n'; yes line | head -c 40M; printf 'last \\376\\n'; exec sleep 120",
        1106,
        r"payload\.stdout [1-9]\d?\.\d MB over the limit of 1 MB",
    ),
    "processes": (
        "processes=30",
        "for n in $(seq 200); do sleep 120 & done; wait",
        1344,
        r"processes \d+ over the limit of 30",
    ),
    "open files": (
        "open_files=50",
        python("kept = [open('/dev/null') for n in range(60)]"),
        1344,
        r"open files [56]\d over the limit of 50",
    ),
    "looping": ("looping_s=1", "while :; do :; done", 1150, r"no I/O or change of a file for \d+ s, limit 1 s"),
    "idle": ("idle_s=1", "exec sleep 120", 1150, r"no CPU time, I/O or change of a file for \d+ s, limit 1 s \(1S\)"),
    "suspended": (
        "idle_s=1",
        "kill -STOP $$; exec sleep 120",
        1150,
        r"limit 1 s \(1T\); all processes are stopped",
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_the_server_is_told_number_value_and_limit(name: str, site: Site) -> None:
    limits, script, code, told = CASES[name]
    number = site.shell(script, outputs=("out.root",) if name == "output" else ())
    assert site.run("--jobs", "1", "--limits", limits, "--monitor-interval", "0.2", "--cgroups", "false") == 0
    facts = assert_reported_once(site, number, "failed")["facts"]
    assert facts["pilot_error_code"] == code, facts["pilot_error_diag"]
    assert re.search(told, facts["pilot_error_diag"]), facts["pilot_error_diag"]
    site.assert_nothing_left()


def test_without_limits_the_same_payloads_are_left_alone(site: Site) -> None:
    """The table above fails for its limits, not for its payloads."""
    kept = "kept = bytearray(os.urandom(4096)) * (90 * 256); files = [open('/dev/null') for n in range(60)]"
    code = f"{kept}\nopen('b', 'wb').write(bytes(8_000_000))\nos.write(1, b'line\\n' * 300_000)\n"
    number = site.shell("python3 -S -E -c " + shlex.quote("import os, time\n" + code + "time.sleep(2.5)"))
    assert site.run("--jobs", "1", "--monitor-interval", "0.2", "--cgroups", "false") == 0
    assert_reported_once(site, number, "finished")


def test_a_log_over_its_limit_is_stored_with_head_and_tail_byte_for_byte(site: Site, tmp_path: Path) -> None:
    limits, script, _, _ = CASES["stdout"]
    number = site.shell(script)
    assert site.run("--jobs", "1", "--limits", f"{limits},stdout_keep_mb=0.25", "--monitor-interval", "0.2") == 0
    assert_reported_once(site, number, "failed")
    unpacked = tmp_path / "unpacked"
    unpacked.mkdir()
    subprocess.run(["tar", "xzf", site.outputs / "job.0.log.tgz", "-C", unpacked], check=True)
    (log,) = unpacked.rglob("payload.stdout")
    kept = log.read_bytes()
    assert kept.startswith(b"first \xff\n") and len(kept) < 1_200_000
    assert re.search(rb"\n\[\.\.\. \d+ bytes left out here \.\.\.\]\n", kept)


def test_what_the_kernel_ends_for_lack_of_memory_is_told_with_peak_and_limit(site: Site) -> None:
    """With a cgroup the kernel holds the limit; without one, the watch does."""
    number = site.shell(CASES["memory"][1])
    assert site.run("--jobs", "1", "--limits", "memory_mb=60,memory_grace=1", "--monitor-interval", "0.2") == 0
    facts = assert_reported_once(site, number, "failed")["facts"]
    by_kernel = r"the kernel ended processes of it \(peak \d+ MB, limit 60 MB\)"
    by_watch = CASES["memory"][3]
    assert (facts["pilot_error_code"], bool(re.search(by_kernel, facts["pilot_error_diag"]))) == (1212, True) or (
        facts["pilot_error_code"] == 1235 and re.search(by_watch, facts["pilot_error_diag"])
    ), facts["pilot_error_diag"]


def test_a_core_dump_is_told_by_its_name(site: Site) -> None:
    head = r"\177ELF\002\001\001" + r"\000" * 9 + r"\004\000"
    number = site.shell(f"printf '{head}' > core.77")
    assert site.run("--jobs", "1") == 0
    facts = assert_reported_once(site, number, "failed")["facts"]
    assert facts["pilot_error_code"] == 1355 and "core.77" in facts["pilot_error_diag"]


def test_a_real_core_dump_of_the_kernel_is_told(site: Site) -> None:
    """Where cores are written into the working directory at all."""
    if Path("/proc/sys/kernel/core_pattern").read_text().strip() not in ("core", "core.%p"):
        pytest.skip("cores go elsewhere here")
    number = site.shell("ulimit -c unlimited; python3 -S -E -c 'import os; os.abort()'; true")
    assert site.run("--jobs", "1") == 0
    facts = assert_reported_once(site, number, "failed")["facts"]
    assert facts["pilot_error_code"] == 1355, facts["pilot_error_diag"]


def test_background_processes_are_ended_told_and_do_not_fail_the_job(site: Site) -> None:
    script = "(setsid sleep 300 &); nohup sleep 300 >/dev/null 2>&1 & disown; exit 0"
    number = site.shell(script)
    assert site.run("--jobs", "1", "--cleanup", "none") == 0
    assert_reported_once(site, number, "finished")
    assert "the payload left 2 processes behind: they are ended" in (site.directory(number) / "pilot.log").read_text()
    site.assert_nothing_left()


def test_a_stopped_payload_can_be_ended_by_the_server(site: Site) -> None:
    number = site.shell("echo $$ > ../pid; kill -STOP $$; exec sleep 120")
    pilot = site.start("--jobs", "1", "--heartbeat", "0.5")
    site.wait_for((site.workdir / "pid").exists, 30)
    site.steer(number, "kill")
    assert pilot.wait(60) is not None
    assert_reported_once(site, number)
    site.assert_nothing_left()
    with pytest.raises(ProcessLookupError):
        os.kill(int((site.workdir / "pid").read_text()), signal.SIGCONT)
