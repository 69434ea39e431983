"""The payload channel with real processes: what workers say arrives, in order, up to the moment they are killed."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from pilot.core.ranges import EventRange
from pilot.lib.loop import Loop
from pilot.runtime.channel import LINE_NAME, ZMQ_NAME, Channel

ROOT = Path(__file__).resolve().parents[2]
WAIT_S = 20.0


class Book:
    """A desk that gives out numbered ranges and writes down what it hears."""

    def __init__(self, ranges: int) -> None:
        self.left = [EventRange(f"1-2-3-{n}-1", "in.root", n, n, path="/in.root") for n in range(ranges)]
        self.heard: list[tuple] = []
        self.gone = threading.Event()
        self.news = threading.Condition()

    def _note(self, *what) -> None:
        with self.news:
            self.heard.append(what)
            self.news.notify_all()

    def wait_for(self, kind: str, count: int = 1) -> list[tuple]:
        with self.news:
            assert self.news.wait_for(lambda: sum(h[0] == kind for h in self.heard) >= count, WAIT_S), self.heard
            return [h for h in self.heard if h[0] == kind]

    def joined(self, peer):
        self._note("joined", peer.number, peer.pid, peer.name)

    def asks(self, peer, count):
        self._note("asks", peer.number, count)
        given, self.left = self.left[:count], self.left[count:]
        if given:
            peer.give(given)
        else:
            peer.no_more()

    def waits(self, peer, open):
        self._note("waits", peer.number, open)

    def done(self, peer, said):
        self._note("done", peer.number, said)

    def failed(self, peer, said):
        self._note("failed", peer.number, said)

    def leaves(self, peer, begun):
        self._note("leaves", peer.number, begun)
        peer.farewell()

    def lost(self, peer, why):
        self._note("lost", peer.number, why)


class Line:
    """A loop in a thread with a channel on it."""

    def __init__(self) -> None:
        self.loop = Loop()
        self.channel = Channel(self.loop)
        self.thread = threading.Thread(target=self.loop.run)
        self.thread.start()

    def call(self, what) -> None:
        done, failed = threading.Event(), []

        def run():
            try:
                what()
            except OSError as error:
                failed.append(error)
            done.set()

        self.loop.post(run)
        assert done.wait(WAIT_S)
        if failed:
            raise failed[0]

    def close(self) -> None:
        self.call(self.channel.stop)
        self.loop.post(self.loop.stop)
        self.thread.join(WAIT_S)
        self.loop.close()


@pytest.fixture
def line():
    line = Line()
    yield line
    line.close()


def worker(directory: Path, code: str, *, path: list[str] | None = None, **more) -> subprocess.Popen:
    env = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), "PILOT_EVENTS": f"ipc://{directory}/{ZMQ_NAME}"}
    return subprocess.Popen([sys.executable, *(path or []), "-c", code], env=env, cwd=directory, **more)


SIMPLE = """
from pilot.events import ranges
for r in ranges(worker="w"):
    if r.start_event == 2:
        r.failed("two is odd")
    else:
        r.done(f"out.{r.id}")
