import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from pilot.core.staging import ToolSettings
from pilot.core.transfer import Direction, Endpoint, Transfer
from pilot.lib.cancel import Cancel
from tests.copytools.liar import lying, reply
from tests.copytools.making import adler, carry, content, order, transferer
from tests.copytools.webserver import WebServer, serving, until

DATA = bytes(range(256)) * 1000


@pytest.fixture
def web(tmp_path: Path) -> Iterator[WebServer]:
    with serving(tmp_path / "web") as server:
        (server.root / "file").write_bytes(DATA)
        yield server


def fetch(web: WebServer, path: str, target: Path, *, tools: ToolSettings | None = None, cancel=None, **more):
    settings = {k: more.pop(k) for k in ("max_attempts", "stall_s", "base_limit_s") if k in more}
    (outcome,) = carry(
        [order(web.url + path, target, direction=Direction.IN, **more)], tools, cancel=cancel, **settings
    )
    left = os.listdir(target.parent) if target.parent.exists() else []
    assert left == ([target.name] if outcome.failure is None else []), "a part was left, or a failed file"
    return outcome


def test_many_files_come_over_one_connection(web: WebServer, tmp_path: Path) -> None:
    for i in range(12):
        (web.root / f"f{i}").write_bytes(b"%d" % i * 100)
    mover = transferer()
    orders = [order(f"{web.url}/f{i}", tmp_path / "o" / f"f{i}") for i in range(12)]
    assert not [o for o in mover.carry_out(orders, cancel=Cancel()) if o.failure]
    assert not [o for o in mover.carry_out(orders, cancel=Cancel()) if o.failure]
    mover.close()
    assert web.connections == 1
    assert (tmp_path / "o" / "f11").read_bytes() == b"11" * 100


def test_a_missing_file_is_permanent_and_keeps_the_connection_for_the_rest(web: WebServer, tmp_path: Path) -> None:
    mover = transferer(max_attempts=3)
    orders = [order(f"{web.url}/nope", tmp_path / "nope"), order(f"{web.url}/file", tmp_path / "file")]
    missing, good = mover.carry_out(orders, cancel=Cancel())
    mover.close()
    assert missing.failure and missing.failure.code == 1103
    assert len(missing.attempts) == 1
    assert good.failure is None
    assert web.connections == 1


def test_a_file_cut_in_the_middle_is_resumed_where_it_ended(web: WebServer, tmp_path: Path) -> None:
    outcome = fetch(web, "/short-once/file", tmp_path / "o" / "file", size=len(DATA), checksums=adler(DATA))
    assert outcome.failure is None
    assert web.count["range"] == 1
    assert (tmp_path / "o" / "file").read_bytes() == DATA
    assert outcome.checksums["adler32"] == adler(DATA)[0].value


def test_a_server_without_ranges_is_asked_for_the_whole_again(web: WebServer, tmp_path: Path) -> None:
    target = tmp_path / "o" / "file"
    sources = (Endpoint(f"{web.url}/cut/file", priority=2), Endpoint(f"{web.url}/norange/file", priority=1))
    (outcome,) = carry(
        [Transfer(lfn="file", sources=sources, targets=(Endpoint(str(target)),), checksums=adler(DATA))],
        cancel=Cancel(),
    )
    assert outcome.failure is None
    assert target.read_bytes() == DATA


@pytest.mark.parametrize(
    ("fault", "code", "tries"),
    [
        ("cut", 1099, 2),
        ("500", 1324, 2),
        ("403", 1338, 1),
        ("401", 1338, 1),
        ("other", 1171, 1),
        ("garbage", 1324, 2),
        ("loop", 1324, 2),
    ],
)
def test_a_server_that_misbehaves_gives_the_right_number_and_no_file(
    fault: str, code: int, tries: int, web: WebServer, tmp_path: Path
) -> None:
    web.count["damage"] = 0
    outcome = fetch(web, f"/{fault}/file", tmp_path / "o" / "file", checksums=adler(DATA if fault != "other" else b"x"))
    assert outcome.failure and outcome.failure.code == code, outcome.failure
    assert len(outcome.attempts) == tries


def test_a_lie_about_the_length_is_found_without_any_catalogue(web: WebServer, tmp_path: Path) -> None:
    outcome = fetch(web, "/lie/file", tmp_path / "o" / "file")
    assert outcome.failure and outcome.failure.code == 1099
    assert "256000 of 256010" in outcome.failure.message


def test_a_file_of_another_size_is_not_even_fetched(web: WebServer, tmp_path: Path) -> None:
    outcome = fetch(web, "/file", tmp_path / "o" / "file", size=5)
    assert outcome.failure and outcome.failure.code == 1171
    assert "instead of 5" in outcome.failure.message
    assert len(outcome.attempts) == 1


def test_what_was_damaged_on_the_way_is_fetched_again(web: WebServer, tmp_path: Path) -> None:
    outcome = fetch(web, "/damage/file", tmp_path / "o" / "file", checksums=adler(DATA))
    assert outcome.failure is None
    assert len(outcome.attempts) == 2


@pytest.mark.parametrize("fault", ["503-once", "drop-once"])
def test_a_passing_trouble_passes(fault: str, web: WebServer, tmp_path: Path) -> None:
    outcome = fetch(web, f"/{fault}/file", tmp_path / "o" / "file")
    assert outcome.failure is None
    assert (tmp_path / "o" / "file").read_bytes() == DATA


def test_a_stalled_server_is_given_up_after_the_stall_time(web: WebServer, tmp_path: Path) -> None:
    begin = time.monotonic()
    outcome = fetch(web, "/stall/file", tmp_path / "o" / "file", stall_s=0.2, max_attempts=1)
    assert outcome.failure and outcome.failure.code == 1151
    assert time.monotonic() - begin < 5


