"""Servers that tell what is not so: no part of a file, no other file and no page of errors passes for the file."""

from __future__ import annotations

import gzip
import os
import ssl
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from pilot.core.staging import ToolSettings
from pilot.core.transfer import Checksum, Direction, Outcome
from tests.certificates import Authority
from tests.copytools.liar import Answer, lying, reply
from tests.copytools.making import adler, carry, content, order

DATA = os.urandom(300_000)
HALF = len(DATA) // 2
CUT = reply("200 OK", DATA[:HALF], 'ETag: "one"', length=len(DATA))


def fetched(answer: Answer, folder: Path, tries: int = 1, **more: Any) -> tuple[Outcome, int]:
    """What came of a file, and how often the server was asked. A file that failed has left nothing."""
    with lying(answer) as liar:
        wanted = order(liar.url, folder / "o" / "f", direction=Direction.IN, **more)
        (outcome,) = carry([wanted], max_attempts=tries, stall_s=30.0)
    assert os.listdir(folder / "o") == ([] if outcome.failure else ["f"])
    if outcome.failure is None:
        assert (folder / "o" / "f").read_bytes() == DATA
    return outcome, len(liar.asked)


def part(start: int, end: int, whole: int | str = len(DATA), etag: str = '"one"') -> bytes:
    return reply(
        "206 Partial Content", DATA[start:end], f"Content-Range: bytes {start}-{end - 1}/{whole}", f"ETag: {etag}"
    )


@pytest.mark.parametrize(
    ("answer", "code", "retry"),
    [
        (part(0, HALF), 1324, True),
        (reply("206 Partial Content", DATA[:HALF]), 1324, True),
        (reply("416 Range Not Satisfiable"), 1099, False),
        (reply("200 OK", gzip.compress(DATA), "Content-Encoding: gzip"), 1099, False),
        (reply("200 OK", DATA, "Digest: adler32=00000001"), 1171, True),
        (reply("302 Found", b"", "Location: file:///etc/passwd"), 1324, True),
        (reply("302 Found", b"", "Location: http://127.0.0.1:99999/f"), 1324, True),
        (reply("302 Found", b"", "Location: http://[::1/f"), 1324, True),
    ],
)
def test_what_is_not_the_whole_file_as_it_is_gets_no_name(
    answer: bytes, code: int, retry: bool, tmp_path: Path
) -> None:
    outcome, asked = fetched(lambda method, number, headers: answer, tmp_path)
    assert outcome.failure is not None
    assert (outcome.failure.code, outcome.failure.retry, asked) == (code, retry, 1), outcome.failure


def test_a_body_that_ends_early_without_a_length_is_cut_and_not_another_file(tmp_path: Path) -> None:
    def answer(method: str, number: int, headers: Mapping[str, str]) -> bytes:
        return b"HTTP/1.0 200 OK\r\n\r\n" + (DATA[:-9] if number == 1 else DATA)

    outcome, asked = fetched(answer, tmp_path, tries=2, size=len(DATA))
    assert outcome.failure is None and asked == 2


def test_a_packed_file_may_be_called_so_and_so_may_one_whose_checksum_is_known(tmp_path: Path) -> None:
    answer = reply("200 OK", DATA, "Content-Encoding: gzip")
    assert fetched(lambda method, number, headers: answer, tmp_path, checksums=adler(DATA))[0].failure is None


def test_a_digest_that_cannot_be_one_is_none(tmp_path: Path) -> None:
    answer = reply("200 OK", DATA, "Digest: adler32=zzz,md5,ADLER32=" + adler(DATA)[0].value.upper())
    assert fetched(lambda method, number, headers: answer, tmp_path)[0].failure is None


@pytest.mark.parametrize(
    "second",
    [
        pytest.param(part(HALF, HALF + 5), id="part-of-the-rest"),
        pytest.param(part(HALF, len(DATA), len(DATA) + 7), id="more-is-missing"),
    ],
)
def test_a_rest_that_is_not_all_of_the_rest_is_no_end(second: bytes, tmp_path: Path) -> None:
    outcome, asked = fetched(lambda method, number, headers: CUT if number == 1 else second, tmp_path, tries=2)
    assert outcome.failure is not None and outcome.failure.code == 1099 and asked == 2


