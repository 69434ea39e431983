"""Claims of work directories: what counts as taken, who is dead, and what of a dead one may be removed."""

import errno
import json
import os
import shutil
import socket
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pilot.lib import claimfile, claims, removal, scratch

NOBODY = 65534


def names(base: Path) -> list[str]:
    return sorted(name for name in os.listdir(base) if not name.startswith("."))


def left(base: Path, name: str = "pilot.gone", **words: object) -> Path:
    """What a pilot left that died, its claim changed as told."""
    directory = base / name
    directory.mkdir()
    (directory / "f").write_text("x")
    facts = {"directory": str(directory), "need_bytes": 5000, "host": socket.gethostname(), "pid": 1}
    facts |= {"uid": os.getuid(), "need_inodes": 7, "boot": claimfile.boot_id(), **words}
    (base / f"{name}.claim").write_text(json.dumps(facts))
    return directory


def as_nobody(work: Callable[[], None]) -> None:
    """Do something in a child that is another user, if we may; else as we are."""
    child = os.fork()
    if child == 0:
        code = 1
        try:
            if os.getuid() == 0:
                os.setgroups([])
                os.setgid(NOBODY)
                os.setuid(NOBODY)
            work()
            code = 0
        finally:
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


@pytest.fixture
def shared() -> Iterator[Path]:
    """A directory where every user of the node may write."""
    base = Path(tempfile.mkdtemp(prefix="pilot-test-", dir="/tmp"))
    base.chmod(0o1777)
    yield base
    shutil.rmtree(base)


def test_files_are_claimed_as_bytes_are(tmp_path: Path) -> None:
    made = claims.make(str(tmp_path), 1000, need_inodes=50)
    for number in range(20):
        (Path(made.path) / str(number)).touch()
    assert claims.reserved(str(tmp_path)).inodes == 30
    (place,) = scratch.survey({}, [str(tmp_path)], 1, 1, lambda path: (0, 1 << 60))
    assert not place.fits and "claimed" in place.why and place.tight
    made.remove()
    assert claims.reserved(str(tmp_path)) == (0, 0)


def test_the_claims_of_other_users_count_and_are_theirs(shared: Path) -> None:
    made = claims.make(str(shared), 1 << 30, need_inodes=9)

    def look() -> None:
        assert claims.reserved(str(shared)) == (1 << 30, 9)
        assert os.getuid() != NOBODY or claims.reap(str(shared)) == []

    as_nobody(look)
    made.leave()

    def look_again() -> None:
        assert claims.reserved(str(shared)) == (0, 0)
        assert os.getuid() != NOBODY or claims.reap(str(shared)) == []

    as_nobody(look_again)
    assert os.path.isdir(made.path)
    assert claims.reap(str(shared)) == [made.path]


def test_one_file_system_is_counted_once_for_all_directories_on_it(tmp_path: Path) -> None:
    book = str(tmp_path / "book")
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
    made = claims.make(str(tmp_path / "one"), 5000, need_inodes=5, book=book)
    assert claims.reserved(str(tmp_path / "two")) == (0, 0)
    assert claims.reserved(str(tmp_path / "two"), book) == (5000, 5)
    assert claims.reserved(str(tmp_path / "one"), book) == (5000, 5)
    if os.stat("/dev/shm").st_dev != os.stat(tmp_path).st_dev:
        assert claims.reserved("/dev/shm", book) == (0, 0)
    made.remove()
    assert claims.reserved(str(tmp_path / "two"), book) == (0, 0) and os.listdir(book) == [
        name for name in os.listdir(book) if name.startswith(".")
    ]
    killed = claims.make(str(tmp_path / "one"), 5000, book=book)
    os.close(killed._descriptor)
    assert claims.reserved(str(tmp_path / "two"), book) == (0, 0), "a dead one needs nothing"
    assert claims.reap(str(tmp_path / "one")) == [killed.path]
    claims.reserved(str(tmp_path / "two"), book)
    assert names(tmp_path / "book") == []


def test_a_book_that_cannot_be_used_costs_nothing(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "link").symlink_to(tmp_path)
    for book in (tmp_path / "file", tmp_path / "link", tmp_path / "file" / "below"):
        made = claims.make(str(tmp_path), 10, book=str(book))
        assert claims.reserved(str(tmp_path), str(book)).bytes == 10
        made.remove()


def test_a_number_that_lives_again_is_no_owner(tmp_path: Path) -> None:
    directory = left(tmp_path, pid=os.getppid())
    assert claims.reap(str(tmp_path)) == [str(directory)] and names(tmp_path) == []


