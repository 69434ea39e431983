import hashlib
import os
from pathlib import Path

import pytest

from pilot.core.staging import ToolSettings
from pilot.core.transfer import Checksum, Direction, Endpoint, Transfer
from tests.copytools.making import adler, carry, content, order


def chaos(**words: str) -> ToolSettings:
    return ToolSettings(options={"chaos": words})


@pytest.mark.parametrize(
    ("kind", "code"),
    [("truncate", 1171), ("corrupt", 1171), ("append", 1171), ("500", 1324), ("enospc", 1098), ("stall", 1151)],
)
def test_what_goes_wrong_is_found_named_and_leaves_nothing(kind: str, code: int, tmp_path: Path) -> None:
    data = os.urandom(5000)
    source = content(tmp_path / "a", data)
    (outcome,) = carry(
        [
            order(
                source,
                tmp_path / "o" / "a",
                size=len(data),
                checksums=adler(data),
                copytool="chaos",
                direction=Direction.IN,
            )
        ],
        chaos(**{kind: "1"}),
        stall_s=0.01,
    )
    assert outcome.failure and outcome.failure.code == code, outcome.failure
    assert os.listdir(tmp_path / "o") == []
    assert source.read_bytes() == data


@pytest.mark.parametrize(("kind", "code"), [("corrupt", 1141), ("500", 1324), ("stall", 1152)])
def test_what_goes_wrong_on_the_way_out_has_the_number_of_that_way(kind: str, code: int, tmp_path: Path) -> None:
    data = os.urandom(5000)
    known = (Checksum("md5", hashlib.md5(data).hexdigest()),)
    sending = order(
        content(tmp_path / "a", data),
        tmp_path / "o" / "a",
        size=len(data),
        checksums=known,
        copytool="chaos",
        direction=Direction.OUT,
    )
    (outcome,) = carry([sending], chaos(**{kind: "1"}), stall_s=0.01)
    assert outcome.failure and outcome.failure.code == code, outcome.failure
    assert os.listdir(tmp_path / "o") == []


def test_a_file_without_a_target_is_the_fault_of_the_configuration(tmp_path: Path) -> None:
    (outcome,) = carry([Transfer("a", (Endpoint(str(content(tmp_path / "a"))),), ())])
    assert outcome.failure and (outcome.failure.code, "a has no target" in outcome.failure.message) == (1341, True)


def test_the_same_seed_spoils_the_same_files_and_another_one_others(tmp_path: Path) -> None:
    def spoilt(seed: str, out: str) -> list[bool]:
        orders = [
            order(content(tmp_path / f"a{i}"), tmp_path / out / f"a{i}", copytool="chaos", size=10) for i in range(40)
        ]
        return [bool(o.failure) for o in carry(orders, chaos(seed=seed, missing="0.3"), max_attempts=1)]

    first = spoilt("1", "x")
    assert first == spoilt("1", "y")
    assert first != spoilt("2", "z")
    assert 2 < sum(first) < 25


def test_most_files_come_through_a_storage_that_fails_every_third_time(tmp_path: Path) -> None:
    orders = [
        order(content(tmp_path / f"a{i}"), tmp_path / "o" / f"a{i}", copytool="chaos", size=10) for i in range(30)
    ]
    outcomes = carry(orders, chaos(**{"500": "0.33"}), max_attempts=6)
    assert not [o for o in outcomes if o.failure]
    assert max(len(o.attempts) for o in outcomes) > 1
