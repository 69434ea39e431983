from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pilot.core.staging import ToolSettings
from tests.copytools.places.copy import Directory
from tests.copytools.s3server import serving_s3


@contextmanager
def place(root: Path) -> Iterator[Directory]:
    (root / "data" / "bucket").mkdir(parents=True)
    with serving_s3(root / "data") as server:
        words = {"S3_ACCESS_KEY": "me", "S3_SECRET_KEY": "secret"}
        prefix = server.url.replace("http://", "s3://") + "/bucket"
        yield Directory(root / "data" / "bucket", prefix, ToolSettings(environment=words), quoted=False)
