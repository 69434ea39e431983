import errno
import os
from pathlib import Path

import pytest

from pilot.core.errors import BadOutputFileName, LfnTooLong
from pilot.lib.files import check_name, file_url, local_path, name_file, part_path, safe_join, write_atomically


@pytest.mark.parametrize(
    "name", ["../x", "a/../b", "a/..", "/etc/passwd", "a\0b", "", ".", "..", "a//b", "a/", "./a", "\udc80"]
)
def test_a_name_that_leaves_its_directory_or_is_none_is_refused(name: str) -> None:
    with pytest.raises(BadOutputFileName) as caught:
        check_name(name)
    assert caught.value.code == 1371


def test_a_name_of_256_bytes_is_too_long_and_one_of_255_is_not() -> None:
    assert check_name("x" * 255)
    assert check_name("d" * 200 + "/" + "x" * 255)
    with pytest.raises(LfnTooLong) as caught:
        check_name("é" * 128)
    assert caught.value.code == 1190


@pytest.mark.parametrize("name", ["it's.dat", 'say "hi"', "two words", "new\nline", "größe.root", "-rf", "a..b", "..."])
def test_odd_but_harmless_names_are_fine(name: str, tmp_path) -> None:
    assert safe_join(str(tmp_path), name) == f"{tmp_path}/{name}"


def test_a_link_that_leads_out_of_the_directory_is_not_followed(tmp_path) -> None:
    (tmp_path / "job").mkdir()
    (tmp_path / "job" / "sub").symlink_to("/etc")
    with pytest.raises(BadOutputFileName):
        safe_join(str(tmp_path / "job"), "sub/passwd")


@pytest.mark.parametrize("path", ["/a/b", "/a b/it's#1?.dat", "/100%/x%20y", "/ü/\nz"])
def test_a_path_survives_being_a_url(path: str) -> None:
    assert local_path(file_url(path)) == path


def test_only_file_urls_and_paths_are_local() -> None:
    assert local_path("file://localhost/a/b") == "/a/b"
    assert local_path("file:/a/b") == "/a/b"
    assert local_path("root://host//a") is None


def test_the_growing_file_lies_beside_its_final_name_and_is_never_too_long() -> None:
    part = part_path("/data/" + "x" * 255, "token")
    assert os.path.dirname(part) == "/data"
    assert len(os.path.basename(part)) <= 255
    assert part != part_path("/data/y", "token")


def test_an_atomic_write_replaces_and_leaves_nothing_beside(tmp_path) -> None:
    path = tmp_path / "state.json"
    write_atomically(path, "old")
    write_atomically(path, b"new", fsync=True)
    assert path.read_text() == "new"
    assert os.listdir(tmp_path) == ["state.json"]


def nameless(folder: Path, data: bytes) -> int:
    descriptor = os.open(folder, os.O_RDWR | os.O_TMPFILE, 0o640)
    os.write(descriptor, data)
    return descriptor


def test_a_file_without_a_name_gets_it_in_one_step_and_may_replace_another(tmp_path: Path) -> None:
    final, part = str(tmp_path / "f"), str(tmp_path / ".part")
    for data in (b"first", b"second"):
        descriptor = nameless(tmp_path, data)
        assert [p.name for p in tmp_path.iterdir()] == (["f"] if data == b"second" else [])
        name_file(descriptor, final, part)
        os.close(descriptor)
        assert (tmp_path / "f").read_bytes() == data
    assert [p.name for p in tmp_path.iterdir()] == ["f"]
    descriptor = nameless(tmp_path, b"third")
    with pytest.raises(FileExistsError):
        name_file(descriptor, final, part, replace=False)
    (tmp_path / "folder" / "with content").mkdir(parents=True)
    with pytest.raises(OSError):
        name_file(descriptor, str(tmp_path / "folder"), part)
    os.close(descriptor)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["f", "folder"]
    assert (tmp_path / "f").read_bytes() == b"second"


def test_a_file_that_cannot_be_named_is_written_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError(errno.EXDEV, "Invalid cross-device link")

    monkeypatch.setattr(os, "link", refuse)
    descriptor = nameless(tmp_path, b"content")
    name_file(descriptor, str(tmp_path / "f"), str(tmp_path / ".part"))
    with pytest.raises(FileExistsError):
        name_file(descriptor, str(tmp_path / "f"), str(tmp_path / ".part"), replace=False)
    os.close(descriptor)
    assert [p.name for p in tmp_path.iterdir()] == ["f"]
    assert (tmp_path / "f").read_bytes() == b"content"
    assert (tmp_path / "f").stat().st_mode & 0o777 == 0o640
