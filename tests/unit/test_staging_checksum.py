import hashlib
import zlib

import pytest

from pilot.core.errors import GetAdMismatch, GetMd5Mismatch, UnknownChecksumType
from pilot.core.transfer import Checksum
from pilot.lib.checksum import Hasher, checksum_of, new_digest, parse_checksum


@pytest.mark.parametrize("text", ["", None, "NULL", "None", "ad:", "md:", "  ", "ad:NULL"])
def test_an_empty_checksum_means_that_nothing_is_known(text: str | None) -> None:
    assert parse_checksum(text) == ()


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("ad:0a1b2c3d", "0a1b2c3d"),
        ("AD:0A1B2C3D", "0a1b2c3d"),
        ("adler32:a1b2c3d", "0a1b2c3d"),
        ("1", "00000001"),
        ("a1b2c3d", "0a1b2c3d"),
        (" ad: 0x0A1b2C3d ", "0a1b2c3d"),
        ('"ad:0a1b2c3d"', "0a1b2c3d"),
    ],
)
def test_every_odd_form_of_adler32_means_the_same(text: str, value: str) -> None:
    assert parse_checksum(text) == (Checksum("adler32", value),)


def test_other_kinds_are_known_by_prefix_or_by_length() -> None:
    md5 = hashlib.md5(b"x").hexdigest()
    sha = hashlib.sha256(b"x").hexdigest()
    assert parse_checksum("md:" + md5.upper()) == (Checksum("md5", md5),)
    assert parse_checksum(md5) == (Checksum("md5", md5),)
    assert parse_checksum("SHA256:" + sha) == (Checksum("sha256", sha),)
    assert parse_checksum("crc32c:e3069283") == (Checksum("crc32c", "e3069283"),)


@pytest.mark.parametrize("text", ["ad:0a1b2c3d4", "ad:xyz", "not a sum", "ad:-1", "ad:0a1b 2c3"])
def test_what_cannot_be_an_adler32_is_refused_with_its_number(text: str) -> None:
    with pytest.raises(GetAdMismatch) as caught:
        parse_checksum(text)
    assert caught.value.code == 1171
    assert text in str(caught.value)


def test_a_short_md5_is_refused_and_not_padded() -> None:
    with pytest.raises(GetMd5Mismatch):
        parse_checksum("md5:1234")


def test_an_unknown_kind_is_named() -> None:
    with pytest.raises(UnknownChecksumType, match="crc64"):
        parse_checksum("crc64:00")


def test_several_kinds_are_computed_in_one_pass() -> None:
    data = bytes(range(256)) * 1000
    hasher = Hasher(["adler32", "md5", "sha256", "crc32c", "adler32"])
    for start in range(0, len(data), 1000):
        hasher.update(memoryview(data)[start : start + 1000])
    assert hasher.values() == {
        "adler32": f"{zlib.adler32(data):08x}",
        "md5": hashlib.md5(data).hexdigest(),
        "sha256": hashlib.sha256(data).hexdigest(),
        "crc32c": _by_bits(data[:]),
    }


def _by_bits(data: bytes) -> str:
    from pilot.lib.checksum import _plain_crc32c

    return f"{_plain_crc32c(data, 0):08x}"


def test_crc32c_gives_the_published_check_value() -> None:
    from pilot.lib.checksum import _plain_crc32c

    digest = new_digest("crc32c")
    digest.update(b"1234")
    digest.update(b"56789")
    assert digest.hexdigest() == "e3069283"
    assert _plain_crc32c(b"56789", _plain_crc32c(b"1234", 0)) == 0xE3069283


def test_the_sum_of_nothing_is_that_of_an_empty_file(tmp_path) -> None:
    (tmp_path / "empty").touch()
    assert checksum_of(str(tmp_path / "empty"), ["adler32"]).values() == {"adler32": "00000001"}