@pytest.mark.parametrize(
    ("host", "boot", "network", "goes"),
    [
        ("", "", False, True),
        ("box-of-another-name", "", False, True),
        ("", "another-boot", False, True),
        ("", "another-boot", True, False),
        ("elsewhere", "another-boot", False, False),
        ("elsewhere", "another-boot", True, False),
    ],
)
def test_only_who_cannot_live_is_dead(
    host: str, boot: str, network: bool, goes: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Under one kernel the lock tells; a restart of the same host tells where no other host can be meant."""
    monkeypatch.setattr(claimfile, "on_network", lambda path: network)
    words = {name: value for name, value in (("host", host), ("boot", boot)) if value}
    directory = left(tmp_path, **words)
    assert claims.reap(str(tmp_path)) == ([str(directory)] if goes else [])
    assert directory.exists() != goes
    assert (claims.adopt(str(tmp_path), lambda path: True) is None) is True


def test_what_is_a_link_or_somebody_else_s_stays(tmp_path: Path) -> None:
    (tmp_path / "precious").mkdir()
    shutil.rmtree(left(tmp_path, "pilot.link"))
    (tmp_path / "pilot.link").symlink_to("precious")
    left(tmp_path, "pilot.moved", directory=str(tmp_path / "precious"))
    left(tmp_path, "pilot.other", uid=os.getuid() + 1)
    left(tmp_path, "pilot.away", directory="/elsewhere/pilot.away")
    assert claims.reap(str(tmp_path)) == []
    assert {"precious", "pilot.link", "pilot.moved", "pilot.other", "pilot.away"} <= set(names(tmp_path))


def test_a_base_with_two_names_is_one(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "name").symlink_to("real")
    left(tmp_path / "name", directory=str(tmp_path / "name" / "pilot.gone"))
    assert claims.reap(str(tmp_path / "real")) == [str(tmp_path / "real" / "pilot.gone")]
    assert names(tmp_path / "real") == []


def test_a_claim_that_was_never_written_goes_after_a_while(tmp_path: Path) -> None:
    for name, age_s in (("pilot.old.claim", 100), ("pilot.new.claim", 1)):
        (tmp_path / name).touch()
        os.utime(tmp_path / name, (time.time() - age_s,) * 2)
    shutil.rmtree(left(tmp_path, "pilot.bare"))
    claims.reap(str(tmp_path))
    assert names(tmp_path) == ["pilot.new.claim"]


def test_a_directory_that_cannot_be_made_leaves_no_claim(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(path: str, mode: int = 0o777) -> None:
        assert names(tmp_path) == [os.path.basename(path) + ".claim"], "the claim comes first"
        raise OSError(errno.ENOSPC, "full")

    monkeypatch.setattr(os, "mkdir", full)
    with pytest.raises(OSError, match="full"):
        claims.make(str(tmp_path), 10)
    assert names(tmp_path) == []


def test_what_a_payload_locked_away_is_removed_with_the_rest(shared: Path) -> None:
    def work() -> None:
        made = claims.make(str(shared), 10)
        deep = Path(made.path) / "modules" / "deep"
        deep.mkdir(parents=True)
        (deep / "f").write_text("x")
        (Path(made.path) / "way-out").symlink_to(shared)
        for folder, mode in ((deep, 0o000), (deep.parent, 0o555)):
            folder.chmod(mode)
        assert made.remove()
        assert names(shared) == ["stays"]

    (shared / "stays").mkdir()
    as_nobody(work)


def test_what_something_is_mounted_in_stays_and_keeps_its_claim(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "/proc" in removal.mounts_within("/") and removal.mounts_within(str(tmp_path)) == []
    made = claims.make(str(tmp_path), 10)
    (Path(made.path) / "f").touch()
    monkeypatch.setattr(removal, "mounts_within", lambda path: [f"{path}/mnt"])
    assert not made.remove() and (Path(made.path) / "f").exists()
    assert claims.reap(str(tmp_path)) == []
    monkeypatch.undo()
    assert claims.reap(str(tmp_path)) == [made.path]


def test_names_in_the_mount_table_are_read_as_they_are() -> None:
    assert removal._plain(rb"/mnt/two\040words\134x") == rb"/mnt/two words\x"


def test_a_list_may_name_paths_with_blanks_and_what_stands_for_a_variable(tmp_path: Path) -> None:
    spaced = tmp_path / "two words"
    spaced.mkdir()
    assert scratch.order_of(f"{spaced}, TMPDIR") == (str(spaced), "TMPDIR")
    assert scratch.order_of(f"{spaced},") == (str(spaced),)
    assert scratch.order_of("A B") == ("A", "B")
    (place,) = scratch.survey({}, [f"NOWHERE:-{spaced}"], 1)
    assert (place.name, place.path, place.fits) == ("NOWHERE", str(spaced), True)
    assert scratch.paths_of({"A": str(spaced)}, ["A", str(spaced), "B"]) == [str(spaced)]


def test_in_the_order_of_pegasus_the_present_directory_is_what_condor_did_not_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    chosen = scratch.choose(scratch.survey({"TMPDIR": "/tmp"}, scratch.PRESETS["pegasus-5"], 1))
    assert chosen is not None and (chosen.name, chosen.path) == ("_CONDOR_SCRATCH_DIR", str(tmp_path))
