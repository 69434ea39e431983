"""Which names a file may have: one plain component of a path, short enough for every file system."""

from __future__ import annotations

import re
from collections.abc import Sequence

from pilot.core.errors import BadOutputFileName, LfnTooLong

LONGEST = 255
PATTERN_MARK = "regex|"


def check_lfn(key: str, lfn: str) -> str:
    """The name itself if it is a good one.

    Raises `LfnTooLong` (1190) beyond 255 bytes and `BadOutputFileName` (1371) for a name that is empty, holds a
    slash, a NUL or another control character, or means a directory.
    """
    shown = repr(lfn if len(lfn) <= 80 else lfn[:77] + "...")
    if len(lfn.encode("utf-8", "surrogateescape")) > LONGEST:
        raise LfnTooLong(f"{key}: {shown} has {len(lfn.encode('utf-8', 'surrogateescape'))}; use a shorter name")
    if not lfn:
        raise BadOutputFileName(f"{key}: a name is empty; every entry of the list must name a file")
    if "/" in lfn or lfn in (".", ".."):
        raise BadOutputFileName(f"{key}: {shown} leaves the job's directory; use a name without '/'")
    if any(ord(letter) < 32 or ord(letter) == 127 for letter in lfn):
        raise BadOutputFileName(f"{key}: {shown} holds a control character; use printable ones")
    return lfn


def check_pattern(key: str, lfn: str) -> str:
    """The expression of a `regex|...` name; empty for a plain name. Raises `BadOutputFileName` (1371) for a bad one."""
    if not lfn.startswith(PATTERN_MARK):
        return ""
    expression = lfn.removeprefix(PATTERN_MARK)
    try:
        re.compile(expression)
    except (re.error, OverflowError, RecursionError) as error:
        raise BadOutputFileName(f"{key}: {lfn!r} is no regular expression ({error})") from error
    if not expression or "/" in expression or "\0" in expression:
        raise BadOutputFileName(f"{key}: {lfn!r} must describe plain names, without '/'")
    return expression


def with_whole_patterns(pieces: Sequence[str]) -> list[str]:
    """Names that were taken apart at commas, each `regex|...` that has a comma of its own (`{1,3}`) put together again.

    An expression goes on to the next piece while a bracket of it is open; one that is open to the end stays in pieces.
    """
    names: list[str] = []
    at = 0
    while at < len(pieces):
        ends = range(at + 1, len(pieces) + 1) if pieces[at].startswith(PATTERN_MARK) else [at + 1]
        end = next((end for end in ends if not _open_bracket(",".join(pieces[at:end]))), at + 1)
        names.append(",".join(pieces[at:end]))
        at = end
    return names


def _open_bracket(expression: str) -> bool:
    bare = re.sub(r"\\.", "", expression, flags=re.DOTALL)
    bare = re.sub(r"\[\]?[^\]]*\]", "", bare)
    return "[" in bare or any(bare.count(left) > bare.count(right) for left, right in ("()", "{}"))
