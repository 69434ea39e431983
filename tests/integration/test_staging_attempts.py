"""Attempts to move a job's files are written down as they end: whoever follows the PilotDB sees them at once."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path

import jsonschema

from tests.copytools.webserver import serving
from tests.pilots import Site


def rows(site: Site) -> list[tuple[str, str | None]]:
    with sqlite3.connect(f"file:{site.workdir / 'pilot.db'}?mode=ro", uri=True) as db:
        found = db.execute("SELECT lfn, error_code FROM transfers ORDER BY id").fetchall()
    db.close()
    return found


def test_an_attempt_is_noted_while_other_files_are_under_way_and_survives_kill_9(site: Site, tmp_path: Path) -> None:
    with serving(tmp_path / "web") as web:
        (web.root / "f").write_bytes(b"data" * 1000)
        inputs = {"one": site.input("one"), "two": site.input("two", b"data" * 1000)}
        number = site.shell(
            "true", inputs=inputs, inFilePaths=f"{inputs['one']},{web.url}/stall/f", checksum="", outputs=()
        )
        pilot = site.start("--jobs", "1")
        site.wait_for(lambda: site.job(number) and rows(site), 30.0)
        assert rows(site) == [("one", None)]
        assert site.phase(number) == "staging_in"
        pilot.kill()
        pilot.wait()
        assert rows(site) == [("one", None)]


def test_every_attempt_has_one_row_when_the_job_is_done(site: Site, tmp_path: Path) -> None:
    with serving(tmp_path / "web") as web:
        (web.root / "f").write_bytes(b"data" * 1000)
        inputs = {"one": site.input("one"), "two": site.input("two", b"data" * 1000)}
        site.shell(
            "cp one three", inputs=inputs, inFilePaths=f"{inputs['one']},{web.url}/503-once/f", outputs=("three",)
        )
        assert site.run("--jobs", "1") == 0, site.log()
    told = sorted((lfn, bool(code)) for lfn, code in rows(site))
    log = "job.0.log.tgz"
    assert told == sorted([("one", False), ("two", True), ("two", False), ("three", False), (log, False)])


def test_every_attempt_is_an_event_of_its_job_as_it_ends(site: Site, tmp_path: Path) -> None:
    schema = json.loads((Path(__file__).parents[2] / "configs/schema/transfer-events.schema.json").read_text())
    stream = tmp_path / "events.jsonl"

    def told() -> list[dict[str, object]]:
        return [json.loads(line) for line in stream.read_text().splitlines()] if stream.exists() else []

    with serving(tmp_path / "web") as web:
        (web.root / "f").write_bytes(b"data" * 1000)
        inputs = {"one": site.input("one"), "two": site.input("two", b"data" * 1000)}
        places = f"{web.url}/403/f?signature=secret,{web.url}/stall/f"
        number = site.shell("true", inputs=inputs, inFilePaths=places, checksum="")
        site.start("--jobs", "1", "--transfer-events", stream)
        site.wait_for(lambda: len(told()) > 1, 30.0)
        assert site.phase(number) == "staging_in", "the other input is still under way"
    for line in told():
        jsonschema.validate(line, schema)
    begin, attempt = told()[:2]
    assert begin["event"] == "transfer.begin"
    assert (attempt["event"], attempt["job"], attempt["lfn"], attempt["state"]) == (
        "transfer.attempt", f"{number}.1", "one", "failed",
    )  # fmt: skip
    assert str(attempt["source"]).endswith("/403/f?signature=...") and "secret" not in stream.read_text()
    with sqlite3.connect(site.workdir / "pilot.db") as db:
        assert "secret" not in str(db.execute("SELECT source, target, error FROM transfers").fetchall())
    db.close()


def test_an_error_that_is_reported_shows_no_signature_of_a_url(site: Site, tmp_path: Path) -> None:
    with serving(tmp_path / "web") as web:
        (web.root / "f").write_bytes(b"data")
        number = site.shell(
            "true", inputs={"one": site.input("one")}, inFilePaths=f"{web.url}/gone?signature=secret", checksum=""
        )
        assert site.run("--jobs", "1", "--cleanup", "none") == 0, site.log()
    assert "/gone?signature=..." in str(site.told(number)["errors"])
    (directory,) = site.workdir.glob("job-*")
    texts = [site.log(), str(site.told(number)["errors"]), (directory / "pilot.log").read_text()]
    assert not any("secret" in text for text in texts)
