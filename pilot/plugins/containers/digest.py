"""What an image is, beyond its name: the same name may mean another image tomorrow."""

from __future__ import annotations

import os
import re
import uuid

_NAMED = re.compile(r"@(sha256:[0-9a-f]{64})$")
#: Where the distribution of unpacked images keeps the tree that a name links to: by the digest of its manifest.
_FLAT = re.compile(r"/\.flat/[0-9a-f]{2}/([0-9a-f]{64})(/|$)")
#: In the header of a SIF: the magic, and the number that was drawn when the file was made.
_MAGIC_AT, _MAGIC, _ID_AT, _ID_BYTES = 32, b"SIF_MAGIC\0", 48, 16


def named(image: str) -> str:
    """The digest that is part of the image's name, `sha256:<hex>`; empty if there is none."""
    found = _NAMED.search(image)
    return found[1] if found else ""


def of_file(image: str) -> str:
    """What is known of an image file or directory: `sha256:<hex>` or `sif:<uuid>`; empty if nothing is."""
    if digest := named(image):
        return digest
    if found := _FLAT.search(os.path.realpath(image)):
        return f"sha256:{found[1]}"
    try:
        with open(image, "rb") as file:
            head = file.read(_ID_AT + _ID_BYTES)
    except OSError:
        return ""
    if len(head) < _ID_AT + _ID_BYTES or head[_MAGIC_AT : _MAGIC_AT + len(_MAGIC)] != _MAGIC:
        return ""
    return f"sif:{uuid.UUID(bytes=head[_ID_AT:])}"
