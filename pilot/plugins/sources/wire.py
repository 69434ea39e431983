"""How values look on a PanDA server's wire, whatever the dialect: limits, dates, lists (protocol.md section 3)."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

from pilot.core.update import StoredFile

#: The six intervals of `pilotTiming`, in the order in which the server reads them.
TIMING = ("getjob", "stagein", "payload", "stageout", "initial_setup", "setup")
METRICS_LIMIT = 500
DIAG_LIMIT = 500
STDOUT_LIMIT = 2048
LOG_LIMIT = 1024
#: The server keeps kB in ten digits.
_MOST_BYTES = (10**10 - 1) * 1024
_MOST_CPU_S = 10**9


def printable(text: str) -> str:
    """The text without what a database refuses: NUL bytes and halves of characters."""
    return text.encode("utf-8", "replace").decode().replace("\0", "")


def cut(text: str, limit: int) -> str:
    """The first `limit` characters."""
    return printable(text)[:limit]


def cut_at_blank(text: str, limit: int) -> str:
    """The text up to `limit` characters, ended at a blank so that no word is cut in two."""
    text = printable(text)
    if len(text) <= limit:
        return text
    head = text[: limit + 1].rpartition(" ")[0]
    return head.rstrip() or text[:limit]


def tail(text: str, limit: int) -> str:
    """The last `limit` characters."""
    return printable(text)[-limit:]


def when(epoch_s: float | None) -> str | None:
    """`YYYY-MM-DD HH:MM:SS` in UTC: the only form of a time that the server keeps."""
    return None if epoch_s is None else f"{datetime.fromtimestamp(epoch_s, UTC):%Y-%m-%d %H:%M:%S}"


def zoned(epoch_s: float) -> str:
    """A time with its zone, as the classic `timestamp`: in UTC, which is as good as any zone."""
    return datetime.fromtimestamp(int(epoch_s), UTC).isoformat()


def timing(seconds: Mapping[str, float]) -> str | None:
    """`pilotTiming`: whole seconds between bars; None when nothing was measured."""
    if not seconds:
        return None
    return "|".join(str(max(0, round(seconds.get(name, 0)))) for name in TIMING)


def metrics(values: Mapping[str, str]) -> str | None:
    """`jobMetrics`: `key=value` between blanks, none inside a value, cut at a blank."""
    words = [f"{key}={'_'.join(str(value).split())}" for key, value in values.items() if str(value).strip()]
    return cut_at_blank(" ".join(words), METRICS_LIMIT) or None


def output_report(files: Iterable[StoredFile]) -> str:
    """The output report: an object by LFN, as JSON text (protocol.md 3.4)."""
    return json.dumps({file.lfn: _reported(file) for file in files})


def _reported(file: StoredFile) -> dict[str, Any]:
    """A file that has no size yet (an input that was not read) is told by its GUID alone."""
    facts: dict[str, Any] = {"guid": file.guid}
    if file.size or file.checksums:
        facts["fsize"] = file.size
    if adler := file.checksums.get("adler32"):
        facts["adler32"] = adler.rjust(8, "0")
    elif md5 := file.checksums.get("md5"):
        facts["md5sum"] = md5
    optional = {"surl": file.surl, "full_lfn": file.full_lfn, "endpoint": file.rse}
    return facts | {key: value for key, value in optional.items() if value}


def document(value: Mapping[str, Any] | None) -> str | None:
    """A JSON text in ASCII, which survives every encoding on its way."""
    return None if value is None else json.dumps(value, default=str)


def byte_count(total: int) -> int:
    """A number of bytes that the server's column holds."""
    return min(max(0, int(total)), _MOST_BYTES)


def cpu_seconds(seconds: float) -> int | None:
    """CPU time in whole s; a value that cannot be true is not told."""
    return int(seconds) if 0 <= seconds <= _MOST_CPU_S else None


def rate(total: int, seconds: float) -> int:
    """Bytes a second."""
    return int(total / seconds) if seconds > 0 else 0