@pytest.mark.parametrize(
    "second",
    [
        pytest.param(part(5, len(DATA)), id="from-elsewhere"),
        pytest.param(reply("206 Partial Content", DATA[HALF:]), id="from-nowhere"),
        pytest.param(part(HALF, len(DATA), etag='"two"'), id="of-another-version"),
        pytest.param(reply("416 Range Not Satisfiable"), id="no-ranges-at-all"),
    ],
)
def test_a_file_that_cannot_be_gone_on_with_begins_anew(second: bytes, tmp_path: Path) -> None:
    def answer(method: str, number: int, headers: Mapping[str, str]) -> bytes:
        if "range" not in headers:
            return CUT if number == 1 else reply("200 OK", DATA)
        assert headers["if-range"] == '"one"'
        return second

    outcome, asked = fetched(answer, tmp_path, tries=2)
    assert outcome.failure is None and asked == 3


def test_a_server_that_never_gives_a_range_is_not_asked_for_ever(tmp_path: Path) -> None:
    refusal = reply("416 Range Not Satisfiable")
    outcome, asked = fetched(lambda method, number, headers: CUT if number == 1 else refusal, tmp_path, tries=2)
    assert outcome.failure is not None and asked == 3


def test_a_weak_tag_is_no_reason_to_go_on(tmp_path: Path) -> None:
    def answer(method: str, number: int, headers: Mapping[str, str]) -> bytes:
        assert "range" not in headers
        return CUT.replace(b'"one"', b'W/"1"') if number == 1 else reply("200 OK", DATA)

    assert fetched(answer, tmp_path, tries=2)[0].failure is None


@pytest.mark.parametrize("url", ["http://127.0.0.1:x/f", "http://127.0.0.1:99999/f", "http:///f", "http://a..b/f"])
def test_a_url_that_is_no_address_is_told_once(url: str, tmp_path: Path) -> None:
    (outcome,) = carry([order(url, tmp_path / "f", direction=Direction.IN)], max_attempts=3)
    assert outcome.failure and (outcome.failure.code, outcome.failure.retry) == (1099, False)
    assert "is no web address" in outcome.failure.message and len(outcome.attempts) == 1


def test_a_server_is_left_alone_as_long_as_it_asks_if_that_is_not_absurd(tmp_path: Path) -> None:
    busy = reply("503 Busy", b"", "Retry-After: 1")
    outcome, _ = fetched(lambda m, n, h: busy if n == 1 else reply("200 OK", DATA), tmp_path, tries=2)
    first, second = outcome.attempts
    assert outcome.failure is None and second.started - first.started >= 0.9
    absurd = reply("503 Busy", b"", "Retry-After: 99999999")
    assert fetched(lambda m, n, h: absurd if n == 1 else reply("200 OK", DATA), tmp_path, tries=2)[1] == 2


# ---- sending ----------------------------------------------------------------------------------------------------


def test_a_file_with_the_wrong_checksum_is_not_even_sent(tmp_path: Path) -> None:
    source = content(tmp_path / "in", DATA)
    with lying(lambda method, number, headers: reply("201 Created")) as liar:
        sums = (Checksum("adler32", "00000001"),)
        (outcome,) = carry([order(source, liar.url, direction=Direction.OUT, checksums=sums)])
    assert outcome.failure and outcome.failure.code == 1172 and liar.asked == []


def test_what_others_have_there_stays_when_a_put_fails_that_may_not_replace_it(tmp_path: Path) -> None:
    source = content(tmp_path / "in", DATA * 10)
    for overwrite, deleted in ((False, False), (True, True)):
        with lying(lambda method, number, headers: reply("204 No Content"), reset=True) as liar:
            (outcome,) = carry([order(source, liar.url, direction=Direction.OUT)], max_attempts=1, overwrite=overwrite)
        assert outcome.failure is not None and ("DELETE" in liar.methods) is deleted, liar.methods


@pytest.mark.parametrize("status", ["400 Bad Request", "405 Method Not Allowed", "501 Not Implemented"])
def test_a_refused_upload_is_told_as_one(status: str, tmp_path: Path) -> None:
    source = content(tmp_path / "in", DATA)
    with lying(lambda method, number, headers: reply(status)) as liar:
        (outcome,) = carry([order(source, liar.url)])
    assert outcome.failure and (outcome.failure.code, outcome.failure.retry) == (1137, False)
    assert status in outcome.failure.message


