"""Attempts to move a job's files are written down as they end: whoever follows the PilotDB sees them at once."""

from __future__ import annotations

import sqlite3
from pathlib import Path

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
