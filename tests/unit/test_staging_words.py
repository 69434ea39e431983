"""What servers and people write, as the copy tools understand it."""

from __future__ import annotations

import time
from email.utils import formatdate

import pytest

from pilot.core.staging import ToolSettings
from pilot.core.transfer import Direction
from pilot.lib.credentials import named_file
from pilot.lib.tokens import token_end
from pilot.lib.urls import shown
from pilot.plugins.copytools.base import Fault, ToolError
from pilot.plugins.copytools.s3_place import S3Place, keys_for
from pilot.plugins.copytools.s3_words import etag_md5, s3_fault
from pilot.plugins.copytools.webwords import digests_of, seconds_to_wait
from pilot.staging.faults import failure_of

MD5 = "0123456789abcdef0123456789abcdef"


@pytest.mark.parametrize(
    "url",
    [
        "https://h/f?Authorization=hidden",
        "https://h/f?auth=hidden&x=1",
        "https://h/f?x=1&jwt=hidden",
        "https://h/f?pwd=hidden",
        "https://h/f#access_token=hidden",
        "root://h//f?authz=hidden",
        "https://user:p@hidden@h/f",
        "https://user:p/hidden@h/f",
        "no file at gsiftp://user:hidden@h:2811/f, nor elsewhere",
    ],
)
def test_what_may_be_secret_in_a_url_is_not_shown(url: str) -> None:
    assert "hidden" not in shown(url)


@pytest.mark.parametrize("url", ["root://h:1094//a/b@c", "https://h:8443/f?size=5", "https://[::1]:80/f", "/a:b@c"])
def test_what_is_not_secret_is_shown(url: str) -> None:
    assert shown(url) == url


def test_bytes_that_are_no_text_are_shown_as_what_they_are() -> None:
    assert shown("gr\u00f6\u00dfe\udcff") == "gr\u00f6\u00dfe\\udcff"


@pytest.mark.parametrize("site", ["far-away", "far away", "far.away", "far_away", "far/away"])
def test_any_name_of_a_site_has_a_variable(site: str) -> None:
    assert named_file({"S3CFG_far_away": "/own", "S3CFG": "/all"}, "S3CFG", site) == ("/own", "S3CFG_far_away")


def test_the_time_that_a_server_asks_for_is_in_seconds_or_a_date() -> None:
    assert seconds_to_wait("120") == 120
    assert 50 < seconds_to_wait(formatdate(time.time() + 60, usegmt=True)) <= 60
    assert [seconds_to_wait(text) for text in ("", "soon", "-5", formatdate(0, usegmt=True))] == [0, 0, 0, 0]


def test_a_digest_is_hexadecimal() -> None:
    assert digests_of(f"adler32=zzz, ADLER32=1F, crc32c=AAAAAA==, md5={MD5}") == {"adler32": "0000001f", "md5": MD5}


@pytest.mark.parametrize(
    ("headers", "md5"),
    [
        ({}, MD5),
        ({"x-amz-server-side-encryption": "AES256"}, MD5),
        ({"x-amz-server-side-encryption": "aws:kms"}, ""),
        ({"x-amz-server-side-encryption": "aws:kms:dsse"}, ""),
        ({"x-amz-server-side-encryption-customer-algorithm": "AES256"}, ""),
    ],
)
def test_the_tag_of_what_a_key_encrypts_is_no_checksum(headers: dict[str, str], md5: str) -> None:
    assert etag_md5({"etag": f'"{MD5}"', **headers}) == md5
    assert etag_md5({"etag": f'"{MD5}-2"', **headers}) == ""


@pytest.mark.parametrize(
    ("code", "put", "fault", "word"),
    [
        ("ExpiredToken", False, Fault.EXPIRED, ""),
        ("RequestTimeTooSkewed", False, Fault.DENIED, "clock"),
        ("RequestTimeTooSkewed", True, Fault.REFUSED, "clock"),
        ("AuthorizationHeaderMalformed", True, Fault.UNSUPPORTED, "region"),
        ("InvalidObjectState", False, Fault.UNSUPPORTED, "archive"),
        ("RequestTimeout", True, Fault.SERVICE, ""),
        ("QuotaExceeded", True, Fault.NO_SPACE, ""),
        ("QuotaExceeded", False, Fault.SERVICE, ""),
    ],
)
def test_what_a_service_says_has_its_fault_and_what_to_do(code: str, put: bool, fault: Fault, word: str) -> None:
    error = s3_fault(400, f"<Error><Code>{code}</Code></Error>", "s3://b/k: 400", put)
    assert error.fault is fault and code in error.detail and word in error.detail


def test_an_access_key_alone_opens_nothing() -> None:
    with pytest.raises(ToolError, match="without its secret") as told:
        keys_for(S3Place("bucket", "key"), ToolSettings(environment={"AWS_ACCESS_KEY_ID": "A"}), "")
    assert told.value.fault is Fault.CREDENTIAL


@pytest.mark.parametrize("token", ["", "abc", "a.b", "a.!.c", "e30.e30.x", "e30.W10.x"])
def test_what_does_not_say_when_it_ends_has_no_end(token: str) -> None:
    assert token_end(token) is None


@pytest.mark.parametrize(("direction", "code"), [(Direction.IN, 1099), (Direction.OUT, 1137), (Direction.OTHER, 1137)])
def test_what_cannot_be_done_has_the_number_of_its_way(direction: Direction, code: int) -> None:
    assert failure_of(Fault.UNSUPPORTED, "no", direction, False).code == code


@pytest.mark.parametrize("direction", list(Direction))
def test_no_room_on_the_way_is_this_machine_s(direction: Direction) -> None:
    assert failure_of(Fault.NO_ROOM, "full", direction, False).code == 1098
