"""Errors of the payload: how it ended, what it used up, what it failed to write."""

from pilot.core.errors.base import Owner, PilotError


class UserDirTooLarge(PilotError):
    """The work directory is larger than allowed."""

    code, retry, owner = 1104, False, Owner.PAYLOAD


class StdoutTooBig(PilotError):
    """The payload wrote more to its standard output than allowed."""

    code, retry, owner = 1106, False, Owner.PAYLOAD


class OutputFileTooLarge(PilotError):
    """An output file is larger than allowed."""

    code, retry, owner = 1124, False, Owner.PAYLOAD


class LoopingJob(PilotError):
    """The payload shows no activity."""

    code, retry, owner = 1150, False, Owner.PAYLOAD


class PayloadOutOfMemory(PilotError):
    """The payload ran out of memory."""

    code, retry, owner = 1212, False, Owner.PAYLOAD


class ReachedMaxTime(PilotError):
    """The time limit was reached."""

    code, retry, owner = 1213, False, Owner.PAYLOAD


class UnknownPayloadFailure(PilotError):
    """The payload failed for an unknown reason."""

    code, retry, owner = 1220, False, Owner.PAYLOAD


class BadAlloc(PilotError):
    """The payload could not allocate memory (bad_alloc)."""

    code, retry, owner = 1223, False, Owner.PAYLOAD


class PayloadExceedsMemory(PilotError):
    """The payload exceeded its memory limit."""

    code, retry, owner = 1235, False, Owner.PAYLOAD


class NoPayloadMetadata(PilotError):
    """The payload wrote no metadata."""

    code, retry, owner = 1187, False, Owner.PAYLOAD


class PayloadExecutionFailure(PilotError):
    """The payload failed."""

    code, retry, owner = 1305, False, Owner.PAYLOAD


class PayloadExecutionException(PilotError):
    """The payload could not be executed."""

    code, retry, owner = 1310, True, Owner.PILOT


class UnknownTransformFailure(PilotError):
    """The transform failed for an unknown reason."""

    code, retry, owner = 1315, False, Owner.PAYLOAD


class PayloadSegmentationFault(PilotError):
    """The payload ended with a segmentation fault."""

    code, retry, owner = 1328, False, Owner.PAYLOAD


class NoOutputInJobReport(PilotError):
    """The job report names no output file."""

    code, retry, owner = 1343, False, Owner.PAYLOAD


class TransformNotFound(PilotError):
    """The transform was not found."""

    code, retry, owner = 1346, False, Owner.USER


class UnrecognizedTransformArguments(PilotError):
    """The transform did not understand its arguments."""

    code, retry, owner = 1349, False, Owner.USER


class EmptyOutputFile(PilotError):
    """An output file is empty."""

    code, retry, owner = 1350, False, Owner.PAYLOAD


class UnrecognizedTransformStderr(PilotError):
    """The transform wrote unexpected text to its standard error."""

    code, retry, owner = 1351, False, Owner.PAYLOAD


class CoreDump(PilotError):
    """The payload left a core dump."""

    code, retry, owner = 1355, False, Owner.PAYLOAD


class PreprocessFailure(PilotError):
    """The preprocess step failed."""

    code, retry, owner = 1356, False, Owner.PAYLOAD


class PostprocessFailure(PilotError):
    """The postprocess step failed."""

    code, retry, owner = 1357, False, Owner.PAYLOAD


class BadXml(PilotError):
    """An XML file cannot be read."""

    code, retry, owner = 1247, False, Owner.PAYLOAD


class DatabaseReleaseFailure(PilotError):
    """The database release could not be set up."""

    code, retry, owner = 1339, False, Owner.SITE


class Frontier(PilotError):
    """The database proxy failed."""

    code, retry, owner = 1369, True, Owner.SITE
