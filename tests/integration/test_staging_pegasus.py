"""Lists as planners and people write them, on files in every odd state: what `pilot transfer` makes of them."""

import hashlib
import json
import os
import stat
from pathlib import Path

import pytest

from tests.integration.test_staging_cli import listed, pilot, transfer


def moved(directory: Path, entries: list[object], *words: str, code: int = 0, **environment: str) -> str:
    """Carry a list out; what was said."""
    done = pilot("transfer", *words, "-m", 1, listed(directory, entries), cwd=directory, **environment)
    assert done.returncode == code, done.stderr
    return done.stderr


def place(scheme: str, path: object) -> dict[str, object]:
    return {"site_label": "here", "url": f"{scheme}://{path}"}


def one(source: Path, scheme: str, target: object, **more: object) -> dict[str, object]:
    return {**transfer(source, target), "dest_urls": [place(scheme, target)], **more}


@pytest.fixture
def data(tmp_path: Path) -> Path:
    (tmp_path / "data").write_text("precious")
    return tmp_path / "data"


@pytest.mark.parametrize("scheme", ["file", "symlink", "moveto"])
@pytest.mark.parametrize("checked", [True, False])
def test_a_file_that_is_its_own_target_stays_as_it_is(scheme: str, checked: bool, data: Path, tmp_path: Path) -> None:
    (tmp_path / "name").symlink_to("data")
    spelled = f"{tmp_path}//./data"
    moved(tmp_path, [one(data, scheme, spelled, verify_symlink_source=checked)])
    assert data.read_text() == "precious" and not data.is_symlink()
    if scheme != "moveto":
        moved(tmp_path, [one(data, scheme, tmp_path / "name", verify_symlink_source=checked)])
        assert os.readlink(tmp_path / "name") == "data" and data.read_text() == "precious"


@pytest.mark.parametrize("tool", ["hardlink", "symlink", "copy"])
def test_a_second_name_of_the_source_stays_one(tool: str, data: Path, tmp_path: Path) -> None:
    os.link(data, tmp_path / "second")
    moved(tmp_path, [one(data, "file", tmp_path / "second")], "--copytool", tool)
    assert os.stat(data).st_nlink == 2 and (tmp_path / "second").read_text() == "precious"
    assert not list(tmp_path.glob(".pilot-*"))


def test_a_file_that_stays_is_verified_all_the_same(data: Path, tmp_path: Path) -> None:
    said = moved(tmp_path, [{**one(data, "symlink", data), "checksum": "ad:00000001"}], code=1)
    assert "adler32" in said and data.read_text() == "precious"


def test_a_file_moved_to_its_second_name_has_one_name_left(data: Path, tmp_path: Path) -> None:
    os.link(data, tmp_path / "second")
    moved(tmp_path, [one(data, "moveto", tmp_path / "second")])
    assert not data.exists() and (tmp_path / "second").read_text() == "precious"


