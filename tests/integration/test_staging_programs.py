"""Copy tools that leave the work to programs and libraries of the site: stalls, cancels, words that mean errors."""

import json
import os
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from pilot.core.staging import ToolSettings
from pilot.core.transfer import Checksum, Direction, Endpoint, Transfer
from pilot.lib.cancel import Cancel
from pilot.staging.request import read_request
from tests.copytools import fakes
from tests.copytools.making import adler, carry, content, order, transferer
from tests.copytools.places import place_for


def script(path: Path, body: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{body}\n")
    path.chmod(0o755)


def lsm(tmp_path: Path, body: str) -> ToolSettings:
    script(tmp_path / "bin" / "lsm-get", body)
    return ToolSettings(environment={"PATH": f"{tmp_path}/bin:{os.environ['PATH']}"})


@pytest.mark.parametrize(
    ("words", "code"),
    [
        ("error: No such file or directory", 1331),
        ("the transfer timed out: timeout", 1151),
        ("No space left on device", 1098),
        ("globus_xio: operation was canceled", 1324),
        ("Network is unreachable", 1327),
        ("no credentials found", 1364),
        ("authentication failed", 1338),
        ("your proxy has expired", 1373),
        ("checksum mismatch", 1171),
        ("something else", 1099),
    ],
)
def test_what_a_script_says_becomes_the_right_number(words: str, code: int, tmp_path: Path) -> None:
    settings = lsm(tmp_path, f'echo "{words}" >&2; exit 1')
    (outcome,) = carry(
        [order("srm://h/f", tmp_path / "f", copytool="lsm", direction=Direction.IN)], settings, max_attempts=1
    )
    assert outcome.failure and outcome.failure.code == code, outcome.failure


def test_a_script_that_does_nothing_is_given_up_after_the_stall_time(tmp_path: Path) -> None:
    settings = lsm(tmp_path, 'printf abc > "$2"; exec sleep 60')
    begin = time.monotonic()
    (outcome,) = carry(
        [order("srm://h/f", tmp_path / "o" / "f", copytool="lsm", direction=Direction.IN)],
        settings,
        stall_s=0.3,
        max_attempts=1,
    )
    assert outcome.failure and outcome.failure.code == 1151
    assert time.monotonic() - begin < 10
    assert os.listdir(tmp_path / "o") == []


def test_a_script_that_lies_about_its_success_is_found(tmp_path: Path) -> None:
    (outcome,) = carry([order("srm://h/f", tmp_path / "f", copytool="lsm")], lsm(tmp_path, "exit 0"), max_attempts=1)
    assert outcome.failure and "brought nothing" in outcome.failure.message


def test_a_cancel_ends_a_script_at_once(tmp_path: Path) -> None:
    cancel = Cancel()
    threading.Timer(0.3, cancel.set).start()
    begin = time.monotonic()
    (outcome,) = carry(
        [order("srm://h/f", tmp_path / "o" / "f", copytool="lsm")], lsm(tmp_path, "exec sleep 60"), cancel=cancel
    )
    assert outcome.failure and time.monotonic() - begin < 5


def test_a_script_that_is_not_there_is_named(tmp_path: Path) -> None:
    settings = ToolSettings(environment={"PATH": str(tmp_path)})
    (outcome,) = carry([order("srm://h/f", tmp_path / "f", copytool="lsm")], settings)
    assert outcome.failure and outcome.failure.code == 1342
    assert "lsm-get" in outcome.failure.message


def test_gfal_copy_is_used_where_no_python_has_the_bindings(tmp_path: Path) -> None:
    path = fakes.gfal_programs(tmp_path / "bin", tmp_path / "store")
    settings = ToolSettings(environment={"PATH": path}, options={"gfal": {"how": "program"}})
    data = os.urandom(5000)
    (sent,) = carry([order(content(tmp_path / "f", data), "srm://h/deep/it's f")], settings)
    assert sent.failure is None, sent.failure
    assert (tmp_path / "store" / "deep" / "it's f").read_bytes() == data
    (back,) = carry([order("srm://h/deep/it's f", tmp_path / "b", checksums=adler(data))], settings)
    assert back.failure is None, back.failure
    (missing,) = carry([order("srm://h/nope", tmp_path / "n", direction=Direction.IN)], settings)
    assert missing.failure and missing.failure.code == 1331


def test_a_gfal_copy_that_cannot_be_started_is_no_missing_file(tmp_path: Path) -> None:
    program = content(tmp_path / "bin" / "gfal-copy", b"#!/bin/sh\nexec /no/such/python\n")
    program.chmod(0o755)
    settings = ToolSettings(environment={"PATH": str(tmp_path / "bin")}, options={"gfal": {"how": "program"}})
    (outcome,) = carry([order("srm://h/f", tmp_path / "f", direction=Direction.IN)], settings)
    assert outcome.failure and outcome.failure.code == 1342, outcome.failure


def test_without_gfal_it_says_what_is_missing(tmp_path: Path) -> None:
    (outcome,) = carry([order("srm://h/f", tmp_path / "f")], ToolSettings(environment={"PATH": str(tmp_path)}))
    assert outcome.failure and outcome.failure.code == 1342


def test_a_helper_process_that_dies_or_hangs_fails_its_files_only(tmp_path: Path) -> None:
    with place_for("gfal", tmp_path / "place") as place:
        module = tmp_path / "place" / "lib" / "gfal2.py"
        body = module.read_text()
        place.store("f", b"data")
        module.write_text(body.replace("shutil.copyfile(", "os._exit(3) or shutil.copyfile("))
        (outcome,) = carry([order(place.url("f"), tmp_path / "o" / "f")], place.settings, max_attempts=1)
        assert outcome.failure and "helper process" in outcome.failure.message
        module.write_text("import time\n" + body.replace("shutil.copyfile(", "time.sleep(60) or shutil.copyfile("))
        cancel = Cancel()
        threading.Timer(0.5, cancel.set).start()
        begin = time.monotonic()
        (outcome,) = carry([order(place.url("f"), tmp_path / "o" / "f")], place.settings, cancel=cancel)
        assert outcome.failure and time.monotonic() - begin < 5
        assert os.listdir(tmp_path / "o") == []


def test_a_helper_process_is_kept_for_the_next_files(tmp_path: Path) -> None:
    with place_for("gfal", tmp_path / "place") as place:
        log = tmp_path / "starts"
        module = tmp_path / "place" / "lib" / "gfal2.py"
        module.write_text(f"open({str(log)!r}, 'a').write('x')\n" + module.read_text())
        from tests.copytools.making import transferer

        mover = transferer(place.settings)
        for i in range(3):
            place.store(f"f{i}", b"data")
            (outcome,) = mover.carry_out([order(place.url(f"f{i}"), tmp_path / f"f{i}")], cancel=Cancel())
            assert outcome.failure is None, outcome.failure
        mover.close()
        assert len(log.read_text()) == 2, "once to see whether it imports, once to work"


def test_container_images_are_fetched_as_the_destination_wants_them(tmp_path: Path) -> None:
    path = fakes.images(tmp_path / "bin", tmp_path / "store")
    content(tmp_path / "store" / "team" / "image:1", b"layers")
    ends = [("docker://team/image:1", None), ("docker://hub/team/image:1", "singularity"), ("docker://nope", "docker")]
    ends += [("library://cloud/team/image:1", "singularity"), ("shub://hub/team/image:1", None)]
    entries = [
        {
            "type": "transfer",
            "lfn": f"i{number}",
            "src_urls": [{"site_label": "hub", "url": url, "type": kind}],
            "dest_urls": [{"site_label": "here", "url": f"file://{tmp_path}/o/i{number}", "type": kind}],
        }
        for number, (url, kind) in enumerate(ends)
    ]
    request = read_request(json.dumps(entries).encode(), {}, str(tmp_path))
    outcomes = carry(request.transfers, ToolSettings(environment={"PATH": path}), max_attempts=1)
    tools = [attempt.copytool for outcome in outcomes for attempt in outcome.attempts]
    assert tools == ["dockerimage", "sifimage", "dockerimage", "sifimage", "sifimage"]
    codes = [outcome.failure.code if outcome.failure else None for outcome in outcomes]
    assert codes == [None, None, 1103, None, None], outcomes
    assert sorted(os.listdir(tmp_path / "o")) == ["i0", "i1", "i3", "i4"]
    (outcome,) = carry(request.transfers[:1], ToolSettings(environment={"PATH": str(tmp_path)}), max_attempts=1)
    assert outcome.failure and outcome.failure.code == 1342 and "podman" in outcome.failure.message


@pytest.mark.parametrize(
    ("lfn", "sums", "code", "retry", "said"),
    [
        ("f", adler(b"other"), 1171, False, "Checksum validation failed"),
        ("f", (Checksum("md5", "0" * 32),), 1145, False, "Checksum validation failed"),
        ("unreachable", (), 1099, True, "The door is shut"),
    ],
)
def test_rucio_clients_that_only_say_failed_are_asked_why(
    tmp_path: Path, lfn: str, sums: tuple[Checksum, ...], code: int, retry: bool, said: str
) -> None:
    content(tmp_path / "data" / lfn)
    words = {"PATH": os.environ["PATH"], "PYTHONPATH": fakes.rucio_clients(tmp_path / "lib", tmp_path / "data")}
    wanted = Transfer(
        lfn=lfn,
        scope="test",
        sources=(Endpoint("root://far/f", rse="A"),),
        targets=(Endpoint(str(tmp_path / "o" / "f")),),
        direction=Direction.IN,
        checksums=sums,
        copytool="rucio",
    )
    (outcome,) = carry([wanted], ToolSettings(environment=words), max_attempts=1)
    assert outcome.failure and (outcome.failure.code, outcome.failure.retry) == (code, retry), outcome.failure
    assert said in outcome.failure.message
    assert os.listdir(tmp_path / "o") == []


def test_the_queue_s_next_tool_is_taken_where_one_does_not_work(tmp_path: Path) -> None:
    content(tmp_path / "root" / "f", b"data")
    path = fakes.xrootd(tmp_path / "bin", tmp_path / "root")
    script(tmp_path / "bin" / "lsm-get", 'echo "no context" >&2; exit 1')
    settings = ToolSettings(environment={**os.environ, "PATH": path}, options={"xrootd": {"how": "xrdcp"}})
    wanted = order("root://h//f", tmp_path / "o" / "f", copytool="unheard-of lsm xrdcp", direction=Direction.IN)
    (outcome,) = carry([wanted], settings, max_attempts=1)
    assert outcome.failure is None and (tmp_path / "o" / "f").read_bytes() == b"data"
    assert [attempt.copytool for attempt in outcome.attempts] == ["lsm", "xrootd"]
    missing = order("root://h//gone", tmp_path / "o" / "g", copytool="xrdcp lsm", direction=Direction.IN)
    (outcome,) = carry([missing], settings, max_attempts=1)
    assert outcome.failure and outcome.failure.code == 1331
    assert [attempt.copytool for attempt in outcome.attempts] == ["xrootd"], "no tool finds what is not there"


def test_the_first_tool_s_error_is_told_when_none_works(tmp_path: Path) -> None:
    path = fakes.install(tmp_path / "bin", tmp_path, xrdcp="sys.exit('[FATAL] Auth failed')", xrdfs="sys.exit(1)")
    script(tmp_path / "bin" / "lsm-get", 'echo "connection refused" >&2; exit 1')
    settings = ToolSettings(environment={**os.environ, "PATH": path}, options={"xrootd": {"how": "xrdcp"}})
    wanted = order("root://h//f", tmp_path / "o" / "f", copytool="xrdcp lsm", direction=Direction.IN)
    (outcome,) = carry([wanted], settings, max_attempts=1)
    first, last = outcome.attempts
    assert (first.copytool, last.copytool) == ("xrootd", "lsm") and first.failure and last.failure
    assert outcome.failure and outcome.failure.code == first.failure.code != last.failure.code


def test_a_tool_s_set_up_is_read_once_and_holds_for_its_programs_alone(tmp_path: Path) -> None:
    content(tmp_path / "root" / "f", b"data")
    fakes.xrootd(tmp_path / "hidden", tmp_path / "root")
    setup = tmp_path / "set up.sh"
    setup.write_text(f'echo once >> {tmp_path}/read\nexport PATH="{tmp_path}/hidden:$PATH" SITE_WORD="$1"\n')
    words = {"xrootd": {"how": "xrdcp", "setup": f"'{setup}' word"}}
    mover = transferer(ToolSettings(environment=dict(os.environ), options=words))
    orders = [order("root://h//f", tmp_path / "o" / name, copytool="xrdcp") for name in ("a", "b")]
    for one in orders:
        (outcome,) = mover.carry_out([one], cancel=Cancel())
        assert outcome.failure is None, outcome.failure
    assert (tmp_path / "read").read_text() == "once\n"
    tool: Any = mover.toolbox.tool("xrootd")
    assert tool.settings.environment["SITE_WORD"] == "word"
    other: Any = mover.toolbox.tool("http")
    assert "SITE_WORD" not in other.settings.environment
    mover.close()


def test_a_set_up_that_is_not_there_does_not_keep_a_tool_from_working(tmp_path: Path) -> None:
    content(tmp_path / "root" / "f", b"data")
    path = fakes.xrootd(tmp_path / "bin", tmp_path / "root")
    words = {"xrootd": {"how": "xrdcp", "setup": "/cvmfs/nowhere/setup.sh"}}
    settings = ToolSettings(environment={**os.environ, "PATH": path}, options=words)
    (outcome,) = carry([order("root://h//f", tmp_path / "o" / "f", copytool="xrdcp")], settings)
    assert outcome.failure is None, outcome.failure
