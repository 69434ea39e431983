"""Inputs of event ranges come while others are worked through: whole files, or just the bytes that are needed."""

from __future__ import annotations

import re
import shlex
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from pilot.core.ranges import EventRange, RangeStatus
from pilot.plugins.sources.dummy import DummySource
from pilot.plugins.sources.dummy_events import DummyEvents
from tests.bench import Bench, shell_job

RECORD = 1000


class Files(ThreadingHTTPServer):
    """Gives files, whole or in parts, and writes down what was asked for."""

    daemon_threads = True

    def __init__(self, files: dict[str, bytes]) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.files, self.asked, self.refusal = files, [], 0
        self.thread = threading.Thread(target=self.serve_forever)
        self.thread.start()

    def url(self, name: str) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/{name}"

    def close(self) -> None:
        self.shutdown()
        self.server_close()
        self.thread.join(10)


class Handler(BaseHTTPRequestHandler):
    server: Files
    protocol_version = "HTTP/1.1"

    def do_HEAD(self) -> None:
        self.answer(body=False)

    def do_GET(self) -> None:
        self.answer(body=True)

    def answer(self, body: bool) -> None:
        data = self.server.files.get(self.path[1:])
        wish = re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers.get("Range", ""))
        if wish and self.server.refusal and "identity" in self.headers.get("Accept-Encoding", "") and body:
            self.server.asked.append((self.path[1:], "refused"))
            if self.server.refusal != 200:
                self.reply(self.server.refusal, b"", {})
                return
            wish = None
        if data is None:
            self.reply(404, b"", {})
            return
        if body:
            self.server.asked.append((self.path[1:], wish[0] if wish else "whole"))
        if wish:
            first, last = int(wish[1]), min(int(wish[2]), len(data) - 1)
            part = data[first : last + 1]
            self.reply(206, part if body else b"", {"Content-Range": f"bytes {first}-{last}/{len(data)}"}, len(part))
        else:
            self.reply(200, data if body else b"", {"Accept-Ranges": "bytes"}, len(data))

    def reply(self, status: int, body: bytes, headers: dict, length: int | None = None) -> None:
        self.send_response(status)
        for key, value in {"Content-Length": str(len(body) if length is None else length), **headers}.items():
            self.send_header(key, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *words: object) -> None:
        pass