def test_a_pipe_or_a_device_is_never_replaced(data: Path, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for scheme in ("file", "symlink", "moveto"):
        said = moved(tmp_path, [one(data, scheme, tmp_path / "pipe")], code=1)
        assert "pipe" in said and data.exists()
        assert stat.S_ISFIFO(os.lstat(tmp_path / "pipe").st_mode)


@pytest.mark.parametrize("scheme", ["file", "symlink", "moveto"])
@pytest.mark.parametrize("spelling", ["old", "old/", "new/", "link"])
def test_a_directory_takes_the_file_under_its_own_name(scheme: str, spelling: str, data: Path, tmp_path: Path) -> None:
    (tmp_path / "old").mkdir()
    (tmp_path / "link").symlink_to("old")
    moved(tmp_path, [one(data, scheme, f"{tmp_path}/{spelling}")])
    assert (tmp_path / spelling / "data").read_text() == "precious"
    assert (tmp_path / "link").is_symlink() and (tmp_path / "old").is_dir()
    assert (tmp_path / spelling / "data").is_symlink() == (scheme == "symlink")


def test_a_directory_is_linked_and_not_copied(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    moved(tmp_path, [one(tmp_path / "folder", "symlink", tmp_path / "link")])
    assert (tmp_path / "link").is_symlink() and (tmp_path / "link").is_dir()
    moved(tmp_path, [one(tmp_path / "folder", "file", tmp_path / "copy")], code=1)
    assert not (tmp_path / "copy").exists()


def test_a_file_nobody_may_write_arrives_so(data: Path, tmp_path: Path) -> None:
    data.chmod(0o444)
    big = tmp_path / "big"
    big.write_bytes(bytes(33 << 20))
    big.chmod(0o400)
    moved(tmp_path, [one(data, "file", tmp_path / "out" / "data"), one(big, "file", tmp_path / "out" / "big")])
    assert stat.S_IMODE((tmp_path / "out" / "data").stat().st_mode) == 0o444
    assert stat.S_IMODE((tmp_path / "out" / "big").stat().st_mode) == 0o400


def test_one_target_in_two_spellings_is_still_one(data: Path, tmp_path: Path) -> None:
    (tmp_path / "other").write_text("other")
    out = f"{tmp_path}/out"
    said = moved(
        tmp_path, [one(data, "file", f"{out}/x"), one(tmp_path / "other", "file", f"{out}//./x", lfn="y")], code=2
    )
    assert "target of two files" in said and (tmp_path / "out" / "x").read_text() == "precious"


def test_a_file_that_is_listed_twice_is_one_transfer(data: Path, tmp_path: Path) -> None:
    moved(tmp_path, [one(data, "file", tmp_path / "out"), one(data, "file", tmp_path / "out")])
    assert (tmp_path / "out").read_text() == "precious"


def test_a_directory_goes_when_recursive_says_so_in_any_word() -> None:
    from pilot.staging.request import read_request

    ways = [True, "true", "True", "yes", "YES", "t", "1", 1, False, "false", "no", "F", "0", 0, None, ""]
    text = json.dumps([{"type": "remove", "target": {"url": "/x", "recursive": way}} for way in ways])
    found = [target.recursive for target in read_request(text.encode(), {}, "/").removals]
    assert found == [True] * 8 + [False] * 8


def test_a_directory_where_a_link_was_to_go_stays(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "link").symlink_to("folder")
    targets = [{**place("symlink", tmp_path / name), "recursive": True} for name in ("folder", "link")]
    moved(tmp_path, [{"type": "remove", "target": target} for target in targets], code=2)
    assert (tmp_path / "folder").is_dir() and not (tmp_path / "link").is_symlink()


def test_a_word_that_may_mean_anything_removes_nothing(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    entry = {"type": "remove", "target": {"url": str(tmp_path / "folder"), "recursive": "maybe"}}
    assert "maybe" in moved(tmp_path, [entry], code=2)
    assert (tmp_path / "folder").is_dir()


def test_what_lies_below_a_file_is_gone_already(data: Path, tmp_path: Path) -> None:
    moved(tmp_path, [{"type": "remove", "target": {"url": f"{data}/below"}}])
    assert data.exists()


def test_keys_that_hold_nothing_or_numbers_are_borne(data: Path, tmp_path: Path) -> None:
    ends = [{"site_label": None, "url": f"file://{data}", "priority": 1.5, "type": 3, "checkpoint": "true"}]
    ends.append({"site_label": "x", "url": f"file://{tmp_path}/nope", "priority": " 7 "})
    nothing = dict.fromkeys(("linkage", "generate_checksum", "verify_checksum_remote", "id"))
    moved(tmp_path, [{**transfer(data, tmp_path / "out"), **nothing, "lfn": 7, "src_urls": ends}])
    moved(tmp_path, [{**transfer(data, tmp_path / "out2"), "lfn": None}])
    assert (tmp_path / "out").read_text() == (tmp_path / "out2").read_text() == "precious"


@pytest.mark.parametrize("bad", [float("inf"), "abc"])
def test_a_priority_that_is_no_number_is_named(bad: object) -> None:
    from pilot.staging.entries import BadRequest, Place

    with pytest.raises(BadRequest, match="priority is no number"):
        Place("/x", priority=bad).rank(5)  # type: ignore[arg-type]


@pytest.mark.parametrize("where", ["[", "# src 1 x\n"])
def test_bytes_that_are_no_text_are_named_in_one_line(where: str, tmp_path: Path) -> None:
    name = b'{"type":"remove","target":{"url":"/x\xe9"}}]' if where == "[" else b"/a\xe9b/nope\n# dst 1 x\n/x\xe9/y\n"
    (tmp_path / "list").write_bytes(where.encode() + name)
    done = pilot("transfer", "list", cwd=tmp_path)
    assert done.returncode == (2 if where == "[" else 1) and "nobody expected" not in done.stderr, done.stderr


def test_braces_and_foreign_letters_end_a_variable(data: Path, tmp_path: Path) -> None:
    entries = [
        one(data, "file", f"{tmp_path}/" + name, lfn=str(number))
        for number, name in enumerate(("a${PART", "b$PART}", "c${PART}é", "d$PARTé"))
    ]
    moved(tmp_path, entries, PART="X")
    assert {path.name for path in tmp_path.iterdir()} > {"aX", "bX", "cXé", "dXé"}


class TestChecksums:
    @staticmethod
    def written(directory: Path, lfn: str, value: str) -> None:
        sums = {"checksum.type": "sha256", "checksum.value": value}
        text = json.dumps([{"_id": "else", "_type": "file"}, {"_id": lfn, "_attributes": sums}])
        (directory / "job.meta").write_text(text)
        (directory / "broken.meta").write_text("[{")

    def test_a_file_to_be_verified_must_be_what_is_written_down(self, data: Path, tmp_path: Path) -> None:
        self.written(tmp_path, "out", hashlib.sha256(b"precious").hexdigest())
        moved(tmp_path, [transfer(data, tmp_path / "out", verify_checksum_remote=True)])
        self.written(tmp_path, "out", "0" * 64)
        (tmp_path / "out").unlink()
        said = moved(tmp_path, [transfer(data, tmp_path / "out", verify_checksum_remote=True)], code=1)
        assert "sha256" in said and not (tmp_path / "out").exists()
        moved(tmp_path, [transfer(data, tmp_path / "out")])

    def test_a_record_tells_of_the_source_that_is_a_file(self, data: Path, tmp_path: Path) -> None:
        records = tmp_path / "records"
        entry = transfer(data, tmp_path / "out", generate_checksum=True)
        moved(tmp_path, [entry], KICKSTART_INTEGRITY_DATA=str(records))
        assert f'file_name: "{data}"' in records.read_text()

    def test_a_moved_file_is_recorded_where_it_is(self, data: Path, tmp_path: Path) -> None:
        records = tmp_path / "records"
        entry = one(data, "moveto", tmp_path / "out", generate_checksum=True)
        moved(tmp_path, [entry], KICKSTART_INTEGRITY_DATA=str(records))
        assert f'file_name: "{tmp_path}/out"' in records.read_text()

    def test_no_record_leaves_no_file(self, tmp_path: Path) -> None:
        entry = transfer(tmp_path / "nope", tmp_path / "out", generate_checksum=True)
        moved(tmp_path, [entry], code=1, KICKSTART_INTEGRITY_DATA=str(tmp_path / "records"))
        assert not (tmp_path / "records").exists()


def test_a_drill_beyond_all_percent_spoils_nothing(data: Path, tmp_path: Path) -> None:
    moved(tmp_path, [transfer(data, tmp_path / "out")], PEGASUS_TRANSFER_ERROR_RATE="101")
    assert (tmp_path / "out").read_text() == "precious"
