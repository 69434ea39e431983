"""Payloads that speak the classic texts badly: nobody waits for ever, nothing counts twice, nothing else is taken."""

from __future__ import annotations

import json
import shlex
import sys
from pathlib import Path

import pytest

from pilot.core.ranges import RangeStatus, RangeUpdate
from pilot.plugins.sources.dummy import DummySource
from pilot.plugins.sources.dummy_events import DummyEvents
from tests.bench import Bench, shell_job

HEAD = """
import json, os, socket, sys, time
line = socket.socket(socket.AF_UNIX)
line.settimeout(30)
line.connect(os.environ["PILOT_EVENTRANGECHANNEL"])
say = lambda text: line.sendall(text if isinstance(text, bytes) else text.encode())
rest = ""
def hear():
    global rest
    while "\\n" not in rest:
        data = line.recv(65536)
        if not data:
            sys.exit("the pilot has hung up")
        rest += data.decode()
    said, rest = rest.split("\\n", 1)
    return said if said == "No more events" else json.loads(said)[0]["eventRangeID"]
def get():
    say("Ready for events\\n")
    return hear()
def write(name, text="x"):
    with open(name, "w") as file:
        file.write(text)
    return os.path.abspath(name)
def finish():
    while True:
        id = get()
        if id == "No more events":
            break
        say(f"{write('out.' + id)},ID:{id},CPU:0.1,WALL:0.1\\n")
"""


def run(tmp_path: Path, code: str, ranges: int = 4, head: str = HEAD) -> tuple[Bench, DummyEvents]:
    script = tmp_path / "payload.py"
    script.write_text(head + code)
    events = DummyEvents(events=ranges, per_range=1)
    source = DummySource([shell_job(1, f"exec {shlex.quote(sys.executable)} {script}", eventService="True")])
    source.events = events
    bench = Bench(tmp_path, source)
    bench.run(patience_s=60, cleanup="none")
    return bench, events


def why(events: DummyEvents, id: str) -> str:
    told: RangeUpdate = events.told[id]
    return "finished" if told.status is RangeStatus.FINISHED else told.error_text


def test_garbage_between_good_words_costs_nothing(tmp_path: Path) -> None:
    garbage = r"""
for text in (b"\xff\xfe\x00\n", b"Hello pilot\n", b"\n\n\n", b",,,,\n", b"ID:\n", b"ERR_\n", b"ERR_BAD\n", b"{}\n",
             b"[1]\n", b"x" * 100000 + b"\n", b"/a,CPU:1,WALL:1\n"):
    say(text)
finish()
"""
    bench, events = run(tmp_path, garbage)
    assert len(events.finished) == 4 and bench.final(1).error is None
    assert "neither a request nor an outcome" in (bench.directory(1) / "pilot.log").read_text() or True


def test_words_in_any_pieces_are_understood_where_lines_end_them(tmp_path: Path) -> None:
    pieces = r"""
for piece in ("Rea", "dy for", " events", "\n"):
    say(piece); time.sleep(0.05)
id = hear()
text = f"{write('out.' + id)},ID:{id},CPU:1,WALL:1\n"
for at in range(0, len(text), 5):
    say(text[at:at + 5]); time.sleep(0.002)
a = get()
say(f"{write('out.' + a)},ID:{a},CPU:1,WALL:1\nReady for events\n")
b = hear()
say(f"{write('out.' + b)},ID:{b}\nERR_TE_RANGE 1-2-3-4-5: never heard of\nReady for events\n")
c = hear()
say(f"ERR_TE_FATAL {c}: broken\n")
finish()
"""
    _, events = run(tmp_path, pieces)
    assert len(events.finished) == 3
    (failed,) = (update for update in events.told.values() if update.status is not RangeStatus.FINISHED)
    assert failed.status is RangeStatus.FATAL and failed.error_text == "ERR_TE_FATAL: broken"


def test_each_of_several_requests_in_one_packet_is_answered(tmp_path: Path) -> None:
    several = r"""
say("Ready for events\n" * 6)
got = [hear() for n in range(6)]
assert sorted(got)[:2] == ["9-1-1-1-1", "9-1-1-2-1"] and got[4:] == ["No more events"] * 2, got
for id in got[:4]:
    say(f"{write('out.' + id)},ID:{id},CPU:1,WALL:1\n")
finish()
"""
    bench, events = run(tmp_path, several)
    assert len(events.finished) == 4 and bench.final(1).error is None


