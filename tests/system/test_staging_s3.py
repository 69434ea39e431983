"""The S3 copy tool against rclone's service and against Swift's, which is the stricter one."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from pilot.core.staging import ToolSettings
from pilot.core.transfer import Direction
from tests.copytools.making import adler, carry, content, order
from tests.copytools.suite import *  # noqa: F403
from tests.copytools.trouble import *  # noqa: F403

MB = 1 << 20


class Bucket:
    """A bucket, seen by the test through boto3."""

    def __init__(self, endpoint: dict[str, Any], settings: ToolSettings, prefix: str = "") -> None:
        import boto3
        from botocore.config import Config

        self.endpoint = endpoint
        self.settings = settings
        self.prefix = prefix
        self.client = boto3.client(
            "s3",
            endpoint_url=endpoint["endpoint"],
            region_name=endpoint["region"],
            aws_access_key_id=endpoint["access_key"],
            aws_secret_access_key=endpoint["secret_key"],
            config=Config(signature_version="s3v4", s3={"addressing_style": "path"}),
        )

    def url(self, name: str) -> str:
        return f"s3://{self.endpoint['bucket']}/{self.prefix}{name}"

    def store(self, name: str, data: bytes) -> None:
        self.client.put_object(Bucket=self.endpoint["bucket"], Key=self.prefix + name, Body=data)

    def read(self, name: str) -> bytes | None:
        try:
            found = self.client.get_object(Bucket=self.endpoint["bucket"], Key=self.prefix + name)
        except self.client.exceptions.NoSuchKey:
            return None
        data: bytes = found["Body"].read()
        return data

    def below(self, name: str) -> Bucket:
        return Bucket(self.endpoint, self.settings, f"{name}/")


@pytest.fixture(scope="module")
def name() -> str:
    return "s3"


@pytest.fixture(scope="module", params=["s3", "swift_s3"])
def endpoint(request: pytest.FixtureRequest) -> dict[str, Any]:
    found: dict[str, Any] = request.getfixturevalue(request.param)
    return found


def words(endpoint: dict[str, Any], **more: str) -> ToolSettings:
    return ToolSettings(
        environment={
            "AWS_ACCESS_KEY_ID": endpoint["access_key"],
            "AWS_SECRET_ACCESS_KEY": endpoint["secret_key"],
            "AWS_ENDPOINT_URL": endpoint["endpoint"],
            "AWS_REGION": endpoint["region"],
            **more,
        },
        options={"s3": {"part_mb": "5"}},
    )


@pytest.fixture(scope="module")
def base(endpoint: dict[str, Any]) -> Bucket:
    return Bucket(endpoint, words(endpoint))


def test_a_large_file_goes_in_parts_and_comes_back_whole(place: Bucket, tmp_path: Path) -> None:
    data = os.urandom(27 * MB + 12345)
    (sent,) = carry([order(content(tmp_path / "f", data), place.url("big"))], place.settings)
    assert sent.failure is None, sent.failure
    assert sent.checksums == {"adler32": adler(data)[0].value}
    told = place.client.head_object(Bucket=place.endpoint["bucket"], Key=place.prefix + "big")
    assert told["ContentLength"] == len(data)
    if place.endpoint["name"] == "swift_s3":
        assert told["ETag"].strip('"').endswith("-6"), "it did not go in parts"
    (back,) = carry([order(place.url("big"), tmp_path / "back", checksums=adler(data))], place.settings)
    assert back.failure is None, back.failure


def test_a_wrong_key_is_refused_and_stands_in_no_message(place: Bucket, tmp_path: Path) -> None:
    place.store("f", b"data")
    settings = words(place.endpoint, AWS_SECRET_ACCESS_KEY="not-the-secret-at-all")
    (outcome,) = carry([order(place.url("f"), tmp_path / "f", direction=Direction.IN)], settings)
    assert outcome.failure and outcome.failure.code == 1338, outcome.failure
    assert len(outcome.attempts) == 1
    assert "not-the-secret" not in outcome.failure.message
    assert "Signature=" not in outcome.failure.message


def test_a_bucket_that_is_not_there(place: Bucket, tmp_path: Path) -> None:
    (inward,) = carry([order("s3://no-such-bucket-here/f", tmp_path / "f", direction=Direction.IN)], place.settings)
    assert inward.failure and inward.failure.code == 1331, inward.failure
    (outward,) = carry(
        [order(content(tmp_path / "g"), "s3://no-such-bucket-here/g", direction=Direction.OUT)], place.settings
    )
    assert outward.failure and outward.failure.code in (1199, 1383), outward.failure


def test_keys_come_from_a_file_of_either_form(place: Bucket, tmp_path: Path) -> None:
    place.store("f", b"data")
    e = place.endpoint
    seed = f"[default]\naccess_key = {e['access_key']}\nsecret_key = {e['secret_key']}\n"
    seed += f"host_base = {e['endpoint'].removeprefix('http://')}\nuse_https = False\n"
    pegasus = f"[store]\nendpoint = {e['endpoint']}\n[me@store]\naccess_key = {e['access_key']}\n"
    pegasus += f"secret_key = {e['secret_key']}\n"
    for number, (variable, text, host) in enumerate(
        [("S3CFG", seed, ""), ("PEGASUS_CREDENTIALS", pegasus, "me@store/"), ("S3CFG_here", seed, "")]
    ):
        path = content(tmp_path / f"keys{number}", text.encode())
        url = place.url("f").replace("s3://", f"s3://{host}")
        for mode, code in ((0o644, 1364), (0o600, None)):
            path.chmod(mode)
            made = order(url, tmp_path / f"o{number}")
            made = type(made)(made.lfn, (type(made.sources[0])(url, site="here"),), made.targets)
            (outcome,) = carry([made], ToolSettings(environment={variable: str(path)}))
            assert (outcome.failure.code if outcome.failure else None) == code, outcome.failure


def test_what_is_below_a_key_goes_with_it(place: Bucket) -> None:
    for name in ("d/a", "d/b/c", "d2"):
        place.store(name, b"x")
    from pilot.plugins.copytools.registry import registry

    tool = registry().load("s3")(place.settings)
    tool.remove(place.url("d"), recursive=True)
    tool.close()
    assert [place.read(name) for name in ("d/a", "d/b/c", "d2")] == [None, None, b"x"]