@pytest.fixture
def server():
    # a record an event: its number, eight digits, again and again
    files = {name: b"".join(b"%08d" % n * (RECORD // 8) for n in range(60)) for name in ("a.bin", "b.bin")}
    server = Files(files)
    yield server
    server.close()


CODE = """
from pilot.events import ranges
for r in ranges():
    with open(r.path, "rb") as file:
        for event in range(r.start_event, r.last_event + 1):
            file.seek((event - 1) * 1000)
            assert file.read(1000) == b"%08d" % (event - 1) * 125, (r.id, event)
    r.done()
"""


def run(tmp_path, server, events: DummyEvents, names: list[str], **more) -> Bench:
    job = shell_job(1, f"exec {shlex.quote(sys.executable)} -c {shlex.quote(CODE)}", eventService="True", **more)
    job |= {
        "inFiles": ",".join(names),
        "scopeIn": ",".join("test" for _ in names),
        "inFilePaths": ",".join(server.url(name) for name in names),
        "fsize": ",".join(str(60 * RECORD) for _ in names),
        "usePrefetcher": "True",
    }
    source = DummySource([job])
    source.events = events
    bench = Bench(tmp_path, source)
    assert bench.run(patience_s=40) == 0
    return bench


def ranges(name: str, parts: bool) -> list[EventRange]:
    return [
        EventRange(
            f"9-1-{name}-{first}-1",
            name,
            first,
            first + 9,
            extra={"byteRanges": [[(first - 1) * RECORD, 10 * RECORD]]} if parts else {},
        )
        for first in range(1, 61, 10)
    ]


def given(*lists: list[EventRange]) -> DummyEvents:
    events = DummyEvents(events=0)
    events.ranges = [item for items in lists for item in items]
    events.ready.extend(events.ranges)
    return events


def test_inputs_are_fetched_when_they_are_needed_and_never_staged_in(tmp_path, server):
    events = given(ranges("a.bin", False), ranges("b.bin", False))
    bench = run(tmp_path, server, events, ["a.bin", "b.bin"])
    assert len(events.finished) == 12 and bench.final(1).error is None
    assert [ask for ask in server.asked if ask[1] == "whole"] == [("a.bin", "whole"), ("b.bin", "whole")]
    assert not (bench.directory(1) / "a.bin").exists()


def test_only_the_bytes_that_ranges_need_are_fetched(tmp_path, server):
    some = ranges("a.bin", True)[1:3]
    events = given(some)
    run(tmp_path, server, events, ["a.bin"])
    assert len(events.finished) == 2
    assert server.asked and all(what != "whole" for _, what in server.asked)
    fetched = {n for _, what in server.asked for n in range(*span(what))}
    assert fetched == set(range(10 * RECORD, 30 * RECORD))


def span(what: str) -> tuple[int, int]:
    first, last = map(int, what.removeprefix("bytes=").split("-"))
    return first, last + 1


def test_ranges_of_an_input_that_cannot_be_had_fail_and_others_do_not(tmp_path, server):
    del server.files["b.bin"]
    events = given(ranges("b.bin", False)[:2], ranges("a.bin", False))
    bench = run(tmp_path, server, events, ["a.bin", "b.bin"])
    assert len(events.finished) == 6 and bench.final(1).events == 60
    failed = [update for update in events.told.values() if update.status is RangeStatus.FAILED]
    assert len(failed) == 2 and "input cannot be had" in failed[0].error_text


def test_a_range_that_needs_all_of_a_file_does_not_get_parts_of_it(tmp_path, server):
    """Its file is here already, in parts that others needed: what is not here would be read as zeros."""
    mixed = ranges("a.bin", True)[:2] + ranges("a.bin", False)[2:]
    events = given(mixed)
    bench = run(tmp_path, server, events, ["a.bin"])
    assert len(events.finished) == 6 and bench.final(1).error is None
    assert ("a.bin", "whole") in server.asked and server.asked[0][1] != "whole"


BOUNDED = (
    CODE.replace(
        "    r.done()",
        "    print('held', os.stat(r.path).st_blocks * 512, os.stat(r.path).st_size, flush=True)\n    r.done()",
    )
    .replace("(event - 1) * 1000", "(event - 1) * 100000")
    .replace("read(1000)", "read(100000)")
    .replace("* 125", "* 12500")
)


def test_the_parts_of_a_large_file_never_take_more_room_than_the_cache_has(tmp_path, server):
    server.files["large.bin"] = b"".join(b"%08d" % n * 12500 for n in range(60))
    parts = [
        EventRange(f"9-1-1-{n + 1}-1", "large.bin", n + 1, n + 1, extra={"byteRanges": [[n * 100_000, 100_000]]})
        for n in range(60)
    ]
    events = given(parts)
    job = shell_job(
        1, f"exec {shlex.quote(sys.executable)} -c {shlex.quote('import os' + BOUNDED)}", eventService="True"
    )
    job |= {
        "inFiles": "large.bin", "scopeIn": "test", "inFilePaths": server.url("large.bin"), "fsize": "6000000",
        "usePrefetcher": "True", "maxDiskCount": "2",
    }  # fmt: skip
    source = DummySource([job])
    source.events = events
    bench = Bench(tmp_path, source)
    assert bench.run(patience_s=60, cleanup="none") == 0
    assert len(events.finished) == 60
    held = [line.split() for line in (bench.directory(1) / "payload.stdout").read_text().splitlines()]
    assert {int(words[2]) for words in held} == {6_000_000}
    assert max(int(words[1]) for words in held) <= 1_000_000 + 2 * 4096 * 15


@pytest.mark.parametrize("refusal", [200, 302, 403, 503])
def test_where_parts_cannot_be_had_all_of_the_file_is_fetched(tmp_path, server, refusal):
    """A server that does not know ranges, sends elsewhere, or wants a credential that only the copy tools have."""
    server.refusal = refusal
    events = given(ranges("a.bin", True))
    bench = run(tmp_path, server, events, ["a.bin"])
    assert len(events.finished) == 6 and bench.final(1).error is None
    assert ("a.bin", "refused") in server.asked