def test_a_slow_server_is_given_up_when_the_files_time_is_over(web: WebServer, tmp_path: Path) -> None:
    outcome = fetch(web, "/slow/file", tmp_path / "o" / "file", base_limit_s=0.2, max_attempts=1)
    assert outcome.failure and outcome.failure.code == 1151


def test_a_cancel_wakes_a_transfer_that_waits_for_a_silent_server(web: WebServer, tmp_path: Path) -> None:
    cancel = Cancel()
    until_stalled = threading.Thread(target=lambda: (until(lambda: web.count["GET stall"]), cancel.set()))
    until_stalled.start()
    begin = time.monotonic()
    outcome = fetch(web, "/stall/file", tmp_path / "o" / "file", cancel=cancel)
    until_stalled.join()
    assert time.monotonic() - begin < 2
    assert outcome.failure
    assert outcome.failure.code == 1099


def test_nobody_listens(tmp_path: Path) -> None:
    (outcome,) = carry([order("http://127.0.0.1:9/x", tmp_path / "x")])
    assert outcome.failure and outcome.failure.code == 1327
    assert len(outcome.attempts) == 2


def test_files_from_a_dead_server_are_not_tried_one_after_the_other(tmp_path: Path) -> None:
    told: list[object] = []
    orders = [order(f"http://127.0.0.1:9/x{i}", tmp_path / f"x{i}") for i in range(50)]
    outcomes = carry(orders, on_attempt=told.append)
    assert {o.failure and o.failure.code for o in outcomes} == {1327}
    assert len(told) <= 100


def test_a_file_is_put_with_the_directories_it_needs_and_checked(web: WebServer, tmp_path: Path) -> None:
    source = content(tmp_path / "in" / "file", os.urandom(3_000_000))
    (outcome,) = carry([order(source, f"{web.url}/new/deep/it's a file", direction=Direction.OUT)])
    assert outcome.failure is None, outcome.failure
    assert (web.root / "new/deep/it's a file").read_bytes() == source.read_bytes()
    assert outcome.checksums == {"adler32": adler(source.read_bytes())[0].value}
    assert web.count["HEAD "] == 1


@pytest.mark.parametrize(
    ("fault", "code", "tries"), [("full", 1333, 1), ("403", 1383, 1), ("other", 1172, 2), ("500", 1324, 2)]
)
def test_a_put_that_fails_leaves_nothing_behind(
    fault: str, code: int, tries: int, web: WebServer, tmp_path: Path
) -> None:
    source = content(tmp_path / "in" / "out", os.urandom(3_000_000))
    (outcome,) = carry([order(source, f"{web.url}/{fault}/out", direction=Direction.OUT)])
    assert outcome.failure and outcome.failure.code == code, outcome.failure
    assert len(outcome.attempts) == tries
    assert not (web.root / "out").exists()
    assert source.exists()


def test_a_redirected_put_sends_its_body_to_the_second_place_only(web: WebServer, tmp_path: Path) -> None:
    source = content(tmp_path / "in" / "out", os.urandom(2_000_000))
    (outcome,) = carry([order(source, f"{web.url}/redirect/out")])
    assert outcome.failure is None, outcome.failure
    assert (web.root / "out").read_bytes() == source.read_bytes()
    assert web.count["bodies"] == 1


def test_a_token_is_never_sent_without_tls(web: WebServer, tmp_path: Path) -> None:
    token = content(tmp_path / "token", b"good\n")
    outcome = fetch(web, "/secret/file", tmp_path / "o" / "file", tools=ToolSettings(token_file=str(token)))
    assert outcome.failure and outcome.failure.code == 1338
    assert not any("Authorization" in headers for _, _, headers in web.seen)


def test_a_cache_that_cannot_be_reached_is_gone_round(web: WebServer, tmp_path: Path) -> None:
    tools = ToolSettings(environment={"OSG_SQUID_LOCATION": "localhost:9"})
    outcome = fetch(web, "/file", tmp_path / "o" / "file", tools=tools)
    assert outcome.failure is None


def test_a_cache_is_asked_with_the_whole_url(web: WebServer, tmp_path: Path) -> None:
    proxy = web.url.removeprefix("http://").replace("127.0.0.1", "localhost")
    outcome = fetch(web, "/file", tmp_path / "o" / "file", tools=ToolSettings(options={"http": {"proxy": proxy}}))
    assert outcome.failure is None


@pytest.mark.parametrize("names", ["127.0.0.1", "*", ".elsewhere, 127.0.0.1 "])
def test_a_host_that_needs_no_cache_is_asked_itself(names: str, web: WebServer, tmp_path: Path) -> None:
    with lying(lambda method, number, headers: reply("403 Forbidden")) as cache:
        words = {"http_proxy": cache.url.replace("127.0.0.1", "localhost"), "no_proxy": names}
        outcome = fetch(web, "/file", tmp_path / "o" / "file", tools=ToolSettings(environment=words))
    assert outcome.failure is None and cache.asked == []


@pytest.mark.parametrize("proxy", ["squid:port", "http://[::1", "http://"])
def test_a_cache_that_is_no_address_is_none(proxy: str, web: WebServer, tmp_path: Path) -> None:
    tools = ToolSettings(environment={"OSG_SQUID_LOCATION": proxy})
    assert fetch(web, "/file", tmp_path / "o" / "file", tools=tools).failure is None


def test_an_empty_file_comes_and_goes(web: WebServer, tmp_path: Path) -> None:
    (web.root / "empty").touch()
    assert fetch(web, "/empty", tmp_path / "o" / "empty", size=0).failure is None
    (outcome,) = carry([order(tmp_path / "o" / "empty", f"{web.url}/back")])
    assert outcome.failure is None
    assert (web.root / "back").read_bytes() == b""
