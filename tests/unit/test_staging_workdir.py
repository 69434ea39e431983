import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from pilot.lib import claims, scratch

ROOT = Path(__file__).resolve().parents[2]


def test_the_order_is_that_of_the_preset_or_one_s_own(tmp_path: Path) -> None:
    env = {"_CONDOR_SCRATCH_DIR": str(tmp_path / "condor"), "OSG_WN_TMP": str(tmp_path / "osg")}
    for path in env.values():
        Path(path).mkdir()
    for preset, first in (("pegasus-5", "condor"), ("seed-3.1", "osg")):
        chosen = scratch.choose(scratch.survey(env, scratch.order_of(preset), 1))
        assert chosen and chosen.path == str(tmp_path / first)
    chosen = scratch.choose(scratch.survey({"MINE": str(tmp_path)}, scratch.order_of("MINE,/tmp"), 1))
    assert chosen and chosen.path == str(tmp_path)
    with pytest.raises(ValueError, match="nothing"):
        scratch.order_of(" , ")


def test_each_rejection_has_its_reason(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    env = {"A": str(tmp_path / "nope"), "B": str(tmp_path / "file"), "D": str(tmp_path), "E": str(tmp_path)}
    places = {p.name: p.why for p in scratch.survey(env, ("A", "B", "C", "D", "E"), 1)}
    assert "No such file" in places["A"]
    assert places["B"] == "not a directory"
    assert places["C"] == "not set"
    assert places["D"] == ""
    assert "earlier" in places["E"]
    (full,) = scratch.survey(env, ("D",), 1 << 60)
    assert "needed" in full.why
    (few,) = scratch.survey(env, ("D",), 1, need_inodes=1 << 60)
    assert "inodes" in few.why or os.statvfs(tmp_path).f_files == 0
    (taken,) = scratch.survey(env, ("D",), 1, reserved=lambda path: (1 << 60, 0))
    assert "claimed by other pilots" in taken.why


def test_a_place_that_cannot_be_written_is_rejected_and_nothing_is_left_in_one_that_can(tmp_path: Path) -> None:
    (place,) = scratch.survey({}, ("/proc",), 0)
    assert place.why
    scratch.survey({}, (str(tmp_path),), 1 << 20)
    assert os.listdir(tmp_path) == []


def test_blanks_in_a_path_are_fine(tmp_path: Path) -> None:
    (tmp_path / "two words").mkdir()
    chosen = scratch.choose(scratch.survey({"X": str(tmp_path / "two words")}, ("X",), 1))
    assert chosen and chosen.path.endswith("two words")


def test_the_best_is_a_local_disk_before_the_network_and_before_memory() -> None:
    def place(name: str, kind: str, free: int) -> scratch.Place:
        return scratch.Place(name, "/" + name, free_bytes=free, fs_type=kind)

    places = [place("m", "tmpfs", 900), place("n", "nfs4", 800), place("d", "ext4", 10), place("e", "xfs", 20)]
    best = scratch.choose(places, best=True)
    assert best and best.name == "e"
    first = scratch.choose(places)
    assert first and first.name == "m"


def test_a_claim_counts_until_it_is_used_up_or_given_back(tmp_path: Path) -> None:
    made = claims.make(str(tmp_path), 1_000_000)
    assert claims.reserved(str(tmp_path)).bytes == 1_000_000
    (Path(made.path) / "data").write_bytes(b"x" * 400_000)
    assert 500_000 < claims.reserved(str(tmp_path)).bytes < 700_000
    assert claims.reap(str(tmp_path)) == [], "its owner lives"
    made.remove()
    made.remove()
    assert claims.reserved(str(tmp_path)).bytes == 0
    assert [name for name in os.listdir(tmp_path) if not name.startswith(".")] == []


def test_what_a_killed_pilot_left_is_reaped_and_nothing_else(tmp_path: Path) -> None:
    code = (
        "import sys, time\nfrom pilot.lib import claims\n"
        f"made = claims.make({str(tmp_path)!r}, 5000)\nopen(made.path + '/f', 'w').write('x')\n"
        "print(made.path, flush=True)\ntime.sleep(60)\n"
    )
    child = subprocess.Popen(
        [sys.executable, "-c", code], cwd=ROOT, stdout=subprocess.PIPE, env={**os.environ, "PYTHONPATH": str(ROOT)}
    )
    assert child.stdout is not None
    left = child.stdout.readline().decode().strip()
    (tmp_path / "pilot.somebody").mkdir()
    forged = {"directory": str(tmp_path / "precious"), "need_bytes": 1, "host": "x", "pid": 1, "uid": os.getuid()}
    (tmp_path / "precious").mkdir()
    (tmp_path / "pilot.forged.claim").write_text(json.dumps(forged))
    (tmp_path / "pilot.junk.claim").write_text("not json")
    assert claims.reap(str(tmp_path)) == []
    assert claims.reserved(str(tmp_path)).bytes > 0
    child.send_signal(signal.SIGKILL)
    child.wait()
    child.stdout.close()
    assert claims.reap(str(tmp_path)) == [left]
    assert not os.path.exists(left)
    assert (tmp_path / "pilot.somebody").is_dir() and (tmp_path / "precious").is_dir()


def test_a_place_is_claimed_only_while_nothing_speaks_against_it(tmp_path: Path) -> None:
    def full() -> str:
        (here,) = scratch.survey({}, [str(tmp_path)], 1 << 60, reserved=claims.reserved)
        return here.why

    with pytest.raises(OSError, match="needed"):
        claims.make(str(tmp_path), 1 << 60, full)
    assert [name for name in os.listdir(tmp_path) if not name.startswith(".")] == []


def test_what_is_left_on_purpose_is_adopted_once_by_whoever_wants_it_and_reaped_by_nobody_meanwhile(
    tmp_path: Path,
) -> None:
    base = str(tmp_path)
    made = claims.make(base, 5000)
    assert claims.adopt(base, lambda path: True) is None, "its owner lives"
    made.leave()
    assert claims.adopt(base, lambda path: False) is None
    assert claims.reap(base, lambda path, age_s: path == made.path and 0 <= age_s < 100) == []
    mine = claims.adopt(base, lambda path: path == made.path)
    assert mine is not None and mine.path == made.path
    assert claims.adopt(base, lambda path: True) is None and claims.reap(base) == []
    assert claims.reserved(base).bytes == 5000
    mine.remove()
    assert [name for name in os.listdir(tmp_path) if not name.startswith(".")] == []


def test_a_size_is_understood_as_people_write_it() -> None:
    assert [scratch.need_bytes(text) for text in ("10", "2k", "1.5 MB", "1GiB")] == [10, 2048, 3 << 19, 1 << 30]
    assert scratch.need_bytes("", "5") == 5120 and scratch.need_bytes("") == 1_024_000_000
    with pytest.raises(ValueError, match="is no size"):
        scratch.need_bytes("much")
