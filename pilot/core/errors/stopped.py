"""Errors of a job that was told to stop: by the server, a signal or the user."""

from pilot.core.errors.base import Owner, PilotError


class PandaKill(PilotError):
    """The job was killed by the server."""

    code, retry, owner = 1144, False, Owner.SERVER


class KillSignal(PilotError):
    """The job was ended by a signal."""

    code, retry, owner = 1200, False, Owner.SITE


class Sigterm(PilotError):
    """The job was ended by SIGTERM."""

    code, retry, owner = 1201, False, Owner.SITE


class Sigquit(PilotError):
    """The job was ended by SIGQUIT."""

    code, retry, owner = 1202, False, Owner.SITE


class Sigsegv(PilotError):
    """The job was ended by SIGSEGV."""

    code, retry, owner = 1203, False, Owner.SITE


class Sigxcpu(PilotError):
    """The job was ended by SIGXCPU."""

    code, retry, owner = 1204, False, Owner.SITE


class UserKill(PilotError):
    """The job was killed by its user."""

    code, retry, owner = 1205, False, Owner.USER


class Sigbus(PilotError):
    """The job was ended by SIGBUS."""

    code, retry, owner = 1206, False, Owner.SITE


class Sigusr1(PilotError):
    """The job was ended by SIGUSR1."""

    code, retry, owner = 1207, False, Owner.SITE


class Sigint(PilotError):
    """The job was ended by SIGINT."""

    code, retry, owner = 1208, False, Owner.SITE


class ExecutedCloneJob(PilotError):
    """Another clone of the job has been executed already."""

    code, retry, owner = 1234, False, Owner.SERVER


class FailedByServer(PilotError):
    """The job was failed by the server."""

    code, retry, owner = 1236, False, Owner.SERVER


class KillPayload(PilotError):
    """A file asked for the payload to be ended."""

    code, retry, owner = 1363, False, Owner.SITE


class Preemption(PilotError):
    """The job was pre-empted."""

    code, retry, owner = 1379, False, Owner.SITE
