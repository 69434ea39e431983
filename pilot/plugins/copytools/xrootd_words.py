"""What xrdcp and xrdfs say, as faults and checksums. Pure: text in, data out."""

from __future__ import annotations

import re
from collections.abc import Sequence

from pilot.lib.checksum import LENGTHS
from pilot.plugins.copytools.base import CopyTool, Fault, ToolError

#: Looked for in this order; the numbers are the protocol's (kXR_...).
_WORDS: tuple[tuple[str, Fault], ...] = (
    (r"checksum error", Fault.DAMAGED),
    (r"no space left|\[3009\]|quota exceeded|\[3031\]", Fault.NO_SPACE),
    (r"file exists|\[3018\]|already exists", Fault.EXISTS),
    (r"certificate has expired|proxy.*expired|expired.*proxy|token.*expired", Fault.EXPIRED),
    (r"unable to use cert\+key file", Fault.CREDENTIAL),
    (r"auth(entication)? failed|\[3030\]|no protocols left|unable to get.*credential|login failed", Fault.CREDENTIAL),
    (r"\[3010\]|permission denied|not authorized|disallowed|\[3025\]|read-only", Fault.DENIED),
    (r"\[3011\]|no such file or directory|\[3017\]", Fault.MISSING),
    (r"\[3016\]|is a directory|not a directory", Fault.NO_DIRECTORY),
    (r"connection error|unable to connect|connection refused|invalid address|host.*not found", Fault.NETWORK),
    (r"redirect limit", Fault.NETWORK),
    (r"socket timeout|operation expired|stream timeout|timed out", Fault.STALLED),
    (r"corrupted|data integrity|short read|unexpected end", Fault.CUT),
    (r"\[30\d\d\]|server responded with an error|internal error", Fault.SERVICE),
)  # fmt: skip


def fault_of(text: str, put: bool, url: str) -> ToolError:
    """The fault that the words of a failed run mean; `put`: it was to write to `url`."""
    lines = [line.strip() for line in text.splitlines() if "[ERROR]" in line or "[FATAL]" in line]
    said = lines[-1] if lines else next((line.strip() for line in reversed(text.splitlines()) if line.strip()), "")
    lower = said.lower()
    fault = next((fault for words, fault in _WORDS if re.search(words, lower)), Fault.BROKEN)
    here = "local error" in lower and "(destination)" in lower
    there = "(destination)" in lower or put
    if fault is Fault.DENIED and (here or there):
        fault = Fault.REFUSED
    if fault is Fault.MISSING and (here or (put and "(destination)" in lower)):
        fault = Fault.NO_DIRECTORY
    if fault is Fault.EXISTS and not put and not here:
        fault = Fault.BROKEN
    return ToolError(fault, f"{url}: {said[:300]}" if said else f"{url}: it failed without a word")


def job_faults(text: str, jobs: int) -> dict[int, str]:
    """Number of a file in a call with several (from 1 on) -> what was said of it."""
    found: dict[int, str] = {}
    for line in text.splitlines():
        match = re.match(r"\s*Job #(\d+):\s*(.*)", line)
        if match and 1 <= int(match[1]) <= jobs:
            found[int(match[1])] = match[2]
    return found


def printed_sums(text: str, paths: Sequence[str]) -> dict[str, str]:
    """Path -> checksum at full length, of the lines `kind: value path size`."""
    found: dict[str, str] = {}
    for path in paths:
        match = re.search(rf"(?:^|\n)(\w+): ([0-9a-fA-F]+) {re.escape(path)} \d+", text)
        if match and match[1].lower() in LENGTHS:
            found[path] = match[2].lower().zfill(LENGTHS[match[1].lower()])
    return found


def is_directory(tool: CopyTool, url: str) -> bool:
    """Whether the server has a directory there. Raises `ToolError` where it cannot be asked."""
    try:
        return tool.stat(url).directory
    except ToolError as error:
        if error.fault is Fault.MISSING:
            return False
        raise
