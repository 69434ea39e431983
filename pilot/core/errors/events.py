"""Errors of event service jobs."""

from pilot.core.errors.base import Owner, PilotError


class EventServiceRecoverable(PilotError):
    """The event service job failed and may be tried again."""

    code, retry, owner = 1224, True, Owner.PAYLOAD


class OutcomesNotStored(EventServiceRecoverable):
    """The server answers but does not store what became of event ranges."""

    # The number is its parent's: others can work the ranges through again.


class EventServiceFatal(PilotError):
    """The event service job failed for good."""

    code, retry, owner = 1228, False, Owner.PAYLOAD


class NoEvents(PilotError):
    """There are no events left for the job."""

    code, retry, owner = 1238, False, Owner.SERVER


class MessageHandlingFailure(PilotError):
    """A message of the payload could not be understood."""

    code, retry, owner = 1240, False, Owner.PAYLOAD
