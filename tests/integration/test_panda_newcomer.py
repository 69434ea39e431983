"""What somebody finds who uses the pilot for the first time: numbers, places, reasons, and orders to a running job."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

from pilot.lib.program import own_command, own_environment
from pilot.runtime.environment import DEFAULT_PATH
from tests.bench import shell_job
from tests.pilots import Site, assert_reported_once


def tell(site: Site, *words: str) -> subprocess.CompletedProcess[str]:
    """`pilot WORDS` at the site's server."""
    return subprocess.run(
        own_command(*words, "--url", site.url), env=own_environment(), capture_output=True, text=True, timeout=30,
        check=False,
    )  # fmt: skip


def test_a_job_from_a_file_without_number_and_attempt_is_a_first_attempt(site: Site) -> None:
    job = {"transformation": "true", "outFiles": "l.tgz", "logFile": "l.tgz"}
    (site.folder / "jobs.json").write_text(json.dumps([{**job, "PandaID": 5}, job]))
    assert site.start_local(site.folder / "jobs.json").wait(40) == 0, site.log()
    assert (site.workdir / "job-5.1").is_dir()
    assert [path.suffix for path in site.workdir.glob("job-*")] == [".1", ".1"]


def test_show_tells_places_on_this_machine_as_paths(site: Site) -> None:
    number = site.shell("cp in.txt out.txt", inputs={"in.txt": site.input("in.txt")}, outputs=("out.txt",))
    assert site.run("--jobs", "1") == 0, site.log()
    done = subprocess.run(
        own_command("show", str(number), "--db", str(site.workdir)), env=own_environment(), capture_output=True,
        text=True, timeout=20, check=True,
    )  # fmt: skip
    assert f" {site.outputs}/out.txt" in done.stdout and "file://" not in done.stdout


def test_a_payload_has_the_path_of_the_machine_and_nothing_of_the_pilots(site: Site, tmp_path: Path) -> None:
    number = site.shell("echo $PATH $FOREIGN > path.txt", outputs=("path.txt",))
    pilot = site.start("--jobs", "1", PATH=f"{tmp_path}/private/bin:/usr/bin:/bin", FOREIGN="leaks")
    assert pilot.wait(40) == 0, site.log()
    assert_reported_once(site, number, "finished")
    assert (site.outputs / "path.txt").read_text().split() == [DEFAULT_PATH]


def test_a_failed_payload_that_wrote_to_stdout_alone_is_quoted_as_such(site: Site) -> None:
    quiet, loud = site.shell("echo 42; exit 4"), site.shell("echo 42; echo broken >&2; exit 4")
    assert site.run("--jobs", "2") == 0, site.log()
    diags = [site.told(number)["facts"]["pilot_error_diag"] for number in (quiet, loud)]
    assert diags[0].endswith("exit code 4; on stdout it said: 42")
    assert diags[1].endswith("exit code 4; it said: broken")


def test_orders_reach_a_running_job(site: Site) -> None:
    number = site.shell("echo the end of it; touch ../started; sleep 100")
    site.start("--jobs", "1", "--heartbeat", "0.2", "--debug-heartbeat", "0.2")
    site.wait_for((site.workdir / "started").exists, 30.0)
    done = tell(site, "command", str(number), "tail", "-5", "payload.stdout")
    assert (done.returncode, done.stderr) == (0, "") and "tail -5 payload.stdout" in done.stdout
    site.wait_for(lambda: "the end of it" in str(site.told(number)["stdout"]), 30.0)
    assert tell(site, "command", str(number), "debug").returncode == 0
    site.wait_for(lambda: "[payload.stdout]" in str(site.told(number)["stdout"]), 30.0)
    assert tell(site, "command", str(number), "debugoff").returncode == 0
    done = tell(site, "command", str(number), "kill", "--json")
    assert json.loads(done.stdout)["job_id"] == number
    assert site.pilots[0].wait(40) == 0, site.log()
    assert "1144" in json.dumps(assert_reported_once(site, number, "cancelled")["facts"])


def test_a_job_that_no_pilot_has_is_killed_at_once(site: Site) -> None:
    (number,) = site.submit(shell_job(0, "true"))
    assert f"{number}  kill: cancelled" in tell(site, "command", str(number), "kill").stdout


def test_a_wrong_order_is_told_in_one_line(site: Site) -> None:
    (number,) = site.submit(shell_job(0, "true"))
    done = tell(site, "command", str(number), "kil")
    assert (done.returncode, done.stderr) == (2, "pilot: there is no order 'kil'; did you mean 'kill'?\n")
    done = tell(site, "command", "999999999", "kill")
    assert (done.returncode, done.stderr) == (2, "pilot: no job 999999999\n")
    done = subprocess.run(
        own_command("command", "5", "kill", "--url", "http://127.0.0.1:9"), env=own_environment(),
        capture_output=True, text=True, timeout=30, check=False,
    )  # fmt: skip
    assert done.returncode == 79 and done.stderr.startswith("pilot: no job server at http://127.0.0.1:9")
