"""Errors of stage-in and stage-out: what could not be brought here or sent away."""

from pilot.core.errors.base import Owner, PilotError


class NoLocalSpace(PilotError):
    """The local disk is too small or full."""

    code, retry, owner = 1098, False, Owner.SITE


class StageInFailed(PilotError):
    """An input file could not be staged in."""

    code, retry, owner = 1099, True, Owner.SITE


class ReplicaNotFound(PilotError):
    """No replica of an input file was found."""

    code, retry, owner = 1100, False, Owner.SITE


class NoSuchFile(PilotError):
    """A file does not exist."""

    code, retry, owner = 1103, False, Owner.SITE


class NoStorage(PilotError):
    """No storage is defined for the activity."""

    code, retry, owner = 1133, False, Owner.SITE


class StageOutFailed(PilotError):
    """An output file could not be staged out."""

    code, retry, owner = 1137, True, Owner.SITE


class PutMd5Mismatch(PilotError):
    """The md5 checksum of a file at its destination differs from the one sent."""

    code, retry, owner = 1141, True, Owner.SITE


class GetMd5Mismatch(PilotError):
    """The md5 checksum of an input file differs from the expected one."""

    code, retry, owner = 1145, False, Owner.SITE


class StageInTimeout(PilotError):
    """Stage-in took too long."""

    code, retry, owner = 1151, True, Owner.SITE


class StageOutTimeout(PilotError):
    """Stage-out took too long."""

    code, retry, owner = 1152, True, Owner.SITE


class MissingOutputFile(PilotError):
    """The payload did not write a declared output file."""

    code, retry, owner = 1165, False, Owner.PAYLOAD


class InputsTooLarge(PilotError):
    """The input files together are too large."""

    code, retry, owner = 1168, False, Owner.USER


class GetAdMismatch(PilotError):
    """The size or checksum of an input file is not the expected one."""

    code, retry, owner = 1171, False, Owner.SITE


class PutAdMismatch(PilotError):
    """The size or checksum of an output file is not the expected one."""

    code, retry, owner = 1172, True, Owner.SITE


class GetGlobusSysError(PilotError):
    """A Globus system error occurred during stage-in."""

    code, retry, owner = 1180, True, Owner.SITE


class PutGlobusSysError(PilotError):
    """A Globus system error occurred during stage-out."""

    code, retry, owner = 1181, True, Owner.SITE


class LfnTooLong(PilotError):
    """A logical file name is longer than 255 bytes."""

    code, retry, owner = 1190, False, Owner.USER


class ZeroFileSize(PilotError):
    """A file has size zero."""

    code, retry, owner = 1191, False, Owner.SITE


class FileExists(PilotError):
    """The destination file exists already."""

    code, retry, owner = 1221, False, Owner.SITE


class ChecksumNotSupported(PilotError):
    """The storage cannot tell a checksum."""

    code, retry, owner = 1242, False, Owner.SITE


class NoStorageProtocol(PilotError):
    """No protocol is defined for the storage endpoint."""

    code, retry, owner = 1313, False, Owner.SITE


class UnknownChecksumType(PilotError):
    """The checksum type is unknown."""

    code, retry, owner = 1314, False, Owner.USER


class RucioServiceUnavailable(PilotError):
    """The Rucio service is not available."""

    code, retry, owner = 1316, True, Owner.SERVER


class UnknownCopyTool(PilotError):
    """The copy tool is unknown."""

    code, retry, owner = 1323, False, Owner.SITE


class StorageServiceNotAvailable(PilotError):
    """The storage service is not available."""

    code, retry, owner = 1324, True, Owner.SITE


class RucioLocationFailed(PilotError):
    """Rucio could not tell the location of the storage."""

    code, retry, owner = 1321, True, Owner.SERVER


class RucioListReplicasFailed(PilotError):
    """Rucio could not list the replicas."""

    code, retry, owner = 1322, True, Owner.SERVER


class NoReplicas(PilotError):
    """No replica is left after filtering."""

    code, retry, owner = 1326, False, Owner.SITE


class UnreachableNetwork(PilotError):
    """The network is unreachable."""

    code, retry, owner = 1327, True, Owner.SITE


class NonDeterministicStorage(PilotError):
    """The path of a file cannot be built for a non-deterministic storage."""

    code, retry, owner = 1329, False, Owner.SITE


class MissingInputFile(PilotError):
    """An input file is missing on the storage."""

    code, retry, owner = 1331, False, Owner.SITE


class NoRemoteSpace(PilotError):
    """The remote storage is full."""

    code, retry, owner = 1333, False, Owner.SITE


class StageInAuthenticationFailure(PilotError):
    """Authentication with the storage failed during stage-in."""

    code, retry, owner = 1338, False, Owner.SITE


class XrdcpError(PilotError):
    """xrdcp reported a server error."""

    code, retry, owner = 1362, True, Owner.SITE


class MissingCredentials(PilotError):
    """There are no credentials for the storage that can be used."""

    code, retry, owner = 1364, False, Owner.SITE


class ChecksumCalculationFailure(PilotError):
    """The checksum of a file could not be calculated."""

    code, retry, owner = 1366, False, Owner.SITE


class BadOutputFileName(PilotError):
    """A file name has illegal characters."""

    code, retry, owner = 1371, False, Owner.USER


class StageOutAuthenticationFailure(PilotError):
    """Authentication with the storage failed during stage-out."""

    code, retry, owner = 1383, False, Owner.SITE


class RemoteFileCouldNotBeOpened(PilotError):
    """A remote input file could not be opened."""

    code, retry, owner = 1361, True, Owner.SITE


class RemoteFileOpenTimedOut(PilotError):
    """Opening a remote input file took too long."""

    code, retry, owner = 1368, True, Owner.SITE


class RemoteFileDictDoesNotExist(PilotError):
    """The result of the remote open test is missing."""

    code, retry, owner = 1374, False, Owner.PILOT


class LeaseTime(PilotError):
    """The lease of the stager ran out."""

    code, retry, owner = 1375, False, Owner.SITE
