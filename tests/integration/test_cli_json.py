"""What commands print with `--json`: one document, with the keys that docs/operations.md promises."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from click.testing import CliRunner

from pilot.cli import benchmark, cleanup, config, doctor, mkdir, run, show, status, tail, transfer, workdir
from pilot.plugins.sources.dummy import DummySource
from tests.bench import Bench, shell_job

ROW = re.compile(r"^\| `([a-z -]+?)(?: JOB)?` \| (`.+`) \|$", re.M)


def promised() -> dict[str, set[str]]:
    text = (Path(__file__).parents[2] / "docs" / "operations.md").read_text()
    section = text.split("## What programs can read")[1].split("\n## ")[0]
    return {name: set(re.findall(r"`(\w+)`", keys)) for name, keys in ROW.findall(section)}


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> Bench:
    """A work directory in which one job has failed."""
    folder = tmp_path_factory.mktemp("json")
    bench = Bench(folder, DummySource([shell_job(1, "echo oh no >&2; exit 3")]))
    bench.run(patience_s=60)
    (folder / "a").write_text("hello")
    urls = {key: [{"site_label": "l", "url": f"file://{folder / name}"}] for key, name in (("src", "a"), ("dest", "b"))}
    (folder / "list").write_text(
        json.dumps([{"type": "transfer", "id": 1, "src_urls": urls["src"], "dest_urls": urls["dest"]}])
    )
    (folder / "job.json").write_text('{"PandaID": 1, "transformation": "true"}')
    return bench


COMMANDS = {
    "show": (show.command, ["1", "--db", "{db}"]),
    "show --worker": (show.command, ["--worker", "--db", "{db}"]),
    "status": (status.command, ["--db", "{db}"]),
    "tail": (tail.command, ["1", "--db", "{db}"]),
    "transfer": (transfer.command, ["{folder}/list"]),
    "transfer --explain": (transfer.command, ["--explain", "{folder}/list"]),
    "mkdir": (mkdir.command, ["{folder}/made"]),
    "cleanup": (cleanup.command, ["{folder}/made", "-r"]),
    "run --explain": (run.command, ["--explain", "{folder}/job.json"]),
    "doctor": (doctor.command, []),
    "benchmark": (benchmark.command, ["--seconds", "0.05", "--copies", "1", "--cache", "{folder}/score"]),
    "config show": (config.command, ["show"]),
    "config validate": (config.command, ["validate", "{folder}/job.json"]),
    "workdir": (workdir.command, []),
}


@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_prints_one_document_with_the_keys_that_are_promised(name: str, ran: Bench) -> None:
    command, words = COMMANDS[name]
    filled = [word.format(db=ran.workdir / "pilot.db", folder=ran.folder) for word in words]
    said = CliRunner().invoke(command, [*filled, "--json"], standalone_mode=False)
    assert set(json.loads(said.stdout)) == promised()[name], said.output


def test_nothing_is_promised_of_commands_that_nobody_has_tried() -> None:
    assert set(promised()) == set(COMMANDS)


def test_the_error_of_a_failed_job_has_number_name_owner_and_diagnosis(ran: Bench) -> None:
    said = CliRunner().invoke(show.command, ["1", "--db", str(ran.workdir / "pilot.db"), "--json"])
    told = json.loads(said.stdout)
    assert told["error_code"] == told["error"]["code"] == 1305
    assert set(told["error"]) == {"code", "name", "message", "owner"} and "oh no" in told["error"]["message"]