"""


def test_a_worker_asks_works_and_tells_until_there_is_no_more(line, tmp_path):
    book = Book(5)
    line.call(lambda: line.channel.open("k", tmp_path, book))
    child = worker(tmp_path, SIMPLE)
    assert child.wait(WAIT_S) == 0
    book.wait_for("lost")
    (joined,) = book.wait_for("joined")
    assert joined[2:] == (child.pid, "w")
    done = [h[2] for h in book.wait_for("done", 4)]
    assert sorted(d.id for d in done) == [f"1-2-3-{n}-1" for n in (0, 1, 3, 4)]
    assert all(d.path == f"{tmp_path}/out.{d.id}" and d.wall_s > 0 and d.cpu_s >= 0 for d in done)
    assert [h[2].why for h in book.wait_for("failed")] == ["two is odd"]
    assert book.heard[-2:] == [("leaves", 1, ()), ("lost", 1, "its worker left")]


def test_a_payload_without_zeromq_talks_over_the_local_socket(line, tmp_path):
    book = Book(3)
    line.call(lambda: line.channel.open("k", tmp_path, book))
    child = worker(tmp_path, "import sys; sys.modules['zmq'] = None\n" + SIMPLE)
    assert child.wait(WAIT_S) == 0
    assert len(book.wait_for("done", 2)) == 2 and len(book.wait_for("failed")) == 1
    book.wait_for("leaves")


def test_a_path_that_is_too_long_for_a_socket_is_no_obstacle(line, tmp_path):
    deep = tmp_path / ("d" * 100) / ("e" * 100)
    deep.mkdir(parents=True)
    book = Book(2)
    line.call(lambda: line.channel.open("k", deep, book))
    for code in (SIMPLE, "import sys; sys.modules['zmq'] = None\n" + SIMPLE):
        assert worker(deep, code).wait(WAIT_S) == 0
    assert len(book.wait_for("done", 2)) == 2


def test_what_a_worker_said_before_it_was_killed_is_heard_before_its_death(line, tmp_path):
    book = Book(200)
    line.call(lambda: line.channel.open("k", tmp_path, book))
    code = """
import os, signal
from pilot.events import ranges
for n, r in enumerate(ranges()):
    r.done("x")
    if n == 50:
        import time; time.sleep(0.2)
        os.kill(os.getpid(), signal.SIGKILL)
"""
    child = worker(tmp_path, code)
    assert child.wait(WAIT_S) == -signal.SIGKILL
    (lost,) = book.wait_for("lost")
    assert lost[2] == "its worker died"
    assert len(book.wait_for("done", 51)) == 51
    assert book.heard[-1] is lost


def test_the_death_of_a_worker_is_noticed_although_its_child_keeps_the_connection(line, tmp_path):
    book = Book(1)
    line.call(lambda: line.channel.open("k", tmp_path, book))
    code = """
import os, signal, time
from pilot.events import ranges
for r in ranges():
    if os.fork() == 0:
        print(os.getpid(), flush=True)
        time.sleep(60)
        os._exit(0)
    os.kill(os.getpid(), signal.SIGKILL)
"""
    child = worker(tmp_path, code, stdout=subprocess.PIPE, text=True)
    try:
        assert book.wait_for("lost")[0][2] == "its worker died"
    finally:
        child.wait(WAIT_S)
        os.kill(int(child.stdout.readline()), signal.SIGKILL)
        child.stdout.close()


def test_outcomes_may_come_from_other_threads_while_the_worker_waits_and_afterwards(line, tmp_path):
    book = Book(6)
    line.call(lambda: line.channel.open("k", tmp_path, book))
    code = """
from concurrent.futures import ThreadPoolExecutor
import time
from pilot.events import ranges
def work(r):
    time.sleep(0.02 * r.start_event)
    r.done()
with ThreadPoolExecutor(3) as pool:
    for future in [pool.submit(work, r) for r in ranges()]:
        future.result()
"""
    assert worker(tmp_path, code).wait(WAIT_S) == 0
    book.wait_for("lost")
    kinds = [h[0] for h in book.heard]
    assert kinds.count("done") == 6 and "waits" in kinds
    assert kinds[-2:] == ["leaves", "lost"]


def test_a_broken_off_iteration_gives_back_what_it_did_not_begin(line, tmp_path):
    book = Book(40)
    line.call(lambda: line.channel.open("k", tmp_path, book))
    code = """
from pilot.events import ranges
for r in ranges():
    if r.start_event == 12:
        break
    r.done()
"""
    assert worker(tmp_path, code).wait(WAIT_S) == 0
    (left,) = book.wait_for("leaves")
    assert left[2] == ("1-2-3-12-1",)
    assert len(book.wait_for("done", 12)) == 12


def test_a_range_has_one_outcome_only(line, tmp_path):
    book = Book(1)
    line.call(lambda: line.channel.open("k", tmp_path, book))
    code = """
