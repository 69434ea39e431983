"""Queue data in whole runs: where the user's files say they lie, merged, overlaid, cached, and got in bounded time."""

from __future__ import annotations

import json
import os
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from pilot.cli import config as config_command
from tests.bench import shell_job
from tests.pilots import Site
from tests.scripted_server import Scripted, Server

MAIN = {"nickname": "Q", "copytools": {"copy": {}}, "appdir": "main"}
DETAILS = {"Q": {"environ": "WHO=details", "appdir": "details"}}


@pytest.fixture
def script() -> Iterator[Scripted]:
    made = Scripted()
    made.routes["/Q.json"] = lambda asked: MAIN
    server = Server(made)
    yield made
    server.close()


@pytest.fixture
def here(tmp_path: Path) -> Iterator[Site]:
    """A site without any server."""
    made = Site(tmp_path, "")
    yield made
    made.end()


def write_config(here: Site, script: Scripted, **more: Any) -> Path:
    """A configuration file; the main record comes from a server, the details from a file."""
    (here.folder / "details.json").write_text(json.dumps(DETAILS))
    words: dict[str, Any] = {"rounds": 1, **more}
    overlay = words.pop("overlay", {})
    lines = ["[info]", f'main = [{{ name = "WEB", where = "{script.url}/{{queue}}.json" }}]']
    lines += [f'details = [{{ name = "FILE", where = "{here.folder}/details.json" }}]']
    lines += [f"{name} = {json.dumps(value)}" for name, value in words.items()]
    lines += ["[info.overlay]", *(f"{name} = {json.dumps(value)}" for name, value in overlay.items())]
    path = here.folder / "pilot.toml"
    path.write_text("\n".join(["[pilot]", 'queue = "Q"', *lines]) + "\n")
    return path


def run(here: Site, config: Path, *jobs: dict[str, Any]) -> int:
    (here.folder / "jobs.json").write_text(json.dumps(list(jobs)))
    return here.start_local("--config", config, "--info-pause", "0.1", here.folder / "jobs.json").wait(60)


def who(number: int, *words: str) -> dict[str, Any]:
    """A job that tells which queue data its environment comes from."""
    job = shell_job(number, f"echo $WHO > who.{number}", outputs=(f"who.{number}",))
    return {**job, "jobPars": " ".join([job["jobPars"], *words])}


def test_details_complete_the_main_record_and_the_users_overlay_wins_over_the_jobs_own(
    here: Site, script: Scripted
) -> None:
    jobs = [who(1), who(2, "--overwriteQueueData={'environ': 'WHO=job'}")]
    assert run(here, write_config(here, script), *jobs) == 0, here.log()
    assert [(here.outputs / f"who.{n}").read_text() for n in (1, 2)] == ["details\n", "job\n"]
    jobs = [who(3), who(4, "--overwriteQueueData={'environ': 'WHO=job'}")]
    assert run(here, write_config(here, script, overlay={"environ": "WHO=config"}), *jobs) == 0, here.log()
    assert [(here.outputs / f"who.{n}").read_text() for n in (3, 4)] == ["config\n", "config\n"]
    assert script.paths() == ["/Q.json"], "the second pilot has it from the cache"


def test_config_query_tells_the_queue_as_the_pilot_sees_it(
    here: Site, script: Scripted, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(here.folder)
    asked = ["query", "queue.appdir", "queue.environ", "queue.max_time_s", "--json", "--config"]
    config = write_config(here, script, overlay={"maxtime": 77})
    done = CliRunner().invoke(config_command.command, [*asked, str(config)])
    assert json.loads(done.stdout) == {
        "queue.appdir": "main", "queue.environ": {"WHO": "details"}, "queue.max_time_s": 77,
    }  # fmt: skip


def test_an_overlay_holds_for_a_queue_of_this_machines_own_too(here: Site) -> None:
    config = here.folder / "pilot.toml"
    config.write_text('[info.overlay]\nenviron = "WHO=config"\n')
    assert run(here, config, who(1)) == 0, here.log()
    assert (here.outputs / "who.1").read_text() == "config\n"


def test_old_queue_data_serve_when_no_place_answers(here: Site, script: Scripted) -> None:
    assert run(here, write_config(here, script), who(1)) == 0, here.log()
    script.routes["/Q.json"] = lambda asked: (503, "down")
    (cached,) = (here.workdir / ".cache").glob("queue.*")
    os.utime(cached, (time.time() - 99, time.time() - 99))
    assert run(here, write_config(here, script, cache_s=50), who(2)) == 0, here.log()
    assert "no place gave newer ones" in here.log() and (here.outputs / "who.2").exists()
    cached.unlink()
    assert run(here, write_config(here, script), who(3)) == 71, here.log()


def test_a_place_that_never_answers_is_given_up_in_time_and_the_next_one_taken(here: Site, script: Scripted) -> None:
    silent = socket.create_server(("127.0.0.1", 0))
    places = [f"http://127.0.0.1:{silent.getsockname()[1]}/", script.url + "/Q.json"]
    config = here.folder / "pilot.toml"
    rows = ", ".join(f'{{ name = "P{n}", where = "{where}" }}' for n, where in enumerate(places))
    config.write_text(f'[pilot]\nqueue = "Q"\n[info]\nfetch_s = 3.0\nmain = [{rows}]\n')
    assert run(here, config, who(1)) == 0, here.log()
    assert "main data not taken from P0" in here.log()
    silent.close()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[piolt]\n", "there is no section 'piolt'; did you mean 'pilot'?"),
        ("slots = '2'\n", "'slots' stands outside of its section: write it below [pilot]"),
        ("pilot = 3\n", "'pilot' is no section: write [pilot]"),
        ("[container]\n", "there is no section 'container'"),
        ("[info]\nmian = []\n", "unknown field `mian`"),
        ("[info]\nmain = [{ name = 'x' }]\n", "missing required field `where` - at `$.main[0]`"),
        ("[info]\nrounds = 'many'\n", "Expected `int`"),
    ],
)
def test_a_configuration_that_nobody_would_read_is_refused_by_run(here: Site, text: str, words: str) -> None:
    config = here.folder / "pilot.toml"
    config.write_text(text)
    assert run(here, config, who(1)) == 2
    said = here.log().strip().splitlines()
    assert words in said[-1] and str(config) in said[-1]
    assert not (here.workdir / "pilot.db").exists()
