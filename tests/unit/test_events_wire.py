"""The messages of the payload channel: as their schema says, and the old texts however they are cut."""

from __future__ import annotations

import json
from pathlib import Path

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pilot.core.errors import MessageHandlingFailure
from pilot.core.ranges import EventRange
from pilot.runtime import eventtext
from pilot.runtime.eventwire import Ask, Bye, Done, Failed, Hello, Waiting, parse, ranges_line, word_line

SCHEMA = json.loads((Path(__file__).resolve().parents[2] / "configs/schema/events.json").read_text())
RANGE_ID = "40-70-9-1-1"


def check(line: bytes, side: str) -> None:
    jsonschema.validate(json.loads(line), {**SCHEMA, "oneOf": [{"$ref": f"#/$defs/{side}"}]})


def test_the_schema_is_one():
    jsonschema.Draft202012Validator.check_schema(SCHEMA)


@pytest.mark.parametrize(
    "line",
    [
        ranges_line([EventRange("1-2-3-4-5", "a", 1, 2), EventRange("b", "b", 1, 2, "g", "s", "/p", {"hp_point": 1})]),
        word_line("welcome", version=1, worker=3),
        word_line("no_more"),
        word_line("refused", id="", why="x"),
        word_line("farewell"),
    ],
)
def test_what_the_pilot_says_is_in_the_schema(line):
    assert line.endswith(b"\n") and line.count(b"\n") == 1
    check(line, "pilot")


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (b'{"type":"hello","version":1,"pid":7,"worker":"w"}', Hello(1, 7, "w")),
        (b'{"type":"ask"}', Ask(1)),
        (b'{"type":"ask","count":5}', Ask(5)),
        (b'{"type":"waiting","open":2}', Waiting(2)),
        (b'{"type":"done","id":"a","path":"/x","cpu_s":0.5,"wall_s":1}', Done("a", "/x", 0.5, 1.0)),
        (b'{"type":"done","id":"a","loss":-0.5}', Done("a", loss=-0.5)),
        (b'{"type":"failed","id":"a","why":"w","fatal":true}', Failed("a", "w", True)),
        (b'{"type":"bye","begun":["a"]}', Bye(("a",))),
    ],
)
def test_what_workers_say_is_understood_and_in_the_schema(line, message):
    assert parse(line) == message
    check(line, "worker")


@given(st.binary(max_size=60))
def test_any_line_is_understood_or_refused(line):
    try:
        parse(line)
    except MessageHandlingFailure as error:
        assert str(error)


PATHS = st.text(
    st.characters(codec="utf-8", exclude_characters="\n\r", exclude_categories=["Cs", "Cc", "Z"]), min_size=1
)


@given(PATHS, st.floats(0, 1e6), st.floats(0, 1e6))
def test_an_old_outcome_is_split_whatever_its_path_holds(path, cpu, wall):
    text = f"/{path},ID:{RANGE_ID},CPU:{cpu},WALL:{wall}"
    assert eventtext.parse(text) == Done(RANGE_ID, f"/{path}", cpu, wall)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("Ready for events", Ask(1)),
        ("Ready for events\x00\n".replace("\x00", ""), Ask(1)),
        ("/out,WALL:3,CPU:2,id:1-1-1-1-1", Done("1-1-1-1-1", "/out", 2.0, 3.0)),
        ("/out,ID:x", Done("x", "/out")),
        ("/out,ID:x,CPU:,WALL:soon", Done("x", "/out")),
        (f"ERR_TE_RANGE {RANGE_ID}: bad token: 3", Failed(RANGE_ID, "ERR_TE_RANGE: bad token: 3")),
        (
            f"ERR_ATHENAMP_PARSE {{'eventRangeID': '{RANGE_ID}', 'LFN': 'a:b'}}: Unable to parse",
            Failed(RANGE_ID, "ERR_ATHENAMP_PARSE: b'}: Unable to parse"),
        ),
    ],
)
def test_old_texts_are_understood(text, message):
    found = eventtext.parse(text)
    if isinstance(message, Failed):
        assert (found.id, found.fatal) == (message.id, message.fatal) and found.why.startswith(
            message.why.split(":")[0]
        )
    else:
        assert found == message


@pytest.mark.parametrize("text", ["", "hello", "/out,CPU:1,WALL:2", "ERR_X", "/a,b,c"])
def test_other_texts_are_refused(text):
    with pytest.raises(MessageHandlingFailure):
        eventtext.parse(text)


@pytest.mark.parametrize(
    "parts",
    [
        ["Ready for events"],
        ["Ready for events", "Ready for events"],
        [f"/a/b.root,ID:{RANGE_ID},CPU:1,WALL:2", "Ready for events"],
        [f"/a/b.root,ID:{RANGE_ID},CPU:1,WALL:2", f"/a/c.root,ID:{RANGE_ID},CPU:1,WALL:2"],
        [f"ERR_TE_RANGE {RANGE_ID}: no: why", "Ready for events"],
    ],
)
def test_old_texts_that_arrive_in_one_piece_are_taken_apart(parts):
    assert eventtext.split("".join(parts)) == parts
