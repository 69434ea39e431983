"""Large files to S3 in parts, several at once; what was begun and not ended is taken back."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from itertools import islice
from typing import Any

import msgspec

from pilot.lib.checksum import Hasher
from pilot.lib.files import BLOCK
from pilot.lib.sharedread import BLOCK as WHOLE
from pilot.lib.sharedread import Feed
from pilot.plugins.copytools.base import Fault, Move, Moved, ToolError, Watch
from pilot.plugins.copytools.s3_place import S3Place
from pilot.plugins.copytools.s3_words import etag_md5, speaking
from pilot.plugins.copytools.webfile import Sender, WebFiles

PART = 16 << 20
_AT_ONCE = 4
_MOST_PARTS = 10_000
#: So many bytes of parts are held in memory where the file passes only once; one part at least.
_HELD = 64 << 20

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
    part = -(-part // WHOLE) * WHOLE
    names = {"Bucket": place.bucket, "Key": place.key}
    with speaking(move.target):
        upload = client.create_multipart_upload(**names)["UploadId"]
    stop = threading.Event()

    def send(number: int, kept: _Part | None = None) -> _Sent:
        if stop.is_set():
            raise ToolError(Fault.CANCELLED)
        start = (number - 1) * part
        sender = Sender(source, start, min(part, size - start), ("md5",), watch, bytearray(BLOCK), kept)
        address = sign(client, "upload_part", place, UploadId=upload, PartNumber=number)
        answer = files.put(address, sender, watch)
        if answer.status != 200 or sender.hasher is None:
            raise files.refused(answer, answer.text, f"{move.target} part {number}", put=True)
        told, mine = etag_md5(answer.headers), sender.hasher.values()["md5"]
        if told and told != mine:
            raise ToolError(Fault.DAMAGED, f"{move.target} part {number}: md5 {told} instead of {mine}")
        return _Sent(number, answer.header("etag"), bool(told))

    def all_parts(pool: ThreadPoolExecutor) -> tuple[Hasher, list[_Sent]]:
        if move.feed is not None:
            return _cut(source, size, part, move, lambda number, kept: pool.submit(send, number, kept))
        waiting = [pool.submit(send, number) for number in range(1, -(-size // part) + 1)]
        hasher = _hash(source, move, watch)
        return hasher, [one.result() for one in waiting]

    try:
        with ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="staging-s3") as pool:
            try:
                hasher, sent = all_parts(pool)
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


class _Part:
    """The blocks of one part, for a `Sender`: they may be wanted several times."""

    def __init__(self, feed: Feed, start: int) -> None:
        self._feed = feed
        self._start = start
        self._blocks: list[bytes] = []
        self.size = 0

    def add(self, block: bytes) -> None:
        """The next block; all but the last one of the file are whole."""
        self._blocks.append(block)
        self.size += len(block)

    def read(self, descriptor: int, view: memoryview, at: int) -> int:
        """The bytes from `at` of the file on into `view`."""
        self._feed.touch()
        number, inside = divmod(at - self._start, WHOLE)
        piece = memoryview(self._blocks[number])[inside : inside + len(view)]
        view[: len(piece)] = piece
        return len(piece)


def _cut(
    source: int, size: int, part: int, move: Move, submit: Callable[[int, _Part], Future[_Sent]]
) -> tuple[Hasher, list[_Sent]]:
    """Cut the passing blocks of a file into parts and send these. What is held at once is bounded by `_HELD`."""
    hasher = Hasher(move.kinds)
    most = max(1, min(_AT_ONCE, _HELD // part))
    waiting: set[Future[_Sent]] = set()
    sent: list[_Sent] = []
    blocks = move.feed.blocks(source)
    at = 0
    while at < size:
        while len(waiting) >= most:
            done, waiting = wait(waiting, return_when=FIRST_COMPLETED)
            sent += [one.result() for one in done]
        kept = _Part(move.feed, at)
        for block in islice(blocks, part // WHOLE):
            hasher.update(block)
            kept.add(block)
        if kept.size != min(part, size - at):
            raise ToolError(Fault.CUT, f"{move.source} changed while it was sent")
        waiting.add(submit(at // part + 1, kept))
        at += kept.size
    sent += [one.result() for one in waiting]
    return hasher, sorted(sent, key=lambda one: one.number)


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
