"""Ends of transfers that are no plain files, or are one file by two names: nothing hangs, and nothing is lost."""

from __future__ import annotations

import json
import os
import socket
from pathlib import Path

import pytest

from pilot.core.staging import ToolSettings
from pilot.core.transfer import Direction, Endpoint, Transfer
from tests.copytools.liar import lying, reply
from tests.copytools.making import carry, content, order
from tests.integration.test_staging_cli import pilot
from tests.small_disk import small_disk

TARGETS = {
    "copy": "{0}/o/f",
    "symlink": "{0}/o/f",
    "hardlink": "{0}/o/f",
    "reflink": "{0}/o/f",
    "move": "{0}/o/f",
    "http": "http://127.0.0.1:1/f",
    "s3": "s3://127.0.0.1:1/b/f",
    "xrootd": "root://127.0.0.1:1//f",
    "gfal": "gsiftp://127.0.0.1:1/f",
    "lsm": "srm://127.0.0.1:1/f",
}


@pytest.mark.parametrize("tool", TARGETS)
@pytest.mark.parametrize("kind", ["directory", "pipe", "socket"])
def test_what_is_no_plain_file_is_refused_by_every_tool_and_waited_for_by_none(
    kind: str, tool: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = tmp_path / "in"
    monkeypatch.chdir(tmp_path)
    if kind == "directory":
        source.mkdir()
    elif kind == "pipe":
        os.mkfifo(source)
    else:
        with socket.socket(socket.AF_UNIX) as made:
            made.bind("in")
    tools = ToolSettings(environment={"AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b", "HOME": str(tmp_path)})
    (outcome,) = carry([order(source, TARGETS[tool].format(tmp_path), copytool=tool)], tools)
    assert outcome.failure is not None
    assert (outcome.failure.code, outcome.failure.retry) in ((1099, False), (1137, False)), outcome.failure
    assert "is not a plain file" in outcome.failure.message and len(outcome.attempts) == 1


@pytest.mark.parametrize("tool", ["copy", "symlink", "hardlink", "move"])
def test_a_link_to_itself_is_a_missing_file(tool: str, tmp_path: Path) -> None:
    (tmp_path / "l").symlink_to("l")
    (outcome,) = carry([order(tmp_path / "l", tmp_path / "o" / "f", copytool=tool, direction=Direction.IN)])
    assert outcome.failure and (outcome.failure.code, outcome.failure.retry) == (1331, False)


@pytest.mark.parametrize("tool", ["copy", "symlink", "hardlink", "reflink", "move"])
@pytest.mark.parametrize("target", ["d/a", "d/./a", "l/a", "d//a"])
def test_a_file_survives_being_its_own_target(tool: str, target: str, tmp_path: Path) -> None:
    source = content(tmp_path / "d" / "a")
    (tmp_path / "l").symlink_to("d")
    (outcome,) = carry([order(source, f"{tmp_path}/{target}", copytool=tool)])
    assert outcome.failure is None or (outcome.failure.code, outcome.failure.retry) == (1221, False)
    assert source.read_bytes() == b"some bytes" and not source.is_symlink()
    assert os.listdir(tmp_path / "d") == ["a"]


def test_a_blind_link_does_not_replace_the_file_that_it_means(tmp_path: Path) -> None:
    source = content(tmp_path / "a")
    (outcome,) = carry([order(source, source, copytool="blindlink")])
    assert outcome.failure is None and not source.is_symlink()
    assert source.read_bytes() == b"some bytes"


def test_a_link_may_be_made_again(tmp_path: Path) -> None:
    source = content(tmp_path / "a")
    for _ in range(2):
        (outcome,) = carry([order(source, tmp_path / "o" / "l", copytool="symlink")])
        assert outcome.failure is None and os.readlink(tmp_path / "o" / "l") == str(source)


@pytest.mark.parametrize(("tool", "left"), [("hardlink", ["a", "b"]), ("move", ["b"])])
def test_two_names_of_one_file_leave_no_third(tool: str, left: list[str], tmp_path: Path) -> None:
    source = content(tmp_path / "a")
    os.link(source, tmp_path / "b")
    (outcome,) = carry([order(source, tmp_path / "b", copytool=tool)])
    assert outcome.failure is None and sorted(os.listdir(tmp_path)) == left
    assert (tmp_path / "b").read_bytes() == b"some bytes"


@pytest.mark.parametrize("second", ["d//f", "d/./f", "l/f", "l/../d/f"])
def test_one_place_spelt_in_two_ways_takes_one_file(second: str, tmp_path: Path) -> None:
    (tmp_path / "d").mkdir()
    (tmp_path / "l").symlink_to("d")
    one, two = content(tmp_path / "1", b"one"), content(tmp_path / "2", b"two")
    outcomes = carry([order(one, tmp_path / "d" / "f"), order(two, f"{tmp_path}/{second}")])
    assert [outcome.failure and outcome.failure.code for outcome in outcomes] == [None, 1221]
    assert (tmp_path / "d" / "f").read_bytes() == b"one"


def test_one_server_spelt_in_two_ways_takes_one_file(tmp_path: Path) -> None:
    source = content(tmp_path / "in")
    with lying(lambda method, number, headers: reply("201 Created")) as liar:
        again = liar.url.replace("http://", "HTTP://")
        first, second = carry([order(source, liar.url), order(source, again)])
    assert second.failure and second.failure.code == 1221
    assert liar.methods.count("PUT") == 1 and first.size == 10


def test_a_target_that_is_named_twice_gets_its_file_once(tmp_path: Path) -> None:
    place = Endpoint(str(tmp_path / "o"))
    source = Endpoint(str(content(tmp_path / "in")))
    (outcome,) = carry([Transfer(lfn="f", sources=(source,), targets=(place, place))])
    assert outcome.failure is None and (tmp_path / "o").read_bytes() == b"some bytes"


def test_a_full_disk_on_the_way_is_this_machine_s(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", 1) as disk:
        with lying(lambda method, number, headers: reply("200 OK", bytes(3 << 20))) as liar:
            tools = ToolSettings(spool_dir=str(disk))
            (outcome,) = carry([order(liar.url, liar.url + "2")], tools)
        assert outcome.failure and (outcome.failure.code, outcome.failure.retry) == (1098, False)
        assert "PUT" not in liar.methods and os.listdir(disk) == []


# ---- the command --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", ["json", "old"])
def test_a_mark_of_byte_order_before_a_list_is_no_part_of_it(form: str, tmp_path: Path) -> None:
    source, target = content(tmp_path / "in"), tmp_path / "o" / "f"
    text = json.dumps([{"type": "transfer", "sources": [str(source)], "targets": [str(target)]}])
    if form == "old":
        text = f"\r\n# src 1 here\r\nfile://{source}\r\n# dst 1 here\r\nfile://{target}\r\n"
    (tmp_path / "list").write_bytes(b"\xef\xbb\xbf" + text.encode())
    assert pilot("transfer", "list", cwd=tmp_path).returncode == 0
    assert target.read_bytes() == b"some bytes"


def test_a_list_that_is_no_text_is_named_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "list").write_bytes(b'[{"type": "transfer", "lfn": "\xff"}]')
    done = pilot("transfer", "list", cwd=tmp_path)
    assert done.returncode == 2 and "no JSON" in done.stderr and len(done.stderr.splitlines()) == 1


def test_a_name_that_is_no_text_comes_and_is_recorded(tmp_path: Path) -> None:
    name = b"in\xff\xfe"
    with open(os.fsencode(tmp_path) + b"/" + name, "wb") as stream:
        stream.write(b"data")
    place = os.fsencode(tmp_path)
    words = (b"# src 1 x", b"file://" + place + b"/" + name, b"# dst 1 x", b"file://" + place + b"/o/" + name)
    (tmp_path / "list").write_bytes(
        b"\n".join((*words, b"# src 1 x", b"file:///no\xff", b"# dst 1 x", b"file:///no/\xff\n"))
    )
    records = ("--json", "--report", "r", "--db", "t.db", "--events", "e", "--debug")
    done = pilot("transfer", "list", *records, cwd=tmp_path)
    assert done.returncode == 2, done.stderr
    assert os.listdir(place + b"/o") == [name]
    assert [line["lfn"] for line in json.loads(done.stdout)["files"]] == ["in\\udcff\\udcfe", "\\udcff"]
    assert all(json.loads(line) for line in (tmp_path / "e").read_text().splitlines())


@pytest.mark.parametrize("place", ["nowhere/r", "."])
def test_a_report_that_cannot_be_written_is_named_before_anything_moves(place: str, tmp_path: Path) -> None:
    text = json.dumps([{"type": "transfer", "sources": [str(content(tmp_path / "in"))], "targets": ["f"]}])
    done = pilot("transfer", "--report", place, cwd=tmp_path, stdin=text)
    assert done.returncode == 2 and place in done.stderr and not (tmp_path / "f").exists()


@pytest.mark.parametrize("words", ["| true; exit ${PIPESTATUS[0]}", "2>/dev/full", ">&- 2>&-", "--report - >&-"])
def test_who_does_not_listen_changes_nothing_of_the_exit_code(words: str, tmp_path: Path) -> None:
    import subprocess

    from pilot.lib.program import own_command, own_environment

    content(tmp_path / "in")
    entries = [{"type": "transfer", "sources": ["in"], "targets": [f"o/{number}"]} for number in range(300)]
    (tmp_path / "list").write_text(json.dumps(entries))
    shell = ["bash", "-c", f'"$@" {words}', "bash", *own_command("transfer", "--json", "list")]
    done = subprocess.run(shell, cwd=tmp_path, env=own_environment(), capture_output=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    assert len(os.listdir(tmp_path / "o")) == 300


def test_a_list_from_nowhere_is_no_surprise(tmp_path: Path) -> None:
    import subprocess

    from pilot.lib.program import own_command, own_environment

    shell = ["bash", "-c", '"$@" <&-', "bash", *own_command("transfer")]
    done = subprocess.run(shell, env=own_environment(), cwd=tmp_path, capture_output=True, timeout=60, check=False)
    assert done.returncode == 2 and b"standard input is closed" in done.stderr