from pilot.events import ranges
for r in ranges():
    r.done()
    try:
        r.failed("no, wait")
    except ValueError as error:
        print(error)
"""
    child = worker(tmp_path, code, stdout=subprocess.PIPE, text=True)
    assert child.communicate(timeout=WAIT_S)[0] == "range 1-2-3-0-1 has had its outcome\n"
    assert [h[0] for h in book.heard].count("done") == 1


def test_a_worker_hears_when_the_pilot_is_gone(line, tmp_path):
    class Silent(Book):
        def asks(self, peer, count):
            self._note("asks", peer.number, count)

    book = Silent(0)
    line.call(lambda: line.channel.open("k", tmp_path, book))
    children = [
        worker(tmp_path, head + SIMPLE, stderr=subprocess.PIPE, text=True)
        for head in ("", "import sys; sys.modules['zmq'] = None\n")
    ]
    book.wait_for("asks", 2)
    line.call(lambda: line.channel.close("k"))
    for child in children:
        assert "PilotGone" in child.communicate(timeout=WAIT_S)[1]
        assert child.returncode == 1
    assert {h[2] for h in book.wait_for("lost", 2)} == {"the channel was closed"}


def test_nonsense_is_refused_and_harms_nobody(line, tmp_path):
    book = Book(1)
    line.call(lambda: line.channel.open("k", tmp_path, book))
    import zmq

    with zmq.Context() as context, context.socket(zmq.DEALER) as socket_:
        socket_.setsockopt(zmq.RCVTIMEO, int(WAIT_S * 1000))
        socket_.setsockopt(zmq.LINGER, 0)
        socket_.connect(f"ipc://{tmp_path}/{ZMQ_NAME}")
        for line_ in (b"\xff\x00{", b'{"type":"ask","count":1}', b'{"type":"dance"}', b"[" * 5000):
            socket_.send(line_)
            answer = json.loads(socket_.recv())
            assert answer["type"] == "refused" and answer["why"]
    assert worker(tmp_path, SIMPLE).wait(WAIT_S) == 0
    assert len(book.wait_for("done")) == 1


@pytest.mark.parametrize("newline", ["\n", ""])
def test_the_classic_text_protocol_is_spoken_over_the_local_socket(line, tmp_path, newline):
    book = Book(2)
    line.call(lambda: line.channel.open("k", tmp_path, book))
    with socket.socket(socket.AF_UNIX) as old:
        old.settimeout(WAIT_S)
        old.connect(str(tmp_path / LINE_NAME))

        def ask() -> str:
            old.sendall(f"Ready for events{newline}".encode())
            answer = old.recv(65536).decode()
            assert answer.endswith(newline)
            return answer.removesuffix(newline)

        (first,) = json.loads(ask())
        assert first == {
            "eventRangeID": "1-2-3-0-1",
            "startEvent": 0,
            "lastEvent": 0,
            "LFN": "in.root",
            "GUID": "",
            "scope": "",
            "PFN": "/in.root",
        }
        old.sendall(f"/a,b:c/out.root,ID:1-2-3-0-1,CPU:1.5,WALL:2{newline}".encode())
        (done,) = book.wait_for("done")
        assert (done[2].path, done[2].id, done[2].cpu_s, done[2].wall_s) == ("/a,b:c/out.root", "1-2-3-0-1", 1.5, 2.0)
        ask()
        old.sendall(f"ERR_TE_FATAL 1-2-3-1-1: no such token: 7{newline}".encode())
        (failed,) = book.wait_for("failed")
        assert (failed[2].id, failed[2].fatal) == ("1-2-3-1-1", True)
        assert "no such token: 7" in failed[2].why
        assert ask() == "No more events"
    assert book.wait_for("lost")[0][2] == "its worker died"
