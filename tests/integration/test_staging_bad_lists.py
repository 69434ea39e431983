"""`pilot transfer` with lists full of trouble: each entry has its number, nothing is left of it, no other is lost."""

from __future__ import annotations

import json
import os
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.copytools.webserver import WebServer, serving
from tests.integration.test_staging_cli import pilot

DATA = b"0123456789" * 1000
ADLER = f"{zlib.adler32(DATA):08x}"


@pytest.fixture
def web(tmp_path: Path) -> Iterator[WebServer]:
    with serving(tmp_path / "web") as server:
        (server.root / "f").write_bytes(DATA)
        (server.root / "good").write_bytes(DATA)
        yield server


def entry(source: object, target: object, **more: object) -> dict[str, object]:
    return {"type": "transfer", "lfn": "bad", "sources": [str(source)], "targets": [str(target)], **more}


def carried(folder: Path, *entries: dict[str, Any], options: tuple[str, ...] = ()) -> tuple[int, list[int | None]]:
    """The exit code and the error number of each entry; a traceback is a failure of the test."""
    (folder / "list.json").write_text(json.dumps(entries))
    done = pilot("transfer", folder / "list.json", "-m", "1", "--json", *options, cwd=folder)
    assert "Traceback" not in done.stderr, done.stderr
    files = json.loads(done.stdout)["files"]
    return done.returncode, [line.get("error", {}).get("code") for line in files]


def left(folder: Path) -> list[str]:
    """All files below, whatever their names."""
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if not path.is_dir())


@pytest.mark.parametrize(
    ("path", "more", "codes"),
    [
        ("cut/f", {}, {1099}),
        ("lie/f", {}, {1099}),
        ("other/f", {"checksum": f"ad:{ADLER}"}, {1171}),
        ("f", {"size": len(DATA) + 1}, {1171}),
        ("f", {"checksum": "md5:" + "0" * 32}, {1145}),
        ("stall/f", {}, {1151}),
        ("500/f", {}, {1324}),
        ("403/f", {}, {1338}),
        ("401/f", {}, {1338, 1364}),
        ("loop/f", {}, {1324}),
        ("away/f", {}, {1324}),
        ("drop/f", {}, {1324}),
        ("garbage/f", {}, {1324}),
        ("nope", {}, {1103}),
    ],
)
def test_a_server_that_misbehaves_costs_its_own_file_only(
    path: str, more: dict[str, object], codes: set[int], web: WebServer, tmp_path: Path
) -> None:
    bad = entry(f"{web.url}/{path}", tmp_path / "o" / "bad", **more)
    good = entry(f"{web.url}/good", tmp_path / "o" / "good", checksum=f"ad:{ADLER}")
    options = ("--stall", "5") if path.startswith("stall") else ()  # a good file may be slow on a busy machine
    code, told = carried(tmp_path, good, bad, {**good, "targets": [f"{tmp_path}/o/g2"]}, options=options)
    assert code == 2 and told[0] is told[2] is None and told[1] in codes, told
    assert left(tmp_path / "o") == ["g2", "good"]
    assert (tmp_path / "o" / "good").read_bytes() == DATA


@pytest.mark.parametrize(
    ("source", "target", "code"),
    [
        ("warp://host/f", "{0}/o/f", 1323),
        ("{0}/in", "warp://host/f", 1323),
        ("{0}/nope", "{0}/o/f", 1103),
        ("{0}", "{0}/o/f", 1099),
        ("{0}/in", "{0}/in/below/f", 1199),
        ("{0}/in", "{0}/o/" + "x" * 256, 1199),
        ("{0}/in", "/proc/nowhere/f", 1199),
        ("http://127.0.0.1:1/f", "{0}/o/f", 1327),
        ("https://127.0.0.1:1/f?token=secret", "{0}/o/f", 1327),
    ],
)
def test_an_end_that_cannot_be_costs_its_own_file_only(source: str, target: str, code: int, tmp_path: Path) -> None:
    (tmp_path / "in").write_bytes(DATA)
    bad = entry(source.format(tmp_path), target.format(tmp_path))
    good = entry(tmp_path / "in", tmp_path / "o" / "good")
    (tmp_path / "list.json").write_text(json.dumps([bad, good]))
    done = pilot("transfer", "list.json", "-m", "1", "--json", cwd=tmp_path)
    assert "Traceback" not in done.stderr and "secret" not in done.stderr + done.stdout
    files = json.loads(done.stdout)["files"]
    assert (done.returncode, files[1]["state"]) == (2, "done")
    assert files[0]["error"]["code"] == code, files[0]["error"]
    assert left(tmp_path / "o") == ["good"]


