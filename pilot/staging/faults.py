"""What a tool's fault means: the error number it is reported with, whether to try again, and whose side it is on."""

from __future__ import annotations

from pilot.core.errors import (
    CertificateHasExpired,
    Failure,
    FileExists,
    GetAdMismatch,
    GetMd5Mismatch,
    MakeDirectory,
    MiddlewareImportFailure,
    MissingCredentials,
    MissingInputFile,
    MissingOutputFile,
    NoLocalSpace,
    NoRemoteSpace,
    NoSuchFile,
    PilotError,
    PutAdMismatch,
    PutMd5Mismatch,
    StageInAuthenticationFailure,
    StageInFailed,
    StageInTimeout,
    StageOutAuthenticationFailure,
    StageOutFailed,
    StageOutTimeout,
    StorageServiceNotAvailable,
    UnreachableNetwork,
)
from pilot.core.transfer import Direction
from pilot.plugins.copytools.base import Fault

#: A later try may find things changed.
TRANSIENT = frozenset(
    {Fault.TIMEOUT, Fault.STALLED, Fault.NETWORK, Fault.SERVICE, Fault.CUT, Fault.DAMAGED, Fault.BROKEN}
)
#: Another source would not help.
_TARGET_SIDE = frozenset(
    {Fault.REFUSED, Fault.NO_SPACE, Fault.NO_ROOM, Fault.EXISTS, Fault.NO_DIRECTORY, Fault.CANCELLED}
)

_INWARD: dict[Fault, type[PilotError]] = {
    Fault.MISSING: MissingInputFile,
    Fault.DENIED: StageInAuthenticationFailure,
    Fault.REFUSED: StageInFailed,
    Fault.CORRUPT: GetAdMismatch,
    Fault.DAMAGED: GetAdMismatch,
    Fault.TIMEOUT: StageInTimeout,
    Fault.STALLED: StageInTimeout,
}
_OUTWARD: dict[Fault, type[PilotError]] = {
    Fault.MISSING: MissingOutputFile,
    Fault.DENIED: StageOutFailed,
    Fault.REFUSED: StageOutAuthenticationFailure,
    Fault.CORRUPT: PutAdMismatch,
    Fault.DAMAGED: PutAdMismatch,
    Fault.TIMEOUT: StageOutTimeout,
    Fault.STALLED: StageOutTimeout,
}
_EITHER: dict[Fault, type[PilotError]] = {
    Fault.MISSING: NoSuchFile,
    Fault.EXISTS: FileExists,
    Fault.NO_ROOM: NoLocalSpace,
    Fault.NO_DIRECTORY: MakeDirectory,
    Fault.NETWORK: UnreachableNetwork,
    Fault.SERVICE: StorageServiceNotAvailable,
    Fault.CREDENTIAL: MissingCredentials,
    Fault.EXPIRED: CertificateHasExpired,
    Fault.NO_TOOL: MiddlewareImportFailure,
}

#: What is told where nothing is staged in or out for a job, in the place of the error's own words.
_PLAIN = {
    Fault.DENIED: "The source may not be read",
    Fault.REFUSED: "The target may not be written",
    Fault.TIMEOUT: "The transfer took too long",
    Fault.STALLED: "The transfer took too long",
}


def ends_all(fault: Fault) -> bool:
    """Whether no other source can help, since the fault lies with the target or the caller."""
    return fault in _TARGET_SIDE


def tool_may_matter(fault: Fault) -> bool:
    """Whether another copy tool may bring what one did not: the file is there, and there is room for it here."""
    return not ends_all(fault) and fault not in (Fault.MISSING, Fault.CORRUPT, Fault.DAMAGED)


def failure_of(fault: Fault, detail: str, direction: Direction, local_target: bool, kind: str = "") -> Failure:
    """The fault as the error that is kept and reported. `kind` is the checksum kind that did not fit, if any."""
    error = _class_of(fault, direction, local_target, kind)(detail or str(fault)).failure()
    retry, message = fault in TRANSIENT, error.message
    if direction is Direction.OTHER and error.name.startswith(("StageIn", "StageOut")):
        message = f"{_PLAIN.get(fault, 'A file could not be moved')}: {detail or fault}"
    if (error.retry, error.message) == (retry, message):
        return error
    return Failure(error.code, error.name, message, error.owner, retry, error.causes)


def _class_of(fault: Fault, direction: Direction, local_target: bool, kind: str) -> type[PilotError]:
    outward = direction is Direction.OUT or (direction is Direction.OTHER and not local_target)
    if fault is Fault.NO_SPACE:
        return NoLocalSpace if local_target and not outward else NoRemoteSpace
    if fault in (Fault.CORRUPT, Fault.DAMAGED) and kind == "md5":
        return PutMd5Mismatch if outward else GetMd5Mismatch
    if fault is Fault.MISSING and direction is Direction.OTHER:
        return NoSuchFile
    general = StageOutFailed if outward else StageInFailed
    return (_OUTWARD if outward else _INWARD).get(fault) or _EITHER.get(fault) or general
