"""The client against a real HTTP server that does everything wrong that a server can do."""

from __future__ import annotations

import gzip
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from pilot.core.errors import CommunicationFailure, NoProxy, PilotError, RequestRefused
from pilot.core.update import JobUpdate, Node, State
from pilot.plugins.sources.base import Capacity
from pilot.plugins.sources.panda import PandaSource
from pilot.plugins.sources.panda_settings import DialectName, PandaSettings
from tests.panda_script import PandaScript
from tests.scripted_server import Server

JOB = {"PandaID": 101, "attemptNr": 1}
ACQUIRE, UPDATE = "/api/v1/pilot/acquire_jobs", "/api/v1/pilot/update_job"


def update(number: int = 101, state: State = State.RUNNING) -> JobUpdate:
    return JobUpdate(number, 1, state, 1.0)


@pytest.fixture
def script() -> Iterator[PandaScript]:
    """A v1 server with one job."""
    made = PandaScript("v1", [JOB])
    server = Server(made)
    yield made
    server.close()


def source(script: PandaScript, **more: object) -> PandaSource:
    settings = {"url": script.url, "queue": "Q", "node": Node(host="h", queue="Q"), "answer_s": 5.0, **more}
    return PandaSource(PandaSettings(**settings))  # type: ignore[arg-type]


def test_the_dialect_is_probed_once_and_the_connection_is_kept(script: PandaScript) -> None:
    panda = source(script)
    for _ in range(3):
        panda.acquire(Capacity(jobs=1))
    assert script.paths() == ["/api/v1/system/is_alive", ACQUIRE, ACQUIRE, ACQUIRE]
    assert len({request.client for request in script.asked}) == 1
    panda.close()


def test_a_forced_dialect_is_not_probed(script: PandaScript) -> None:
    panda = source(script, dialect=DialectName.V1)
    panda.acquire(Capacity(jobs=1))
    assert script.paths() == [ACQUIRE]
    panda.close()


def test_a_server_that_speaks_neither_dialect_is_told_so_and_probed_again() -> None:
    script = PandaScript("v1", [JOB])
    routes, script.routes = script.routes, {}
    server = Server(script)
    panda = source(script)
    with pytest.raises(CommunicationFailure, match="no PanDA server in working order") as caught:
        panda.acquire(Capacity(jobs=1))
    assert caught.value.retry
    script.routes = routes
    assert len(panda.acquire(Capacity(jobs=1)).jobs) == 1
    panda.close()
    server.close()


def test_asking_and_telling_go_on_at_the_same_time(script: PandaScript) -> None:
    entered, let_go = threading.Event(), threading.Event()
    slow = script.routes[ACQUIRE]

    def acquire(asked: object) -> object:
        entered.set()
        let_go.wait(10)
        return slow(asked)  # type: ignore[arg-type]

    script.routes[ACQUIRE] = acquire
    panda = source(script)
    thread = threading.Thread(target=panda.acquire, args=(Capacity(jobs=1),))
    thread.start()
    assert entered.wait(10)
    assert panda.report([update()])[0].accepted
    let_go.set()
    thread.join(10)
    panda.close()


FAULTS = [
    (500, "exception"),
    (503, "busy"),
    (200, "<html>garbage</html>"),
    (200, '{"success": true, "da'),
    (200, b"\x00\xff\xfe"),
    (301, ""),
]


@pytest.mark.parametrize("fault", FAULTS, ids=[f"{status}-{str(text)[:8]}" for status, text in FAULTS])
def test_a_broken_answer_is_worth_a_retry_and_the_next_good_one_is_taken(
    script: PandaScript, fault: tuple[int, object]
) -> None:
    panda = source(script, dialect=DialectName.V1)
    good = dict(script.routes)
    script.routes[ACQUIRE] = script.routes[UPDATE] = lambda asked: fault
    for act in (lambda: panda.acquire(Capacity(jobs=1)), lambda: panda.report([update()])):
        with pytest.raises(PilotError) as caught:
            act()
        assert caught.value.code == 1318 and caught.value.retry
    script.routes = good
    assert len(panda.acquire(Capacity(jobs=1)).jobs) == 1
    assert panda.report([update()])[0].accepted
    panda.close()


RAW = [
    b'HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n{"success"',
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nff\r\nabc",
    b"not HTTP at all\r\n\r\n",
    b"",
]


@pytest.mark.parametrize("raw", RAW)
def test_a_connection_that_breaks_is_replaced(script: PandaScript, raw: bytes) -> None:
    panda = source(script, dialect=DialectName.V1)
    script.raw.append(raw)
    with pytest.raises(CommunicationFailure):
        panda.acquire(Capacity(jobs=1))
    assert len(panda.acquire(Capacity(jobs=1)).jobs) == 1
    panda.close()


def test_no_server_at_all_is_a_communication_failure_without_the_secrets_in_the_url() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
    panda = PandaSource(PandaSettings(url=f"http://user:pass-word@127.0.0.1:{port}", queue="Q"))
    with pytest.raises(CommunicationFailure) as caught:
        panda.acquire(Capacity(jobs=1))
    assert caught.value.retry and "pass-word" not in str(caught.value) and str(port) in str(caught.value)
    panda.close()


def test_a_server_that_never_answers_is_given_up() -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        panda = PandaSource(PandaSettings(url=url, queue="Q", answer_s=0.2, dialect=DialectName.V1))
        with pytest.raises(CommunicationFailure):
            panda.acquire(Capacity(jobs=1))
        panda.close()