# ---- credentials --------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("ca"))


@pytest.fixture(scope="module")
def tls(authority: Authority) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(authority.host)
    return context


def shown(
    authority: Authority, tls: ssl.SSLContext, target: Path, status: str = "", **more: Any
) -> tuple[Outcome, Any]:
    """What came of a file over TLS, and which token the server was shown."""
    answer = reply(status) if status else reply("200 OK", DATA)
    with lying(lambda method, number, headers: answer, tls) as liar:
        tools = ToolSettings(ca_path=str(authority.ca), **more)
        (outcome,) = carry([order(liar.url, target, direction=Direction.IN)], tools, max_attempts=1)
    return outcome, liar.asked[0][1].get("authorization") if liar.asked else None


@pytest.mark.parametrize("text", [b"", b"abc\nX-Evil: 1\n", b"\x00\xff", b"two words"])
def test_what_is_no_token_is_never_sent_and_told_where_the_server_refuses(
    text: bytes, authority: Authority, tls: ssl.SSLContext, tmp_path: Path
) -> None:
    token = content(tmp_path / "token", text)
    token.chmod(0o600)
    words = {"BEARER_TOKEN_FILE": str(token)}
    outcome, sent = shown(authority, tls, tmp_path / "f", environment=words)
    assert outcome.failure is None and sent is None
    outcome, _ = shown(authority, tls, tmp_path / "f", "401 Unauthorized", environment=words)
    assert outcome.failure and outcome.failure.code == 1364 and str(token) in outcome.failure.message
    outcome, sent = shown(authority, tls, tmp_path / "f", token_file=str(token))
    assert outcome.failure and outcome.failure.code == 1364 and sent is None


def test_a_token_that_has_run_out_is_told_as_such(authority: Authority, tls: ssl.SSLContext, tmp_path: Path) -> None:
    old = {"BEARER_TOKEN": "e30.eyJleHAiOiAxfQ.x"}  # {"exp": 1}
    outcome, sent = shown(authority, tls, tmp_path / "f", "401 Unauthorized", environment=old)
    assert outcome.failure and outcome.failure.code == 1373 and sent == "Bearer e30.eyJleHAiOiAxfQ.x"
    assert "BEARER_TOKEN ended at 1970-01-01" in outcome.failure.message and "eyJ" not in outcome.failure.message


def test_a_token_opens_the_door_where_the_proxy_is_old(
    authority: Authority, tls: ssl.SSLContext, tmp_path: Path
) -> None:
    old = authority.make_proxy("old", days=-1)
    outcome, sent = shown(authority, tls, tmp_path / "f", proxy_file=str(old), environment={"BEARER_TOKEN": "abc.def"})
    assert outcome.failure is None and sent == "Bearer abc.def"
    outcome, _ = shown(authority, tls, tmp_path / "f", proxy_file=str(old))
    assert outcome.failure and outcome.failure.code == 1373


def test_a_proxy_without_its_key_is_a_credential_and_no_network(
    authority: Authority, tls: ssl.SSLContext, tmp_path: Path
) -> None:
    keyless = content(tmp_path / "proxy", (authority.folder / "user.crt").read_bytes())
    keyless.chmod(0o600)
    outcome, _ = shown(authority, tls, tmp_path / "f", proxy_file=str(keyless))
    assert outcome.failure and (outcome.failure.code, outcome.failure.retry) == (1364, False)
    assert outcome.failure.message.count(str(keyless)) == 1, outcome.failure


def test_a_server_that_is_not_trusted_is_told_with_the_place_of_the_authorities(
    authority: Authority, tls: ssl.SSLContext, tmp_path: Path
) -> None:
    with lying(lambda method, number, headers: reply("200 OK", DATA), tls) as liar:
        (outcome,) = carry([order(liar.url, tmp_path / "f", direction=Direction.IN)])
    assert outcome.failure and (outcome.failure.code, outcome.failure.retry) == (1338, False)
    assert "not trusted" in outcome.failure.message and "X509_CERT_DIR" in outcome.failure.message
