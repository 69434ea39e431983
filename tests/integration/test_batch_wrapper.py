"""A wrapper's command line for the PanDA pilot starts this one; jobs may come without a word being told of them."""

from __future__ import annotations

import json
import shlex
import subprocess
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import requests

from pilot.lib.program import own_command, own_environment
from tests.bench import shell_job
from tests.pilots import QUICK, Site, assert_reported_once

#: What wrappers pass on every site, and all flags that change nothing in the end.
WRAPPER = shlex.split(
    "-r R -s S -i PR -j managed --pilot-user=generic -w generic -d -t --harvester-submit-mode PULL --use-https False "
    "--allow-same-user=False --allow-other-country False --cleanup=False --resource-type= --job-type=managed "
    "--redirect-stdout /dev/null --no-pilot-log --subscribe-to-msgsvc --hpc-resource generic --hpc-mode=manytoone "
    "--es-executor-type generic --input-destination-dir /nowhere -L 3600 -b -y -u --use-realtime-logging "
    "--realtime-logging-server logserver=x --realtime-logname n --use-rucio-traces False --country-group= -x 3 -v 2 "
    "--stageout-attempts 1 --rucio-host= -g https://code.site"
)
#: Options of the wrapper that this pilot has no meaning for: it says so of each.
NOTED = ("-r", "-s", "-w", "--use-https", "--allow-same-user", "--redirect-stdout", "--no-pilot-log", "-L", "-u")


def wrapped(site: Site, *more: str) -> subprocess.CompletedProcess[str]:
    """Start a pilot as a wrapper does: options of the PanDA pilot only, its work directory the current one."""
    server = urlsplit(site.url)
    line = own_command(
        "run", *WRAPPER, "-q", site.queue, f"--url=http://{server.hostname}", "-p", str(server.port), *more
    )
    environment = own_environment() | {"PILOT_OUTPUT_DIR": str(site.outputs), "PILOT_WAIT": "0.1"}
    return subprocess.run(
        line, cwd=site.workdir, env=environment, capture_output=True, text=True, timeout=60, check=False
    )


def queue_data(site: Site) -> list[str]:
    """The options that name queue and storage data."""
    queue = {"nickname": site.queue, "state": "ACTIVE", "status": "online", "copytools": {"copy": {}}, "timefloor": 60}
    (site.folder / "queue.json").write_text(json.dumps(queue))
    (site.folder / "storage.json").write_text(json.dumps({"A": {"type": "DATADISK"}}))
    return [f"--queuedata-url={site.folder}/queue.json", f"--storagedata-url={site.folder}/storage.json"]


def test_a_wrappers_command_line_runs_a_job(site: Site) -> None:
    number = site.shell("echo done > out.txt", outputs=("out.txt",))
    done = wrapped(site, *queue_data(site), "-l", "3600")
    assert done.returncode == 0, done.stderr
    assert done.stdout == ""
    told = assert_reported_once(site, number, "finished")
    assert told["facts"]["pilot_id"].split("|")[-2] == "PR"
    assert told["facts"]["site_name"] == site.queue
    assert (site.outputs / "out.txt").read_text() == "done\n"
    assert (site.directory(number) / "out.txt").exists(), "--cleanup=False was not understood"
    for option in NOTED:
        assert f"{option} is taken but changes nothing: " in done.stderr
    assert "DEBUG   asks for jobs" in done.stderr


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (["--harvester-submitmode", "PULL"], "'--harvester-submit-mode'"),
        (["--lifetme=100"], "--lifetime"),
        (["--queuedata-ulr", "x"], "--queuedata-url"),
        (["-Q", "x"], "-Q"),
        (["--lifetime", "soon"], "'soon'"),
        (["-l", "soon"], "'soon'"),
    ],
)
def test_what_no_pilot_knows_is_refused_and_the_nearest_word_named(
    words: list[str], named: str, tmp_path: Path
) -> None:
    line = own_command("run", "--url", "http://127.0.0.1:1", "-q", "Q", *words)
    done = subprocess.run(line, cwd=tmp_path, env=own_environment(), capture_output=True, text=True, timeout=30)
    assert done.returncode == 2
    assert named in done.stderr and done.stderr.count("\n") == 1, done.stderr
    assert not list(tmp_path.iterdir()), "something was begun"


def test_without_server_updates_jobs_come_and_the_server_hears_nothing(site: Site) -> None:
    fine, bad = site.submit(shell_job(0, "echo 1 > out.txt", outputs=("out.txt",)), shell_job(0, "exit 4"))
    done = wrapped(site, "-z")
    assert done.returncode == 0, done.stderr
    for number, outcome in ((fine, "finished"), (bad, "failed")):
        told = site.told(number)
        assert (told["state"], told["updates"]) == ("sent", 0)
        assert site.job(number)["outcome"] == outcome
        written = json.loads((site.directory(number) / "heartbeat.json").read_text())
        assert (written["job_id"], written["state"]) == (number, outcome)
    assert {file["lfn"] for file in written["report"]} == {"job.0-1.log.tgz"} and written["payload_exit"] == 4
    assert (site.outputs / "out.txt").exists()
    assert site.queue not in requests.get(f"{site.url}/workers", timeout=10).text


def test_a_pilot_that_tells_nothing_takes_up_what_its_predecessor_left(site: Site) -> None:
    number = site.shell("touch ../began; [ -e ../again ] || sleep 60")
    first = site.start("--server-updates", "false", *QUICK)
    site.wait_for(lambda: (site.workdir / "began").exists())
    first.kill()
    first.wait()
    (site.workdir / "again").touch()
    assert site.run("--server-updates", "false", "--jobs", "1") == 0, site.log()
    assert site.job(number)["outcome"] == "finished"
    assert site.told(number)["updates"] == 0
    site.assert_nothing_left()