def test_a_refused_request_for_jobs_ends_the_asking_but_a_refused_report_is_kept(script: PandaScript) -> None:
    script.routes[ACQUIRE] = script.routes[UPDATE] = lambda asked: (403, "token expired")
    panda = source(script)
    with pytest.raises(RequestRefused, match="token expired"):
        panda.acquire(Capacity(jobs=1))
    (answer,) = panda.report([update()])
    assert (answer.accepted, answer.retry) == (False, True) and "token expired" in answer.why
    panda.close()


def test_several_updates_are_one_request_and_one_bad_one_does_not_stop_the_others(script: PandaScript) -> None:
    panda = source(script)
    assert [a.accepted for a in panda.report([update(1), update(2), update(3)])] == [True] * 3
    assert script.paths().count("/api/v1/pilot/update_jobs_bulk") == 1
    bulk = "/api/v1/pilot/update_jobs_bulk"
    script.routes[bulk] = lambda asked: {"success": False, "message": "failed with TypeError", "data": []}
    single = script.routes[UPDATE]

    def one(asked):  # type: ignore[no-untyped-def]
        bad = asked.json()["job_id"] == 2
        return {"success": False, "message": "Type error: x", "data": None} if bad else single(asked)

    script.routes[UPDATE] = one
    assert [a.accepted for a in panda.report([update(1), update(2), update(3)])] == [True, False, True]
    panda.close()


def test_a_long_list_of_updates_goes_in_pieces(script: PandaScript) -> None:
    panda = source(script, bulk=2)
    assert len(panda.report([update(n) for n in range(1, 6)])) == 5
    assert [u["job_id"] for u in script.updates] == [1, 2, 3, 4, 5]
    panda.close()


def test_a_token_is_sent_with_its_origin_and_read_again_when_it_was_renewed(
    script: PandaScript, tmp_path: Path
) -> None:
    token = tmp_path / "token"
    token.write_text("first-token\n")
    panda = source(script, token_file=str(token), origin="vo.example:pilot")
    panda.acquire(Capacity(jobs=1))
    assert script.asked[-1].headers["authorization"] == "Bearer first-token"
    assert script.asked[-1].headers["origin"] == "vo.example:pilot"
    token.unlink()
    token.write_text("second-token")
    panda.acquire(Capacity(jobs=1))
    assert script.asked[-1].headers["authorization"] == "Bearer second-token"
    panda.close()


@pytest.mark.parametrize("content", [None, "", "two words", "bad\nlines"])
def test_a_token_file_that_is_none_is_named_and_its_content_is_not(
    script: PandaScript, tmp_path: Path, content: str | None
) -> None:
    token = tmp_path / "token"
    if content is not None:
        token.write_text(content)
    panda = source(script, token_file=str(token))
    with pytest.raises(NoProxy) as caught:
        panda.acquire(Capacity(jobs=1))
    assert str(token) in str(caught.value) and "words" not in str(caught.value)
    panda.close()


def test_a_door_that_is_shut_is_no_server_that_is_down() -> None:
    script = PandaScript("v1", [JOB])
    for path in ("/api/v1/system/is_alive", "/server/panda/isAlive"):
        script.routes[path] = lambda asked: (403, "ERROR : Token authentication failed")
    server = Server(script)
    panda = source(script)
    with pytest.raises(RequestRefused, match="Token authentication failed"):
        panda.acquire(Capacity(jobs=1))
    (answer,) = panda.report([update()])
    assert (answer.accepted, answer.retry) == (False, True)
    panda.close()
    server.close()


def test_a_server_to_which_v1_is_a_forbidden_method_speaks_the_classic_dialect() -> None:
    script = PandaScript("classic", [JOB])
    script.routes["/api/v1/system/is_alive"] = lambda asked: (403, "ERROR : method is_alive is forbidden")
    server = Server(script)
    panda = source(script)
    assert len(panda.acquire(Capacity(jobs=1)).jobs) == 1
    panda.close()
    server.close()


def test_a_connection_that_the_server_closed_meanwhile_costs_no_request(script: PandaScript) -> None:
    panda = source(script, dialect=DialectName.V1)
    nothing = b'{"success": false, "message": "No jobs in PanDA", "data": null}'
    script.raw.append(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(nothing), nothing))
    assert panda.acquire(Capacity(jobs=1)).jobs == ()
    time.sleep(0.05)
    assert len(panda.acquire(Capacity(jobs=1)).jobs) == 1
    panda.close()


def test_a_web_proxy_is_gone_through(script: PandaScript) -> None:
    panda = PandaSource(PandaSettings(url="http://panda.invalid:25080", queue="Q", via=script.url, answer_s=5.0))
    assert len(panda.acquire(Capacity(jobs=1)).jobs) == 1
    assert script.asked[-1].headers["host"] == "panda.invalid:25080"
    panda.close()


def test_a_compressed_answer_is_read(script: PandaScript) -> None:
    panda = source(script, dialect=DialectName.V1)
    text = gzip.compress(b'{"success": true, "message": "", "data": {"StatusCode": 0, "jobs": [{"PandaID": 5}]}}')
    head = b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % len(text)
    script.raw += [head + text, head + b"x" * len(text)]
    assert len(panda.acquire(Capacity(jobs=1)).jobs) == 1
    with pytest.raises(CommunicationFailure):
        panda.acquire(Capacity(jobs=1))
    panda.close()


@pytest.mark.parametrize("url", ["ftp://h:1", "http://:1", "nonsense://x:1"])
def test_an_address_of_no_web_server_is_told(url: str) -> None:
    panda = PandaSource(PandaSettings(url=url, queue="Q", dialect=DialectName.V1))
    with pytest.raises(CommunicationFailure, match="no address"):
        panda.acquire(Capacity(jobs=1))
    panda.close()
