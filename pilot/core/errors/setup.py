"""Errors before the payload: set-up, software, transforms, containers."""

from pilot.core.errors.base import Owner, PilotError


class SetupFailure(PilotError):
    """The set-up of the payload failed."""

    code, retry, owner = 1110, True, Owner.SITE


class NfsSqlite(PilotError):
    """sqlite cannot lock files on the network file system."""

    code, retry, owner = 1115, False, Owner.SITE


class ChmodTransform(PilotError):
    """The transform could not be made executable."""

    code, retry, owner = 1143, False, Owner.SITE


class TransformDownloadFailure(PilotError):
    """The transform could not be downloaded."""

    code, retry, owner = 1149, True, Owner.SERVER


class NoSoftwareDirectory(PilotError):
    """The software directory does not exist."""

    code, retry, owner = 1186, False, Owner.SITE


class MissingInstallation(PilotError):
    """The software release is not installed."""

    code, retry, owner = 1211, False, Owner.SITE


class NoReleaseFound(PilotError):
    """No candidate for the software release was found."""

    code, retry, owner = 1244, False, Owner.SITE


class NoUserTarball(PilotError):
    """The user's source archive could not be downloaded."""

    code, retry, owner = 1246, False, Owner.USER


class ContainerGeneralFailure(PilotError):
    """The container runtime failed."""

    code, retry, owner = 1306, False, Owner.SITE


class ContainerNoLoopDevices(PilotError):
    """The container runtime found no free loop device."""

    code, retry, owner = 1307, False, Owner.SITE


class ContainerBindPointFailure(PilotError):
    """The container runtime could not bind a directory."""

    code, retry, owner = 1308, False, Owner.SITE


class ContainerImageMountFailure(PilotError):
    """The container runtime could not mount the image."""

    code, retry, owner = 1309, False, Owner.SITE


class SingularityNotInstalled(PilotError):
    """Singularity is not installed."""

    code, retry, owner = 1325, False, Owner.SITE


class SetupFatal(PilotError):
    """The set-up raised a fatal exception."""

    code, retry, owner = 1334, False, Owner.SITE


class MissingUserCode(PilotError):
    """The user's code is gone from the server."""

    code, retry, owner = 1335, False, Owner.USER


class ContainerNewUserNamespace(PilotError):
    """The container runtime may not make a user namespace."""

    code, retry, owner = 1340, False, Owner.SITE


class ContainerFailedUserNamespace(PilotError):
    """The container runtime failed to make a user namespace."""

    code, retry, owner = 1345, False, Owner.SITE


class ContainerResourceUnavailable(PilotError):
    """The container runtime found a resource temporarily unavailable."""

    code, retry, owner = 1348, True, Owner.SITE


class ResourceUnavailable(PilotError):
    """A resource is temporarily unavailable."""

    code, retry, owner = 1344, True, Owner.SITE


class UnsupportedOs(PilotError):
    """The operating system of the node is not supported."""

    code, retry, owner = 1347, False, Owner.SITE


class MissingReleaseUnpacked(PilotError):
    """The unpacked release is missing."""

    code, retry, owner = 1358, False, Owner.SITE


class ImageNotFound(PilotError):
    """The container image was not found."""

    code, retry, owner = 1360, False, Owner.SITE


class ApptainerNotInstalled(PilotError):
    """Apptainer is not installed."""

    code, retry, owner = 1372, False, Owner.SITE


class CvmfsNotAlive(PilotError):
    """CVMFS does not answer."""

    code, retry, owner = 1377, True, Owner.SITE


class LsetupTimedOut(PilotError):
    """The software set-up took too long."""

    code, retry, owner = 1378, True, Owner.SITE


class QueueNotSetUpForContainers(PilotError):
    """The queue is not set up for containers."""

    code, retry, owner = 1384, False, Owner.SITE


class CommandTimedOut(PilotError):
    """A command took too long."""

    code, retry, owner = 1367, True, Owner.SITE


class NoCtypes(PilotError):
    """The ctypes module is missing."""

    code, retry, owner = 1365, False, Owner.SITE
