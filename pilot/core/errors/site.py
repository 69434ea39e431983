"""Errors of the queue, the node and the credentials."""

from pilot.core.errors.base import Owner, PilotError


class QueuedataNotDownloaded(PilotError):
    """The queue data could not be fetched."""

    code, retry, owner = 1116, True, Owner.SERVER


class QueuedataNotOk(PilotError):
    """The queue data is not valid."""

    code, retry, owner = 1117, False, Owner.SITE


class NoProxy(PilotError):
    """There is no valid proxy."""

    code, retry, owner = 1163, False, Owner.SITE


class NoVomsProxy(PilotError):
    """The proxy has no valid VOMS part."""

    code, retry, owner = 1177, False, Owner.SITE


class MakeDirectory(PilotError):
    """A directory could not be made."""

    code, retry, owner = 1199, False, Owner.SITE


class BlackHole(PilotError):
    """The file system of the node is broken."""

    code, retry, owner = 1332, False, Owner.SITE


class BadQueueConfiguration(PilotError):
    """The queue is configured wrongly."""

    code, retry, owner = 1341, False, Owner.SITE


class MiddlewareImportFailure(PilotError):
    """A middleware module cannot be imported."""

    code, retry, owner = 1342, False, Owner.SITE


class PandaQueueNotActive(PilotError):
    """The PanDA queue is not active."""

    code, retry, owner = 1359, False, Owner.SITE


class VomsProxyAboutToExpire(PilotError):
    """The VOMS proxy is about to expire."""

    code, retry, owner = 1370, False, Owner.SITE


class CertificateHasExpired(PilotError):
    """The certificate or token has expired."""

    code, retry, owner = 1373, False, Owner.SITE


class ArcProxyFailure(PilotError):
    """The proxy could not be verified."""

    code, retry, owner = 1380, False, Owner.SITE


class ArcProxyLibraryFailure(PilotError):
    """The proxy verification library could not be loaded."""

    code, retry, owner = 1381, False, Owner.SITE


class ProxyTooShort(PilotError):
    """The remaining lifetime of the proxy is too short."""

    code, retry, owner = 1382, False, Owner.SITE


class PandaQueueNotOnline(PilotError):
    """The PanDA queue is not online."""

    code, retry, owner = 1386, False, Owner.SITE
