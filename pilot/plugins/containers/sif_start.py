"""Finds the file system inside an image file and hands over: `sif_start IMAGE COMMAND... @offset@ ...`.

Runs as the first step of a payload's process, with the standard library alone, and replaces itself.
"""

from __future__ import annotations

import os
import struct
import sys
from typing import BinaryIO

OFFSET_WORD = "@offset@"

_SQUASHFS = b"hsqs"
_MAGIC_AT, _MAGIC = 32, b"SIF_MAGIC\0"
#: After magic, version, architecture and UUID: ctime, mtime, free and total descriptors, offset and length of them.
_HEADER_AT, _HEADER = 64, struct.Struct("<qqqqqq")
#: Data type, used, id, group, link, offset, size, padded size; then times and owners, name, and the partition's own
#: (kind of file system, kind of partition).
_DESCRIPTOR = struct.Struct("<iBIIIqqq" + "qqqq" + "128s" + "ii376s")
_PARTITION, _FS_SQUASHFS, _PRIMARY = 0x4004, 1, 2


class NotAnImage(Exception):
    """The file holds no squashfs that could be mounted."""


def squashfs_offset(path: str) -> int:
    """Where the root file system begins: 0 for a bare squashfs, else what the SIF's descriptors say."""
    with open(path, "rb") as file:
        head = file.read(_HEADER_AT + _HEADER.size)
        if head[:4] == _SQUASHFS:
            return 0
        if head[_MAGIC_AT : _MAGIC_AT + len(_MAGIC)] != _MAGIC or len(head) < _HEADER_AT + _HEADER.size:
            raise NotAnImage("neither SIF nor squashfs")
        _, _, _, total, at, _ = _HEADER.unpack_from(head, _HEADER_AT)
        return _primary(file, at, total)


def _primary(file: BinaryIO, at: int, total: int) -> int:
    file.seek(at)
    for _ in range(min(total, 1024)):
        raw = file.read(_DESCRIPTOR.size)
        if len(raw) < _DESCRIPTOR.size:
            break
        fields = _DESCRIPTOR.unpack(raw)
        kind, used, offset, system, part = fields[0], fields[1], fields[5], fields[13], fields[14]
        if used and kind == _PARTITION and part == _PRIMARY:
            if system != _FS_SQUASHFS:
                raise NotAnImage("its root file system is not a squashfs")
            return int(offset)
    raise NotAnImage("it has no root file system")


def as_given() -> dict[str, str]:
    """The environment without what the interpreter itself adds to it when it finds no locale set."""
    with open("/proc/self/environ", "rb") as file:
        given = {entry.partition(b"=")[0] for entry in file.read().split(b"\0")}
    return {name: value for name, value in os.environ.items() if os.fsencode(name) in given}


def main(argv: list[str]) -> int:
    """Replace this process by the command, with the offset put in; 255 if the image is not one."""
    image, command = argv[0], argv[1:]
    try:
        offset = squashfs_offset(image)
    except OSError as error:
        print(f"box: image {image}: {error.strerror}", file=sys.stderr)
        return 255
    except NotAnImage as error:
        print(f"box: image {image} cannot be mounted: {error}", file=sys.stderr)
        return 255
    place = command.index(OFFSET_WORD)
    command[place] = str(offset)
    try:
        os.execvpe(command[0], command, as_given())
    except OSError as error:
        print(f"box: {command[0]}: {error.strerror}", file=sys.stderr)
        return 255
