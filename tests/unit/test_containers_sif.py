"""Finding the file system inside an image file."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest

from pilot.plugins.containers.sif_start import NotAnImage, main, squashfs_offset


def sif(*partitions: tuple[int, int, int, int], descriptors_at: int = 4096) -> bytes:
    """An image file's header and descriptors: (data type, offset, file system, kind of partition)."""
    head = bytearray(b"#!/usr/bin/env run-singularity\n".ljust(32, b"\0") + b"SIF_MAGIC\0" + b"01\0" + b"02\0")
    head += bytes(16) + struct.pack("<qqqqqqqq", 1, 2, 40, 48, descriptors_at, 48 * 585, 32768, 0)
    head = head.ljust(descriptors_at, b"\0")
    for number, (kind, offset, system, part) in enumerate(partitions, 1):
        head += struct.pack("<iBIIIqqqqqqq", kind, 1, number, 1, 0, offset, 10, 10, 0, 0, 0, 0)
        head += b"name".ljust(128, b"\0") + struct.pack("<ii", system, part).ljust(384, b"\0")
    return bytes(head)


def offset_of(tmp_path: Path, content: bytes) -> int:
    path = tmp_path / "image"
    path.write_bytes(content)
    return squashfs_offset(str(path))


def test_a_bare_squashfs_begins_at_its_beginning(tmp_path: Path) -> None:
    assert offset_of(tmp_path, b"hsqs" + bytes(200)) == 0


def test_the_primary_partition_is_found_among_others(tmp_path: Path) -> None:
    content = sif((0x4001, 32768, 0, 0), (0x4004, 36864, 1, 3), (0x4004, 40960, 1, 2))
    assert offset_of(tmp_path, content) == 40960


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "neither"),
        (b"#!/bin/sh\n" + bytes(500), "neither"),
        (sif((0x4004, 40960, 2, 2)), "not a squashfs"),
        (sif((0x4001, 40960, 1, 2)), "no root file system"),
        (sif((0x4004, 40960, 1, 2))[:4600], "no root file system"),
    ],
)
def test_what_cannot_be_mounted_is_told_apart(tmp_path: Path, content: bytes, words: str) -> None:
    with pytest.raises(NotAnImage, match=words):
        offset_of(tmp_path, content)


def test_a_missing_image_is_said_in_words_that_are_understood(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([str(tmp_path / "none.sif"), "true", "@offset@"]) == 255
    assert capsys.readouterr().err == f"box: image {tmp_path}/none.sif: No such file or directory\n"
