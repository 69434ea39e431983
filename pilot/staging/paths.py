"""Where a file lies on a deterministic storage."""

from __future__ import annotations

import hashlib
from urllib.parse import quote

from pilot.core.errors import BadOutputFileName
from pilot.lib.files import check_name, file_url, safe_join


def deterministic_path(scope: str, lfn: str) -> str:
    """`scope/parts/ab/cd/lfn`, the hex pairs from md5("scope:lfn") (protocol.md 8.3)."""
    mark = hashlib.md5(f"{scope}:{lfn}".encode(), usedforsecurity=False).hexdigest()
    parts = scope.split(".") if scope else []
    return "/".join([*parts, mark[:2], mark[2:4], lfn])


def named_place(directory: str, name: str) -> str:
    """The URL of the file `name` in a directory that a person named, by its path or by a URL."""
    return url_under(directory, check_name(name)) if "://" in directory else file_url(safe_join(directory, name))


def url_under(prefix: str, path: str) -> str:
    """A path below a URL prefix. Bare directories stay paths; in URLs what is not allowed there is quoted.

    Raises `BadOutputFileName` for what a root:// URL cannot name: a `?` would end the name there, and two such files
    would be one.
    """
    base = prefix if prefix.endswith("/") else prefix + "/"
    scheme, colon, _ = prefix.partition("://")
    if not colon:
        return base + path
    if scheme.lower() == "root" or scheme.lower() == "roots":
        if "?" in path:
            raise BadOutputFileName(f"{path!r}: no root:// URL can name a file with a question mark")
        return base + path
    return base + quote(path)
