"""Whole jobs with a site's utilities and named environments, from its configuration file on."""

from __future__ import annotations

import tarfile
from pathlib import Path

from tests.pilots import Site, assert_reported_once

CONFIG = """
[environments.tools]
setup = "echo x >> {folder}/evaluated; export TOOLS=/opt/tools; unset LANG"

[environments.broken]
setup = "echo the tools are away >&2; false"

[utilities.early]
command = "ls -A | grep in.txt > seen.early; echo $TOOLS.$PandaID"
when = "before-stagein"

[utilities.check]
command = "cat in.txt; echo $TOOLS; exit 4"
when = "before"

[utilities.watch]
command = "echo watching $PILOT_PAYLOAD_PID; exec sleep 600"

[utilities.tidy]
command = "echo exit $PILOT_PAYLOAD_EXIT"
when = "after"

[utilities.elsewhere]
command = "touch {folder}/elsewhere"
queues = ["NOT_THIS_ONE"]
"""
LINE = (
    'echo "$TOOLS ${LANG-none}"; '
    "for i in $(seq 600); do [ -s utilities/watch.stdout ] && break; sleep 0.05; done; [ -s utilities/watch.stdout ]"
)


def config(site: Site) -> list[str]:
    file = site.folder / "pilot.toml"
    file.write_text(CONFIG.replace("{folder}", str(site.folder)))
    return ["--config", str(file), "--cleanup", "records"]


def test_utilities_run_around_the_payload_in_its_environment_and_are_kept(site: Site) -> None:
    source = site.input("in.txt", "the input\n")
    number = site.shell(LINE, inputs={"in.txt": source}, environment="tools")
    assert site.run(*config(site), "--jobs", "1", seconds=60) == 0, site.log()
    assert_reported_once(site, number, "finished")
    directory = site.workdir / f"job-{number}.1"
    said = {path.name: path.read_text() for path in (directory / "utilities").iterdir() if path.suffix == ".stdout"}
    assert said["early.stdout"].startswith(".") and said["early.stdout"].strip().endswith(str(number))
    assert said["check.stdout"] == "the input\n/opt/tools\n"
    assert said["watch.stdout"].split()[1].isdigit()
    assert said["tidy.stdout"] == "exit 0\n"
    assert (directory / "payload.stdout").read_text() == "/opt/tools none\n"
    log = (directory / "pilot.log").read_text()
    for words in ("utility early: exit code 0", "utility check: exit code 4", "utility tidy: exit code 0"):
        assert words in log
    assert not (site.folder / "elsewhere").exists()
    (archive,) = site.outputs.rglob("*.log.tgz")
    with tarfile.open(archive) as tar:
        assert any(name.endswith("utilities/check.stdout") for name in tar.getnames())


def test_an_environment_is_made_once_for_all_its_jobs_and_one_that_fails_fails_its_job(site: Site) -> None:
    good = [
        site.shell('[ "$TOOLS" = /opt/tools ]', environment="tools", logFile=f"l{n}", outFiles=f"l{n}") for n in (1, 2)
    ]
    bad = site.shell("true", environment="broken", logFile="l3", outFiles="l3")
    plain = site.shell('[ -z "$TOOLS" ]', logFile="l4", outFiles="l4")
    assert site.run(*config(site), "--jobs", "4", seconds=60) == 0, site.log()
    for number in (*good, plain):
        assert_reported_once(site, number, "finished")
    facts = assert_reported_once(site, bad, "failed")["facts"]
    assert facts["pilot_error_code"] == 1110 and "the tools are away" in facts["pilot_error_diag"]
    assert (site.folder / "evaluated").read_text().split() == ["x"]
    assert not list(Path(site.workdir / f"job-{bad}.1").glob("payload.stdout"))
