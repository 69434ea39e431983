"""The room of copy tools: how one file, or a list of files over one connection, gets from one place to another."""

from __future__ import annotations

import errno
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from enum import StrEnum
from typing import Any, NoReturn, Protocol

import msgspec

from pilot.core.staging import ToolSettings
from pilot.core.transfer import Checksum, Direction
from pilot.lib.cancel import Cancel
from pilot.lib.files import is_full


class Fault(StrEnum):
    """What a tool found wrong. The staging engine knows which error number that is and whether to try again."""

    MISSING = "missing"  #: the source does not exist
    DENIED = "denied"  #: the source may not be read
    REFUSED = "refused"  #: the target may not be written
    NO_SPACE = "no space"  #: the target is full
    NO_ROOM = "no room"  #: this machine has no room for what only passes through it
    EXISTS = "exists"  #: the target exists and may not be replaced
    NO_DIRECTORY = "no directory"  #: the target's directory cannot be made
    CORRUPT = "corrupt"  #: size or checksum are not the expected ones
    DAMAGED = "damaged"  #: what arrived is not what the source has
    CUT = "cut"  #: the source gave fewer or more bytes than it announced
    TIMEOUT = "timeout"  #: the time limit has passed
    STALLED = "stalled"  #: not a byte moved for too long
    NETWORK = "network"  #: no connection
    SERVICE = "service"  #: the server failed (5xx, internal error)
    CREDENTIAL = "credential"  #: no credential was found, or it cannot be read
    EXPIRED = "expired"  #: the credential has run out
    UNSUPPORTED = "unsupported"  #: the tool cannot do this at all
    NO_TOOL = "no tool"  #: the software behind the tool is not installed
    CANCELLED = "cancelled"  #: the caller asked to stop
    BROKEN = "broken"  #: anything else


class ToolError(Exception):
    """A fault of one file, with a line for a person. Never carries a secret.

    `wait_s`: how long the server asks to be left alone before the next try; 0: it does not.
    """

    def __init__(self, fault: Fault, detail: str = "", wait_s: float = 0.0) -> None:
        super().__init__(f"{fault}: {detail}" if detail else str(fault))
        self.fault = fault
        self.detail = detail
        self.wait_s = wait_s


def source_fault(error: OSError, path: str) -> ToolError:
    """The fault of a source that could not be opened or read."""
    if error.errno in (errno.ENOENT, errno.ENOTDIR):
        return ToolError(Fault.MISSING, path)
    if error.errno in (errno.ELOOP, errno.ENAMETOOLONG):
        return ToolError(Fault.MISSING, f"{path}: {error.strerror}")
    if error.errno in (errno.EISDIR, errno.ENXIO):
        return not_plain(path)
    if error.errno in (errno.EACCES, errno.EPERM):
        return ToolError(Fault.DENIED, f"{path}: {error.strerror}")
    return ToolError(Fault.BROKEN, f"{path}: {error.strerror}")


def not_plain(path: str) -> ToolError:
    """The fault of a directory, pipe, socket or device where a file should be."""
    return ToolError(Fault.UNSUPPORTED, f"{path} is not a plain file")


def target_fault(error: OSError, path: str) -> ToolError:
    """The fault of a target that could not be written."""
    if is_full(error):
        return ToolError(Fault.NO_SPACE, f"{path}: {error.strerror}")
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return ToolError(Fault.REFUSED, f"{path}: {error.strerror}")
    if error.errno == errno.EEXIST:
        return ToolError(Fault.EXISTS, path)
    if error.errno in (errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.ENAMETOOLONG, errno.ELOOP):
        return ToolError(Fault.NO_DIRECTORY, f"{path}: {error.strerror}")
    return ToolError(Fault.BROKEN, f"{path}: {error.strerror}")


class Move(msgspec.Struct, frozen=True, omit_defaults=True):
    """One file to move. An end that is local is an absolute path, a remote one a URL.

    `site` is the label of the site at the remote end: credentials may be its own. `size` and `checksums` are what the
    file must have, as far as known. `kinds` are the checksums that are wanted
    of it. `resume` says that a local target may hold the beginning of the file; `nameless` that the tool may write one
    without a name and hand back its descriptor instead (`Moved.descriptor`). A tool that `feeds` takes the local source
    from `feed` (a `pilot.lib.sharedread.Feed`) where there is one: other targets are fed from the same read.
    """

    source: str
    target: str
    lfn: str = ""
    scope: str = ""
    guid: str = ""
    dataset: str = ""
    rse: str = ""
    site: str = ""
    token: str = ""
    direction: Direction = Direction.OTHER
    size: int | None = None
    checksums: tuple[Checksum, ...] = ()
    kinds: tuple[str, ...] = ()
    resume: bool = False
    overwrite: bool = True
    fsync: bool = False
    nameless: bool = False
    feed: Any = None


class Moved(msgspec.Struct, frozen=True, omit_defaults=True):
    """What became of one `Move`. `checksums` (kind -> hex) are of the bytes that passed through the tool.

    `target` is set if the file lies elsewhere than asked for; `resumed` if it began with what an earlier try had left.
    `proven`: the storage has told that it has this very content; else the engine asks with `stat`.
    `descriptor` is of a local target that has no name yet: the engine gives it one, or closes it and it is gone.
    `kind`: with the faults CORRUPT and DAMAGED, which checksum did not fit, where the tool knows. `wait_s`: as of the
    `ToolError`.
    """

    size: int = 0
    checksums: dict[str, str] = {}
    checksum_seconds: float = 0.0
    target: str = ""
    resumed: bool = False
    proven: bool = False
    descriptor: int | None = None
    fault: Fault | None = None
    detail: str = ""
    kind: str = ""
    wait_s: float = 0.0


