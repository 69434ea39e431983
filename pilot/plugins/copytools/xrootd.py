"""root:// and roots:// by `xrdcp`, many files over one connection; by the Python bindings where there is no xrdcp."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import ClassVar

from pilot.core.staging import ToolSettings
from pilot.lib.cancel import Cancel
from pilot.lib.checksum import LENGTHS
from pilot.lib.command import Ran
from pilot.lib.urls import shown
from pilot.plugins.copytools.base import Ability, CopyTool, Fault, Found, Move, Moved, ToolError, Watch
from pilot.plugins.copytools.external import Stream, ask, call, call_with, find_program
from pilot.plugins.copytools.webfile import open_source
from pilot.plugins.copytools.xrootd_environment import client_environment
from pilot.plugins.copytools.xrootd_words import fault_of, is_directory, job_faults, printed_sums

_KINDS = ("adler32", "crc32c", "md5", "crc32")


class Xrootd:
    """Files from and to XRootD servers.

    Option `how`: `xrdcp` or `package`; otherwise xrdcp where it is found.
    """

    ability: ClassVar[Ability] = Ability(feeds=True, parallel=2, batch=100, by_replica=True)

    def __init__(self, settings: ToolSettings) -> None:
        self.settings = settings
        self._package: CopyTool | None = None

    def _by_package(self) -> CopyTool | None:
        """The bindings as a tool, when they are to be used."""
        how = self.settings.options.get("xrootd", {}).get("how", "")
        if self._package is None and how != "xrdcp":
            if how != "package" and find_program("xrdcp", self.settings.environment):
                return None
            from pilot.plugins.copytools.xrootd_package import XrootdPackage

            self._package = XrootdPackage(self.settings)
        return self._package

    def move(self, moves: Sequence[Move], watch: Watch) -> Iterator[Moved]:
        """Files to fetch from one place go through one xrdcp; those to send one by one, each with its checksum."""
        if package := self._by_package():
            yield from package.move(moves, watch)
            return
        names = [os.path.basename(_parts(move.source)[1]) for move in moves]
        fetching = all(move.target[:1] == "/" for move in moves)
        directories = {os.path.dirname(move.target) for move in moves}
        if len(moves) > 1 and fetching and len(directories) == 1 and len(set(names)) == len(moves) and all(names):
            yield from self._fetch_many(moves, names, directories.pop(), watch)
            return
        for move in moves:
            watch.begin(move)
            try:
                if move.target[:1] == "/":
                    yield self._fetch(move, watch)
                else:
                    yield self._send(move, watch) if move.feed is None else self._send_fed(move, watch)
            except ToolError as error:
                if error.fault is Fault.CANCELLED:
                    raise
                yield Moved(fault=error.fault, detail=error.detail)

    def _fetch(self, move: Move, watch: Watch) -> Moved:
        kind = _kind(move)
        ran = self._xrdcp(["-f", "--cksum", f"{kind}:print"], [move.source], move.target, watch, [move.target])
        if ran.code:
            raise fault_of(ran.err + ran.out, put=False, url=move.source)
        sums = printed_sums(ran.out + ran.err, [move.target])
        return _arrived(move.target, kind, sums.get(move.target, ""))

    def _fetch_many(self, moves: Sequence[Move], names: list[str], directory: str, watch: Watch) -> Iterator[Moved]:
        """One call for all: xrdcp keeps the names of sources, so they come into a folder of their own first."""
        size = sum(move.size or 0 for move in moves)
        watch.begin(Move(moves[0].source, moves[0].target, size=size))
        kind = _kind(moves[0])
        folder = f"{moves[0].target}.d"
        paths = [os.path.join(folder, name) for name in names]
        try:
            os.mkdir(folder)
        except OSError as error:
            raise ToolError(Fault.NO_DIRECTORY, f"{directory}: {error.strerror}") from error
        try:
            words = ["-f", "--cksum", f"{kind}:print"]
            ran = self._xrdcp(words, [move.source for move in moves], folder + "/", watch, paths)
            sums = printed_sums(ran.out + ran.err, paths)
            faults = job_faults(ran.err + ran.out, len(moves))
            for number, (move, path) in enumerate(zip(moves, paths, strict=True), 1):
                if path in sums and not faults.get(number):
                    os.rename(path, move.target)
                    yield _arrived(move.target, kind, sums[path])
                else:
                    wrong = fault_of(faults.get(number) or ran.err + ran.out, put=False, url=move.source)
                    yield Moved(fault=wrong.fault, detail=wrong.detail)
        finally:
            _clear(folder)

    def _send(self, move: Move, watch: Watch) -> Moved:
        """Persist on successful close: what is cut off vanishes on the server. The server's checksum is compared."""
        try:
            size = os.stat(move.source).st_size
        except OSError as error:
            raise ToolError(Fault.MISSING, move.source) from error
        known = next((c for c in move.checksums if c.kind in _KINDS), None)
        words = ["--posc", *(["-f"] if move.overwrite else [])]
        compare = ["--cksum", f"{known.kind}:{known.value}"] if known else []
        ran = self._xrdcp([*words, *compare], [move.source], move.target, watch)
        text = ran.err + ran.out
        if ran.code and known and _no_checksums(text):
            known = None
            ran = self._xrdcp([*words, "-f"], [move.source], move.target, watch)
            text = ran.err + ran.out
        if ran.code:
            wrong = fault_of(text, put=True, url=move.target)
            if wrong.fault is Fault.DAMAGED:
                self.remove(move.target)
            raise wrong
        return Moved(size=size, proven=known is not None)

    def _send_fed(self, move: Move, watch: Watch) -> Moved:
        """From standard input, hashed on the way; the engine compares with what the server then says of the file."""
        source, size = open_source(move)
        stream = Stream(move, source, size, watch)
        argv = self._argv(["--posc", *(["-f"] if move.overwrite else [])], ["-"], move.target)
        host, path = _parts(move.target)
        clean = [self._program("xrdfs"), host, "rm", path] if move.overwrite else []
        try:
            ran = call_with(self.settings, argv, stream, watch, self._env(), clean)
            if ran.code:
                raise fault_of(ran.err + ran.out, put=True, url=move.target)
        except ToolError as error:
            if clean and stream.taken and error.fault not in (Fault.EXISTS, Fault.REFUSED):
                self._sweep(move.target)
            raise
        finally:
            os.close(source)
        return stream.moved()

    def _sweep(self, url: str) -> None:
        """Remove at once what the server would keep for a while; the failure before is what is told."""
        try:
            self.remove(url)
        except ToolError:
            pass

    def _xrdcp(
        self, words: Sequence[str], sources: Sequence[str], target: str, watch: Watch, growing: Sequence[str] = ()
    ) -> Ran:
        argv = self._argv(words, sources, target)
        return call(self.settings, argv, watch, growing, self._env())

    def _argv(self, words: Sequence[str], sources: Sequence[str], target: str) -> list[str]:
        if any(shown(url) != url for url in (*sources, target)):
            raise ToolError(Fault.UNSUPPORTED, "a URL with a secret in it cannot be given to xrdcp")
        ends = [source if source == "-" else _word(source) for source in sources]
        return [self._program("xrdcp"), "--nopbar", *words, *ends, _word(target)]

    def _program(self, name: str) -> str:
        return find_program(name, self.settings.environment) or name

    def stat(self, url: str, cancel: Cancel | None = None) -> Found:
        """Size by `xrdfs stat`, and the checksum that the server gives."""
        if package := self._by_package():
            return package.stat(url, cancel)
        host, path = _parts(url)
        told = self._xrdfs(host, cancel, "stat", path)
        if told.code:
            raise fault_of(told.err + told.out, put=False, url=url)
        size = re.search(r"^Size:\s*(\d+)", told.out, re.MULTILINE)
        directory = bool(re.search(r"^Flags:.*IsDir", told.out, re.MULTILINE))
        if directory:
            return Found(directory=True)
        sums = self._xrdfs(host, cancel, "query", "checksum", path).out.split()
        found = {}
        if len(sums) == 2 and sums[0].lower() in LENGTHS:
            found[sums[0].lower()] = sums[1].lower().zfill(8)
        return Found(int(size[1]) if size else None, found)

    def remove(self, url: str, recursive: bool = False) -> None:
        """`xrdfs rm`; with `recursive` all below first."""
        if package := self._by_package():
            package.remove(url, recursive)
            return
        host, path = _parts(url)
        if recursive and is_directory(self, url):
            listed = self._xrdfs(host, None, "ls", path).out.splitlines()
            base = url.split("//", 2)[0] + "//" + host + "/"
            for line in listed:
                if line.startswith("/"):
                    self.remove(base + line, True)
            ran = self._xrdfs(host, None, "rmdir", path)
        else:
            ran = self._xrdfs(host, None, "rm", path)
        if ran.code:
            error = fault_of(ran.err + ran.out, put=True, url=url)
            if error.fault is not Fault.MISSING:
                raise error

    def make_directory(self, url: str) -> None:
        """`xrdfs mkdir -p`."""
        if package := self._by_package():
            package.make_directory(url)
            return
        host, path = _parts(url)
        ran = self._xrdfs(host, None, "mkdir", "-p", path)
        if ran.code:
            error = fault_of(ran.err + ran.out, put=True, url=url)
            if error.fault is not Fault.EXISTS:
                raise error

    def _xrdfs(self, host: str, cancel: Cancel | None, *words: str) -> Ran:
        return ask(self.settings, [self._program("xrdfs"), host, *words], cancel, self._env())

    def _env(self) -> Mapping[str, str]:
        return client_environment(self.settings)

    def close(self) -> None:
        """Nothing is held but what the bindings hold."""
        if self._package is not None:
            self._package.close()