@pytest.mark.parametrize(
    "name", ["it's", 'say "hi"', "two words", "new\nline", "gr\u00f6\u00dfe", "-rf", "$(id)", "x" * 255]
)
def test_any_name_goes_through_a_list_its_records_and_the_web(name: str, web: WebServer, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / name).write_bytes(DATA)
    from urllib.parse import quote

    there = f"{web.url}/{quote(name)}"
    up, down = entry(tmp_path / "in" / name, there, lfn=name), entry(there, tmp_path / "o" / name, lfn=name)
    options = ("--db", "t.db", "--events", "e.jsonl", "--report", "r.jsonl")
    assert carried(tmp_path, up, options=options) == (0, [None])
    assert carried(tmp_path, down, entry(tmp_path / "in" / name, tmp_path / "p" / name), options=options)[0] == 0
    assert os.listdir(tmp_path / "o") == os.listdir(tmp_path / "p") == [name]
    assert (tmp_path / "o" / name).read_bytes() == DATA
    assert all(json.loads(line) for line in (tmp_path / "e.jsonl").read_text().splitlines())


def test_two_outputs_with_one_name_leave_the_first_whole_and_refuse_the_second(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(DATA)
    (tmp_path / "b").write_bytes(b"other")
    same = [entry(tmp_path / "a", tmp_path / "o" / "f"), entry(tmp_path / "b", tmp_path / "o" / "f")]
    assert carried(tmp_path, *same, entry(tmp_path / "b", tmp_path / "o" / "g")) == (2, [None, 1221, None])
    assert (tmp_path / "o" / "f").read_bytes() == DATA and left(tmp_path / "o") == ["f", "g"]


@pytest.mark.parametrize(
    "form",
    ["{0}", "{1}", "ad:{0}", "AD:{1}", "adler32:{1}", "ADLER32: {0}", "0x{0}", "ad:{2}", "{2}", "", "ad:", "NULL"],
)
def test_every_odd_form_of_the_right_adler32_is_taken(form: str, tmp_path: Path) -> None:
    data = b"\x00\x01"  # its sum begins with zeros
    value = f"{zlib.adler32(data):08x}"
    (tmp_path / "in").write_bytes(data)
    text = form.format(value, value.upper(), value.lstrip("0"))
    assert carried(tmp_path, entry(tmp_path / "in", tmp_path / "out", checksum=text)) == (0, [None])


@pytest.mark.parametrize("form", ["ad:00000001", "1", "ad:123456789", "ad:xyz", "adler32:-1", "ad:0x", "sum:12345678"])
def test_a_wrong_or_impossible_checksum_is_refused_with_its_number(form: str, tmp_path: Path) -> None:
    (tmp_path / "in").write_bytes(DATA)
    (tmp_path / "list.json").write_text(json.dumps([entry(tmp_path / "in", tmp_path / "out", checksum=form)]))
    done = pilot("transfer", "list.json", "--json", cwd=tmp_path)
    assert done.returncode in (0, 1, 2) and "Traceback" not in done.stderr
    if form == "ad:0x":  # an empty one
        assert done.returncode == 0
    else:
        assert done.returncode == 1 and not (tmp_path / "out").exists()
        error = json.loads(done.stdout)["files"][0]["error"]
        assert (error["code"], error["retry"]) == (1314 if form[:4] == "sum:" else 1171, False)


def test_a_checksum_that_cannot_be_one_costs_its_own_file_only(tmp_path: Path) -> None:
    (tmp_path / "in").write_bytes(DATA)
    bad = entry(tmp_path / "in", tmp_path / "o" / "bad", checksum=["ad:xyz", f"ad:{ADLER}"])
    good = entry(tmp_path / "in", tmp_path / "o" / "good", checksum=f"ad:{ADLER}")
    assert carried(tmp_path, bad, good) == (2, [1171, None])
    assert left(tmp_path / "o") == ["good"]
    told = pilot("transfer", "list.json", "--explain", cwd=tmp_path)
    assert told.returncode == 1 and "'ad:xyz' is no adler32" in told.stdout
