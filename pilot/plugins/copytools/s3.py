"""S3: boto3 signs and speaks with the service, the files themselves pass through kept connections of ours."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator, Sequence
from typing import Any, ClassVar

from pilot.core.staging import ToolSettings
from pilot.lib.cancel import Cancel
from pilot.lib.credentials import S3Keys
from pilot.lib.files import BLOCK
from pilot.plugins.copytools.base import Ability, Fault, Found, Move, Moved, ToolError, Watch
from pilot.plugins.copytools.s3_parts import PART, send_parts
from pilot.plugins.copytools.s3_place import S3Place, keys_for, parse_url
from pilot.plugins.copytools.s3_words import etag_md5, s3_fault, speaking
from pilot.plugins.copytools.web import Web, move_each
from pilot.plugins.copytools.webfile import Sender, WebFiles, open_source

_EXPIRES_S = 6 * 3600
#: Larger files go in parts.
_ONE_PIECE = 4 * PART


class S3:
    """Files from and to S3 services; the URL forms are those of `parse_url`, the credentials of `s3_keys`.

    Option `part_mb`: size of the parts of large files.
    """

    ability: ClassVar[Ability] = Ability(hashes=True, feeds=True, resumes=True, parallel=4)

    def __init__(self, settings: ToolSettings) -> None:
        self.settings = settings
        self._web = Web(settings, secrets=False)
        self._files = WebFiles(self._web, s3_fault, encoded=True)
        self._guard = threading.Lock()
        self._clients: dict[S3Keys, Any] = {}

    def keys(self, place: S3Place, label: str) -> S3Keys:
        """The keys for a place. Raises `ToolError`."""
        return keys_for(place, self.settings, label)

    def _client(self, place: S3Place, label: str = "") -> Any:
        keys = self.keys(place, label)
        with self._guard:
            if keys not in self._clients:
                self._clients[keys] = _new_client(keys, self.settings)
            return self._clients[keys]

    def _sign(self, client: Any, call: str, place: S3Place, **more: object) -> str:
        """The address that allows one call without any further credential: never shown to anybody."""
        params = {"Bucket": place.bucket, "Key": place.key, **more}
        with speaking(f"s3://{place.bucket}/{place.key}"):
            address: str = client.generate_presigned_url(call, Params=params, ExpiresIn=_EXPIRES_S)
        return address

    def move(self, moves: Sequence[Move], watch: Watch) -> Iterator[Moved]:
        """One file after the other; the parts of a large one side by side.

        A bucket of `s3://user@site/...` that is not there is made: who wrote such a list means it so.
        """
        buffer = bytearray(BLOCK)

        def one(move: Move) -> Moved:
            inward = move.target[:1] == "/"
            place = parse_url(move.source if inward else move.target)
            client = self._client(place, move.site)
            if not inward:
                try:
                    return self._put(client, place, move, watch, buffer)
                except ToolError as error:
                    if error.fault is not Fault.NO_DIRECTORY or not place.user:
                        raise
                self._make_bucket(place, move.target, move.site)
                return self._put(client, place, move, watch, buffer)
            return self._files.get(self._sign(client, "get_object", place), move, watch, buffer)

        return move_each(moves, watch, one)

    def _put(self, client: Any, place: S3Place, move: Move, watch: Watch, buffer: bytearray) -> Moved:
        source, size = open_source(move)
        try:
            if size > self._one_piece:
                return send_parts(self._files, client, self._sign, place, source, size, move, watch, self._part)
            sender = Sender(source, 0, size, (*move.kinds, "md5"), watch, buffer, move.feed)
            answer = self._files.put(self._sign(client, "put_object", place), sender, watch, overwrite=move.overwrite)
        finally:
            os.close(source)
        if answer.status not in (200, 201, 204):
            raise self._files.refused(answer, answer.text, move.target, put=True)
        if sender.hasher is None:
            raise ToolError(Fault.SERVICE, f"{move.target}: the service never took the file's content")
        sums = sender.hasher.values()
        told = etag_md5(answer.headers)
        if told and told != sums["md5"]:
            self.remove(move.target)
            raise ToolError(Fault.DAMAGED, f"{move.target}: md5 {told} instead of {sums['md5']}")
        wanted = {kind: value for kind, value in sums.items() if kind in move.kinds}
        return Moved(size, wanted, sender.hasher.seconds, proven=bool(told))

    @property
    def _part(self) -> int:
        text = self.settings.options.get("s3", {}).get("part_mb", "")
        return max(5, int(text)) << 20 if text.isdigit() else PART

    @property
    def _one_piece(self) -> int:
        return min(_ONE_PIECE, 4 * self._part)

    def stat(self, url: str, cancel: Cancel | None = None) -> Found:
        """Size, and the md5 where the ETag is one."""
        place = parse_url(url)
        address = self._sign(self._client(place), "head_object", place)
        with self._web.asking("HEAD", address, cancel or Cancel()) as answer:
            answer.excerpt()
            if answer.status != 200:
                raise s3_fault(answer.status, "", f"{url}: {answer.status} {answer.reason}", put=False)
            md5 = etag_md5(answer.headers)
            return Found(answer.length, {"md5": md5} if md5 else {})

    def remove(self, url: str, recursive: bool = False) -> None:
        """Delete an object; with `recursive` all whose key begins with this one and a slash, in large batches."""
        place = parse_url(url)
        client = self._client(place)
        try:
            with speaking(url):
                if recursive:
                    self._remove_below(client, place)
                if place.key:
                    client.delete_object(Bucket=place.bucket, Key=place.key)
        except ToolError as error:
            if error.fault not in (Fault.MISSING, Fault.NO_DIRECTORY):
                raise

    def _remove_below(self, client: Any, place: S3Place) -> None:
        prefix = place.key.rstrip("/").removesuffix("/*") + "/" if place.key else ""
        for page in client.get_paginator("list_objects_v2").paginate(Bucket=place.bucket, Prefix=prefix):
            keys = [{"Key": item["Key"]} for item in page.get("Contents", ())]
            for start in range(0, len(keys), 1000):
                _remove_batch(client, place.bucket, keys[start : start + 1000])

    def make_directory(self, url: str) -> None:
        """Make the bucket, if it is not there; there are no directories within."""
        self._make_bucket(parse_url(url), url)

    def _make_bucket(self, place: S3Place, url: str, site: str = "") -> None:
        client = self._client(place, site)
        try:
            with speaking(url):
                client.head_bucket(Bucket=place.bucket)
            return
        except ToolError as error:
            if error.fault not in (Fault.MISSING, Fault.NO_DIRECTORY):
                raise
        try:
            with speaking(url):
                client.create_bucket(Bucket=place.bucket)
        except ToolError as other:
            if other.fault is not Fault.EXISTS:
                raise

    def close(self) -> None:
        """Close all connections."""
        with self._guard:
            clients, self._clients = list(self._clients.values()), {}
        for client in clients:
            client.close()
        self._web.close()


def _remove_batch(client: Any, bucket: str, keys: list[dict[str, str]]) -> None:
    """In one request; one by one where a service wants a header (Content-MD5) that is no longer sent."""
    try:
        with speaking(bucket):
            client.delete_objects(Bucket=bucket, Delete={"Objects": keys, "Quiet": True})
    except ToolError as error:
        if error.fault is not Fault.UNSUPPORTED:
            raise
        for key in keys:
            client.delete_object(Bucket=bucket, **key)


def _new_client(keys: S3Keys, settings: ToolSettings) -> Any:
    try:
        import boto3
        from botocore.config import Config
    except ImportError as error:
        raise ToolError(Fault.NO_TOOL, f"boto3 is not installed: {error}") from error
    words: dict[str, Any] = {"region_name": keys.region or "us-east-1"}
    if keys.endpoint:
        words["endpoint_url"] = keys.endpoint if "://" in keys.endpoint else f"https://{keys.endpoint}"
    if keys.access:
        words |= {"aws_access_key_id": keys.access, "aws_secret_access_key": keys.secret}
        words |= {"aws_session_token": keys.session} if keys.session else {}
    elif not settings.verify_tls:
        words["verify"] = False
    if settings.ca_path and os.path.isfile(settings.ca_path):
        words["verify"] = settings.ca_path
    style = "path" if keys.endpoint and "amazonaws.com" not in keys.endpoint else "auto"
    config = Config(
        signature_version="s3v4",
        s3={"addressing_style": style},
        connect_timeout=settings.connect_s,
        read_timeout=settings.stall_s,
        retries={"total_max_attempts": 1},
        request_checksum_calculation="when_required",
        response_checksum_validation="when_required",
    )
    with speaking(keys.endpoint or "S3"):
        session = boto3.session.Session(profile_name=keys.profile or None)
        return session.client("s3", config=config, **words)
