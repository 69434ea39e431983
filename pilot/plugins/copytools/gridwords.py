"""What the grid's programs say, as faults: by error number where there is one, else by the words (protocol.md 8.4)."""

from __future__ import annotations

import errno
import os
import re

from pilot.plugins.copytools.base import Fault, Move, ToolError

_NUMBERS = {
    errno.ENOENT: Fault.MISSING,
    errno.EEXIST: Fault.EXISTS,
    errno.EACCES: Fault.DENIED,
    errno.EPERM: Fault.DENIED,
    errno.EROFS: Fault.REFUSED,
    errno.ENOSPC: Fault.NO_SPACE,
    errno.EDQUOT: Fault.NO_SPACE,
    errno.ENOTDIR: Fault.NO_DIRECTORY,
    errno.EISDIR: Fault.NO_DIRECTORY,
    errno.ETIMEDOUT: Fault.TIMEOUT,
    errno.ETIME: Fault.TIMEOUT,
    errno.ECONNREFUSED: Fault.NETWORK,
    errno.ECONNRESET: Fault.NETWORK,
    errno.EHOSTUNREACH: Fault.NETWORK,
    errno.ENETUNREACH: Fault.NETWORK,
    errno.EPROTONOSUPPORT: Fault.UNSUPPORTED,
    errno.ENOSYS: Fault.UNSUPPORTED,
    errno.ENOTSUP: Fault.UNSUPPORTED,
    errno.EBADE: Fault.CREDENTIAL,
}
#: What a shell says of a program that it could not start; it is no word about a file of ours.
_NO_PROGRAM = (126, 127)
_NOT_RUN = re.compile(r"not found|permission denied|no such file|cannot execute", re.IGNORECASE)
_WORDS = (
    (r"no such file|does not exist|not found|404", Fault.MISSING),
    (r"checksum mismatch|checksums? do(es)? not match|failed xrdadler32|user.?defined.*checksum", Fault.DAMAGED),
    (r"no space left|disk quota|quota exceeded|\b507\b", Fault.NO_SPACE),
    (r"expired", Fault.EXPIRED),
    (r"no credentials|could not (load|find).*(credential|proxy)|no context|no proxy|no valid proxy", Fault.CREDENTIAL),
    (r"gssapi|gss major|ssl handshake", Fault.CREDENTIAL),
    (r"permission denied|authoriz|authenti|\b403\b|\b401\b", Fault.DENIED),
    (r"file exists|already exists|srm_file_busy|file busy", Fault.EXISTS),
    (r"timed? ?out|timeout", Fault.TIMEOUT),
    (r"network is? ?unreachable|unreachable network|connection refused|could not connect|unable to connect"
     r"|no route to host|could not resolve|name or service not known", Fault.NETWORK),
    (r"service.*(not available|unavailable)|service_unavailable|globus_xio|internal error|\b50[0234]\b", Fault.SERVICE),
    (r"is a directory|not a directory", Fault.NO_DIRECTORY),
)  # fmt: skip


def fault_of_move(text: str, move: Move, number: int = 0) -> ToolError:
    """The fault of a move: which end is missing is looked up here where that can be, programs do not tell."""
    put = move.target[:1] != "/"
    if put and not os.path.exists(move.source):
        return ToolError(Fault.MISSING, move.source)
    found = fault_of(text, put, move.target if put else move.source, number)
    if not put and found.fault is Fault.MISSING and not os.path.isdir(os.path.dirname(move.target)):
        return ToolError(Fault.NO_DIRECTORY, os.path.dirname(move.target))
    return found


def fault_of(text: str, put: bool, where: str, number: int = 0) -> ToolError:
    """The fault that a number (errno) and the words beside it mean; `put`: `where` was to be written."""
    if number in _NO_PROGRAM and _NOT_RUN.search(text):
        return ToolError(Fault.NO_TOOL, text)
    said = " ".join(text.split())[-300:]
    lower = said.lower()
    by_words = next((fault for words, fault in _WORDS if re.search(words, lower)), None)
    fault = _NUMBERS.get(number) or by_words or Fault.BROKEN
    if fault is Fault.DENIED and by_words in (Fault.CREDENTIAL, Fault.EXPIRED):
        fault = by_words
    if put and fault is Fault.DENIED:
        fault = Fault.REFUSED
    return ToolError(fault, f"{where}: {said}" if said else where)
