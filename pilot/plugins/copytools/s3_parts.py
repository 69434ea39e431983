"""Large files to S3 in parts, several at once; what was begun and not ended is taken back."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import msgspec

from pilot.lib.checksum import Hasher
from pilot.lib.files import BLOCK
from pilot.plugins.copytools.base import Fault, Move, Moved, ToolError, Watch
from pilot.plugins.copytools.s3_place import S3Place
from pilot.plugins.copytools.s3_words import etag_md5, s3_fault, speaking
from pilot.plugins.copytools.webfile import Sender, WebFiles

PART = 16 << 20
_AT_ONCE = 4
_MOST_PARTS = 10_000

Sign = Callable[..., str]


class _Sent(msgspec.Struct, frozen=True):
    """A part that the service has: its number, its tag and whether the tag proves its content."""

    number: int
    etag: str
    proven: bool


def send_parts(
    files: WebFiles,
    client: Any,
    sign: Sign,
    place: S3Place,
    source: int,
    size: int,
    move: Move,
    watch: Watch,
    part: int,
) -> Moved:
    """Send a file in parts of at least `part` bytes. Raises `ToolError`; then nothing is left at the service."""
    part = max(part, -(-size // _MOST_PARTS))
    names = {"Bucket": place.bucket, "Key": place.key}
    with speaking(move.target):
        upload = client.create_multipart_upload(**names)["UploadId"]
    stop = threading.Event()

    def send(number: int) -> _Sent:
        if stop.is_set():
            raise ToolError(Fault.CANCELLED)
        start = (number - 1) * part
        sender = Sender(source, start, min(part, size - start), ("md5",), watch, bytearray(BLOCK))
        address = sign(client, "upload_part", place, UploadId=upload, PartNumber=number)
        answer = files.put(address, sender, watch)
        if answer.status != 200 or sender.hasher is None:
            raise s3_fault(answer.status, answer.text, f"{move.target} part {number}: {answer.status}", put=True)
        told, mine = etag_md5(answer.header("etag")), sender.hasher.values()["md5"]
        if told and told != mine:
            raise ToolError(Fault.DAMAGED, f"{move.target} part {number}: md5 {told} instead of {mine}")
        return _Sent(number, answer.header("etag"), bool(told))

    try:
        with ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="staging-s3") as pool:
            waiting = [pool.submit(send, number) for number in range(1, -(-size // part) + 1)]
            try:
                hasher = _hash(source, move, watch)
                sent = [one.result() for one in waiting]
            except BaseException:  # the other parts stop, whatever became of this one; it goes on up
                stop.set()
                raise
        listed = [{"PartNumber": one.number, "ETag": one.etag} for one in sent]
        with speaking(move.target):
            client.complete_multipart_upload(**names, UploadId=upload, MultipartUpload={"Parts": listed})
    except BaseException:  # the storage would keep, and charge for, the parts of a failed upload; it goes on up
        _take_back(client, names, upload)
        raise
    return Moved(size, hasher.values(), hasher.seconds, proven=all(one.proven for one in sent))


def _hash(source: int, move: Move, watch: Watch) -> Hasher:
    """The sums of the whole, while the parts are on their way."""
    hasher = Hasher(move.kinds)
    view = memoryview(bytearray(BLOCK))
    at = 0
    while move.kinds and (count := os.preadv(source, (view,), at)):
        hasher.update(view[:count])
        at += count
        watch.check()
    return hasher


def _take_back(client: Any, names: dict[str, str], upload: str) -> None:
    try:
        with speaking("abort"):
            client.abort_multipart_upload(**names, UploadId=upload)
    except ToolError:
        # What went wrong first is told; parts without an end cost space until the bucket's own rules remove them.
        pass
