"""What the runtimes said when they failed, and the error it means.

The words are the forms that the programs' releases write; those for a missing image and a missing bind point were
seen in the system tests as well.
"""

from __future__ import annotations

import pytest

from pilot.core.job import Exit
from pilot.plugins.containers.diagnose import diagnose
from pilot.plugins.containers.words import APPTAINER, BOX, ENGINE, SINGULARITY

CASES = [
    (BOX, 1, "bwrap: Can't find source path /a: No such file or directory", 1308),
    (BOX, 1, "bwrap: Can't mkdir parents for /x/y: Read-only file system", 1308),
    (BOX, 1, "unshare: unshare failed: Operation not permitted", 1345),
    (BOX, 1, "unshare: unshare failed: No space left on device", 1345),
    (BOX, 1, "unshare: unshare failed: Resource temporarily unavailable", 1348),
    (BOX, 1, "bwrap: No permissions to create new namespace, likely because the kernel does not allow it", 1345),
    (BOX, 1, "bwrap: setting up uid map: Permission denied", 1345),
    (BOX, 1, "bwrap: execvp /bin/bash: No such file or directory", 1306),
    (BOX, 255, "box: image /i.sif: No such file or directory", 1360),
    (BOX, 255, "box: image /i dir does not exist", 1360),
    (BOX, 255, "box: image /i.sif cannot be mounted: neither SIF nor squashfs", 1309),
    (BOX, 127, "/bin/sh: 1: bwrap: not found", 1306),
    (
        APPTAINER,
        255,
        "FATAL:   could not open image /i.sif: failed to retrieve path for /i.sif: lstat: no such file or directory",
        1360,
    ),
    (APPTAINER, 255, "FATAL:   Unable to handle docker://r/x:1 uri: failed to get checksum: manifest unknown", 1360),
    (
        APPTAINER,
        255,
        "FATAL:   container creation failed: mount hook function failure: mount /a->/b error: "
        "while mounting /a: destination /b doesn't exist in container",
        1308,
    ),
    (APPTAINER, 255, "WARNING: Not mounting requested bind point (already mounted in container): /x", 1308),
    (
        APPTAINER,
        255,
        "FATAL:   container creation failed: mount /proc/self/fd/3->/var/session/rootfs error: while mounting image "
        "/proc/self/fd/3: failed to find loop device: could not attach image file: no loop devices available",
        1307,
    ),
    (
        APPTAINER,
        255,
        "FATAL:   container creation failed: mount /proc/self/fd/3->/rootfs error: while mounting image "
        "/proc/self/fd/3: kernel reported a bad superblock",
        1309,
    ),
    (APPTAINER, 255, "FATAL:   image format not recognized", 1309),
    (APPTAINER, 255, "ERROR  : Failed to create user namespace: Operation not permitted", 1345),
    (APPTAINER, 255, "ERROR  : Failed to create user namespace: user namespace disabled", 1345),
    (APPTAINER, 255, "ERROR: Failed invoking the NEWUSER namespace runtime: Invalid argument", 1340),
    (APPTAINER, 255, "ERROR  : Failed to fork: Resource temporarily unavailable", 1348),
    (APPTAINER, 255, "FATAL:   something that nobody has seen", 1306),
    (APPTAINER, 127, "bash: apptainer: command not found", 1372),
    (SINGULARITY, 127, "[Errno 2] No such file or directory: 'singularity'", 1325),
    (SINGULARITY, 127, "singularity: No such file or directory", 1325),
    (ENGINE, 125, "docker: No such image: nowhere/none:1", 1360),
    (ENGINE, 125, "Error: localhost/none: image not known", 1360),
    (ENGINE, 125, 'docker: invalid mount config for type "bind": bind source path does not exist: /absent', 1308),
    (ENGINE, 125, "Error: statfs /absent: no such file or directory", 1308),
    (ENGINE, 125, "Error: cannot set up namespace using /usr/bin/newuidmap: exit status 1", 1345),
    (ENGINE, 125, "docker: Error while fetching server API version: Connection refused", 1306),
]


@pytest.mark.parametrize(("family", "code", "words", "expected"), CASES, ids=lambda value: str(value)[:60])
def test_words_of_a_runtime_mean_an_error_number(family, code, words, expected) -> None:  # type: ignore[no-untyped-def]
    failure = diagnose(family, Exit(code=code), f"payload says something\n{words}\n")
    assert (failure and failure.code) == expected


@pytest.mark.parametrize("family", [BOX, APPTAINER, ENGINE], ids=["box", "apptainer", "engine"])
def test_what_a_payload_prints_is_not_taken_for_the_runtimes_words(family) -> None:  # type: ignore[no-untyped-def]
    words = "I/O: no such image, user namespace, bind point, mount error\n"
    for code in (0, 1, 2, 125, 127, 255):
        assert diagnose(family, Exit(code=code), words) is None
    assert diagnose(family, Exit(signal=9), "FATAL: x\nbwrap: x\ndocker: x") is None


def test_the_message_is_one_line_and_not_too_long() -> None:
    failure = diagnose(APPTAINER, Exit(code=255), "FATAL: a\nFATAL: " + "x" * 5000)
    assert failure is not None and "\n" not in failure.message and len(failure.message) < 500