def _arrived(path: str, kind: str, value: str) -> Moved:
    try:
        size = os.stat(path).st_size
    except OSError as error:
        raise ToolError(Fault.CUT, f"{path}: {error.strerror}") from error
    return Moved(size=size, checksums={kind: value} if value else {})


def _kind(move: Move) -> str:
    """The checksum that xrdcp shall print: one that is wanted and that it knows."""
    return next((kind for kind in move.kinds if kind in _KINDS), "adler32")


def _no_checksums(text: str) -> bool:
    """Whether a server cannot tell checksums, or not of this kind."""
    return bool(re.search(r"\[3013\]|checksum.*(not supported|unsupported|not available)", text, re.IGNORECASE))


def _word(place: str) -> str:
    """A path or URL as xrdcp takes it: a path that looks like an option cannot be mistaken for one."""
    return place if place[:1] == "/" or "://" in place else f"./{place}"


def _parts(url: str) -> tuple[str, str]:
    """`host:port` and the path of a URL."""
    scheme, _, rest = url.partition("://")
    host, _, path = rest.partition("/")
    secure = "roots://" if scheme.lower() in ("roots", "xroots") else ""
    return secure + host, "/" + path.lstrip("/").partition("?")[0]


def _clear(folder: str) -> None:
    import shutil

    shutil.rmtree(folder, ignore_errors=True)
