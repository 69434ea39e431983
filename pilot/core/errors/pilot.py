"""Errors of the pilot itself and of its talk with the server."""

from pilot.core.errors.base import Owner, PilotError


class GeneralError(PilotError):
    """An unspecified error occurred."""

    code, retry, owner = 1008, False, Owner.PILOT


class NotImplementedHere(PilotError):
    """The feature is not implemented."""

    code, retry, owner = 1300, False, Owner.PILOT


class UnknownException(PilotError):
    """An unexpected exception occurred in the pilot."""

    code, retry, owner = 1301, False, Owner.PILOT


class ConversionFailure(PilotError):
    """A value could not be understood."""

    code, retry, owner = 1302, False, Owner.SERVER


class FileHandlingFailure(PilotError):
    """A file could not be read or written."""

    code, retry, owner = 1303, False, Owner.SITE


class NotDefined(PilotError):
    """A required value is not defined."""

    code, retry, owner = 1311, False, Owner.PILOT


class NotSameLength(PilotError):
    """Lists that belong together differ in length."""

    code, retry, owner = 1312, False, Owner.SERVER


class ExceededMaxWaitTime(PilotError):
    """The maximum waiting time was exceeded."""

    code, retry, owner = 1317, False, Owner.PILOT


class CommunicationFailure(PilotError):
    """The server cannot be reached or does not answer properly."""

    code, retry, owner = 1318, True, Owner.SERVER


class InternalPilotProblem(PilotError):
    """The pilot met an internal problem."""

    code, retry, owner = 1319, False, Owner.PILOT


class LogFileCreationFailure(PilotError):
    """The log archive could not be made."""

    code, retry, owner = 1320, False, Owner.SITE


class JsonRetrievalTimeout(PilotError):
    """Fetching a JSON document took too long."""

    code, retry, owner = 1330, True, Owner.SERVER


class JobAlreadyRunning(PilotError):
    """The job is running already."""

    code, retry, owner = 1336, False, Owner.SERVER


class BadMemoryMonitorJson(PilotError):
    """The summary of the memory monitor is not valid."""

    code, retry, owner = 1337, False, Owner.PILOT


class StatFileProblem(PilotError):
    """A stat file of the kernel could not be read."""

    code, retry, owner = 1352, False, Owner.SITE


class NoSuchProcess(PilotError):
    """A process does not exist."""

    code, retry, owner = 1353, False, Owner.SITE


class CpuCalculationProblem(PilotError):
    """The CPU time could not be calculated."""

    code, retry, owner = 1354, False, Owner.PILOT


class LogCreationTimeout(PilotError):
    """Making the log archive took too long."""

    code, retry, owner = 1376, False, Owner.SITE


class NoJobsInPanda(PilotError):
    """The server has no jobs."""

    code, retry, owner = 1385, True, Owner.SERVER


class RequestRefused(CommunicationFailure):
    """The server refused the request."""

    # The number is its parent's: the server knows no finer one. Saying the same again does not help.
    retry = False


class ServerNotTrusted(CommunicationFailure):
    """The server's certificate could not be verified."""

    retry, owner = False, Owner.SITE
