"""What the runtimes say when they fail, and what it means (error numbers of protocol.md 6.2)."""

from __future__ import annotations

import re

from pilot.core.errors import (
    ApptainerNotInstalled,
    ContainerBindPointFailure,
    ContainerFailedUserNamespace,
    ContainerGeneralFailure,
    ContainerImageMountFailure,
    ContainerNewUserNamespace,
    ContainerNoLoopDevices,
    ContainerResourceUnavailable,
    ImageNotFound,
    NoLocalSpace,
    SingularityNotInstalled,
)
from pilot.plugins.containers.diagnose import Case, Family

_COMMON = (
    Case(ContainerResourceUnavailable, (r"resource temporarily unavailable", r"\bEAGAIN\b")),
    Case(ContainerNoLoopDevices, (r"no (more )?(available )?loop devices?", r"failed to find loop device")),
    Case(NoLocalSpace, (r"(?<!unshare failed: )no space left on device",)),
)

#: unshare, bwrap, squashfuse and the start of an image. A user namespace too many is "no space" to the kernel.
BOX = Family(
    codes=frozenset({1, 255}),
    speaker=re.compile(r"(bwrap|unshare|box|fuse|squashfuse|mount|mkdir): "),
    cases=(
        *_COMMON,
        Case(ContainerFailedUserNamespace, (r"unshare failed", r"[ug]id[_ ]?map", r"(new|user) namespace")),
        Case(ImageNotFound, (r"box: image .* does not exist", r"box: image .* no such file")),
        Case(ContainerImageMountFailure, (r"box: image .*(cannot be mounted|permission denied|is a directory)",)),
        Case(
            ContainerBindPointFailure,
            (r"can't (find source path|bind mount|mkdir|create file|get type of source)", r"can't make .*mount"),
        ),
    ),
    missing=ContainerGeneralFailure,
)

APPTAINER = Family(
    codes=frozenset({255}),
    speaker=re.compile(r"(\x1b\[\d+m)?(FATAL|ERROR|WARNING|ABORT)\s*:"),
    cases=(
        *_COMMON,
        Case(ContainerNewUserNamespace, (r"failed invoking the newuser namespace",)),
        Case(
            ContainerFailedUserNamespace,
            (
                r"(creat\w+|set ?up|requires?|no|disabled?) .{0,20}user namespaces?",
                r"user namespaces? (are |is )?(disabled|not)",
            ),
        ),
        Case(
            ContainerBindPointFailure,
            (
                r"not mounting requested bind point",
                r"destination \S+ doesn't exist in container",
                r"mount source \S+ doesn't exist",
                r"\bbind (path|point|mount)",
                r"while mounting (?!image)\S+: .*no such file",
                r"mount \S+->\S+ error: while mounting (?!image)",
            ),
        ),
        Case(
            ImageNotFound,
            (
                r"could not open image .*no such file",
                r"failed to retrieve path",
                r"image .*not found",
                r"manifest unknown",
                r"(unauthorized|denied|not found).*\buri\b",
                r"\buri\b.*(unauthorized|denied|not found|no such|authentication required)",
            ),
        ),
        Case(
            ContainerImageMountFailure,
            (
                r"error: while mounting",
                r"(while mounting|failed to mount) image",
                r"squashfuse",
                r"image format not recognized",
                r"unknown image format",
                r"failed to extract",
            ),
        ),
    ),
    missing=ApptainerNotInstalled,
)
SINGULARITY = APPTAINER._replace(missing=SingularityNotInstalled)

#: docker (through the SDK) and podman.
ENGINE = Family(
    codes=frozenset({125, 126, 127}),
    speaker=re.compile(r"(docker|podman|Error|Trying to pull|time=|cannot clone|WARN|ERRO)\b"),
    cases=(
        *_COMMON,
        Case(
            ImageNotFound,
            (
                r"image not known",
                r"no such image",
                r"(manifest|name) unknown",
                r"pull access denied",
                r"repository .*not found",
                r"did not resolve to an alias",
                r"reading manifest",
                r"requested access to the resource is denied",
                r"invalid reference format",
                r"unable to (find|copy|pull)",
                r"initializing source",
                r"unauthorized",
            ),
        ),
        Case(
            ContainerBindPointFailure,
            (
                r"bind source path",
                r"statfs .*no such file",
                r"error mounting",
                r"mounting .* to rootfs",
                r"invalid (mount|volume)",
                r"mount (point|path|source|destination)",
                r"duplicate mount",
            ),
        ),
        Case(ContainerFailedUserNamespace, (r"cannot clone", r"new[ug]idmap", r"user namespaces?", r"\bsub[ug]id")),
        Case(ContainerImageMountFailure, (r"(overlay|mount \w*|graph driver|layer)\b.*(fail|error|invalid|denied)",)),
    ),
    missing=ContainerGeneralFailure,
)