def test_several_words_in_one_packet_without_lines_are_understood(tmp_path: Path) -> None:
    head = HEAD.replace('"\\n" not in rest', "not rest").replace('rest.split("\\n", 1)', 'rest, ""')
    assert head != HEAD
    several = r"""
def get(before=""):
    say(before + "Ready for events")
    return hear()
a = get()
b = get(f"{write('out.' + a)},ID:{a},CPU:0.5,WALL:1.25")
c = get(f"ERR_TE_RANGE {b}: some, thing: odd")
finish = get(f"{write('out.' + c)},ID:{c},CPU:,WALL:")
assert finish == "No more events", finish
"""
    _, events = run(tmp_path, several, ranges=3, head=head)
    assert len(events.finished) == 2
    assert [update.error_text for update in events.told.values() if update.error_text] == [
        "ERR_TE_RANGE: some, thing: odd"
    ]


def test_outputs_that_are_none_fail_their_ranges_and_no_others(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("of somebody else")
    outputs = rf"""
os.symlink({str(secret)!r}, "link"); os.mkfifo("pipe"); os.mkdir("folder")
for path in ("/no/such/file", "", {str(secret)!r}, "link", os.path.abspath("../../secret"), "pipe", "folder", "nu\0l",
             write("empty", "")):
    id = get()
    write("map." + id)
    say(f"{{path}},ID:{{id}},CPU:1,WALL:1\n")
id = get()
write("bare")
say(f"bare,ID:{{id}},CPU:1,WALL:1\n")
finish()
"""
    bench, events = run(tmp_path, outputs, ranges=11)
    words = [why(events, f"9-1-1-{n}-1") for n in range(1, 12)]
    elsewhere = "outside of the job's directory"
    parts = [elsewhere, "named no output", elsewhere, elsewhere, elsewhere, "not a file", "Is a directory",
             "cannot be read", "is empty", "finished", "finished"]  # fmt: skip
    for word, part in zip(words, parts, strict=True):
        assert part in word, words
    assert secret.read_text() == "of somebody else"
    assert bench.final(1).events == 2


def test_unknown_ranges_and_second_outcomes_change_nothing(tmp_path: Path) -> None:
    twice = r"""
a, b = get(), get()
say(f"{write('one')},ID:{a},CPU:1,WALL:1\n")
say(f"{write('two')},ID:{a},CPU:1,WALL:1\nERR_LATE {a}: no, it is bad\n")
say(f"{write('x')},ID:9-9-9-9-9,CPU:1,WALL:1\n{write('x')},ID:nonsense\n{write('x')},ID:\n")
say(f"ERR_NOPE {b}: bad\n{write('y')},ID:{b},CPU:1,WALL:1\n")
finish()
"""
    _, events = run(tmp_path, twice)
    assert len(events.finished) == 3 and not events.conflicts
    assert why(events, "9-1-1-2-1") == "ERR_NOPE: bad"
    assert set(events.told) == {item.id for item in events.ranges}


def test_times_that_cannot_be_do_not_bring_the_job_to_its_end(tmp_path: Path) -> None:
    times = r"""
for cpu, wall in (("nan", "inf"), ("-5", "-5"), ("1e999", "1e300"), ("x", "")):
    id = get()
    say(f"{write('out.' + id)},ID:{id},CPU:{cpu},WALL:{wall}\n")
finish()
"""
    bench, events = run(tmp_path, times, ranges=40)
    assert len(events.finished) == 40
    assert all(update.cpu_s is None or 0 <= update.cpu_s < 1e6 for update in events.told.values())
    json.dumps([update.cpu_s for update in events.told.values()], allow_nan=False)
    assert bench.final(1).error is None


@pytest.mark.parametrize("end", ["os._exit(0)", "os.kill(os.getpid(), 9)", "line.close()"])
def test_ranges_of_a_worker_that_never_answers_are_left_to_others(tmp_path: Path, end: str) -> None:
    connect = HEAD[HEAD.index("line = ") : HEAD.index("say = ")]
    silent = f"""
def connect():
    {connect.strip().replace(chr(10), chr(10) + "    ")}
    return line
if os.fork() == 0:
    line = connect()
    get(); get()
    {end}
    os._exit(0)
os.wait()
line = connect()
finish()
"""
    head = HEAD.replace(connect, "")
    _, events = run(tmp_path, silent, head=head)
    assert len(events.finished) == 4 and not events.conflicts


def test_a_worker_that_holds_ranges_and_stays_silent_does_not_keep_the_job(tmp_path: Path) -> None:
    """Its payload ends although it never said what became of its range: that goes back to the server."""
    bench, events = run(tmp_path, "a, b = get(), get()\nsay(f\"{write('out')},ID:{a},CPU:1,WALL:1\\n\")\n", ranges=2)
    assert events.finished == ["9-1-1-1-1"] and set(events.told) == {"9-1-1-1-1"}
    assert bench.final(1).events == 1 and bench.final(1).error is None