class Found(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a storage tells of a file: size in bytes, None if it does not say, and the checksums that it knows."""

    size: int | None = None
    checksums: dict[str, str] = {}
    directory: bool = False


class Ability(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a tool can do, as data: nobody probes.

    `hashes`: it reports the checksums of a `Move` from the pass that moves it; else the engine reads the local end.
    `lands`: it puts a local target whole under its final name itself; else the engine gives it a temporary name.
    `parallel`: how many calls at once pay for many files of one host. `batch`: how many files one call may take.
    `large`: files from this size on are worth a thread of their own.
    `feeds`: it can take a local source from `Move.feed`, and reports the checksums of what it took from there.
    `third_party`: it moves between two remote places. `blind`: what it makes may not be readable here.
    `by_replica`: queues that have it expect a catalogue to be asked where files lie. `catalogue`: it can be asked
    that (`ReplicaCatalogue`). `sets_up`: it reads the queue's set-up (option `setup`) itself.
    """

    get: bool = True
    put: bool = True
    feeds: bool = False
    third_party: bool = False
    blind: bool = False
    hashes: bool = False
    lands: bool = False
    resumes: bool = False
    removes: bool = True
    by_replica: bool = False
    catalogue: bool = False
    sets_up: bool = False
    parallel: int = 1
    batch: int = 1000
    large: int = 64 << 20


class Watch:
    """What a running tool tells of its progress, and where it hears that it must stop.

    A tool calls `begin` for each file, and `moved` whenever bytes have passed. A tool that blocks elsewhere (a child
    process, a socket) asks `cancel.calling(...)` to be woken, and keeps to `seconds_left`.
    """

    def __init__(
        self,
        cancel: Cancel,
        limit_s: Callable[[int | None], float],
        stall_s: float,
        on_bytes: Callable[[int], None] | None = None,
    ) -> None:
        self.cancel = cancel
        self.stall_s = stall_s
        self._limit_s = limit_s
        self._on_bytes = on_bytes
        self._end = float("inf")

    def begin(self, move: Move) -> None:
        """The next file starts now. Raises `ToolError` when the work has been cancelled."""
        self.begin_plain(move.size)

    def begin_plain(self, size: int | None = None) -> None:
        """The same for what is no move: a question, or several files at once."""
        if self.cancel.is_set():
            raise ToolError(Fault.CANCELLED)
        self._end = time.monotonic() + self._limit_s(size)

    def moved(self, count: int) -> None:
        """So many more bytes have passed. Raises `ToolError` when cancelled or out of time."""
        if self._on_bytes:
            self._on_bytes(count)
        if self.cancel.is_set():
            raise ToolError(Fault.CANCELLED)
        if time.monotonic() > self._end:
            self.late()

    def check(self) -> None:
        """Raise `ToolError` when the work has been cancelled."""
        if self.cancel.is_set():
            raise ToolError(Fault.CANCELLED)

    def late(self) -> NoReturn:
        """The file's time is over."""
        raise ToolError(Fault.TIMEOUT, "the time limit of the file has passed")

    @property
    def seconds_left(self) -> float:
        """What is left of the present file's time; never negative."""
        return max(0.0, self._end - time.monotonic())


class CopyTool(Protocol):
    """Moves files; no retry, no choice of source, no policy on checksums, no progress bars.

    Made once per pilot with `ToolSettings`; keeps connections. Threads: every method may be called from several
    threads at once, up to `ability.parallel`; `close` comes last. Making one is cheap: imports and connections
    happen with the first call.
    """

    def __init__(self, settings: ToolSettings) -> None: ...

    @property
    def ability(self) -> Ability:
        """A class attribute of every plugin."""

    def move(self, moves: Sequence[Move], watch: Watch) -> Iterator[Moved]:
        """Move the files in order and yield one `Moved` for each, in the same order, as soon as it is settled.

        A file that fails is yielded with its `fault` and the next one begins. Only when nothing more can work (no
        connection, no tool, cancelled) may a `ToolError` be raised: it stands for all files not yet yielded.
        On return a local target is complete or holds what arrived; a remote target is complete or absent.
        The directory of a local target is there; that of a remote one the tool makes if need be.
        Moving the same file again replaces the target.
        """

    def stat(self, url: str, cancel: Cancel | None = None) -> Found:
        """What the storage tells of a file. Raises `ToolError`: `MISSING` if there is none, `UNSUPPORTED` if it
        cannot be asked."""

    def remove(self, url: str, recursive: bool = False) -> None:
        """Delete a file, or with `recursive` a directory and all in it. What is not there is fine."""

    def make_directory(self, url: str) -> None:
        """Make a directory with those above it. One that exists is fine."""

    def close(self) -> None:
        """Let go of connections; safe to call twice."""


class ReplicaCatalogue(Protocol):
    """What a tool with `Ability.catalogue` does besides."""

    def replicas(
        self,
        dids: Sequence[str],
        schemes: Sequence[str],
        location: Mapping[str, Any],
        cancel: Cancel | None = None,
        expression: str = "",
    ) -> dict[str, dict[str, Any]]:
        """`scope:name` -> `size`, `sums` (kind -> hex) and `places` (`pfn`, `rse`, `type`, `priority`), nearest first.

        What the catalogue does not know is left out. `location` is our own place (`ip`, `fqdn`, `site`, `latitude`,
        `longitude`); only storages that Rucio's `expression` describes count, if there is one. Raises `ToolError`.
        """
