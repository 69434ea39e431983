"""srm://, gsiftp:// and what else gfal2 knows: by its Python bindings in a process of their own, else by gfal-copy."""

from __future__ import annotations

import functools
import os
import shutil
import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, ClassVar

import msgspec

from pilot.core.staging import ToolSettings
from pilot.lib.cancel import Cancel
from pilot.lib.checksum import LENGTHS
from pilot.lib.command import run
from pilot.plugins.copytools.base import Ability, Fault, Found, Move, Moved, ToolError, Watch
from pilot.plugins.copytools.children import Children
from pilot.plugins.copytools.external import Stream, apart, ask, call, find_program
from pilot.plugins.copytools.gridwords import fault_of, fault_of_move
from pilot.plugins.copytools.webfile import open_source

_KINDS = ("adler32", "md5")


class Gfal:
    """Files from and to storages by gfal2.

    Options: `how` (`bindings` or `program`), `python` (one that imports gfal2; else this one or the PATH's).
    """

    ability: ClassVar[Ability] = Ability(feeds=True, parallel=2, batch=100, by_replica=True)

    def __init__(self, settings: ToolSettings) -> None:
        self.settings = settings
        self._words = settings.options.get("gfal", {})

    @functools.cached_property
    def _children(self) -> Children | None:
        """The bindings, if any Python has them; None: the program is to be used."""
        if self._words.get("how") == "program":
            return None
        env = {**self.settings.environment, **self._env()}
        for python in filter(None, (self._words.get("python"), sys.executable, shutil.which("python3"))):
            ran = run([python, "-c", "import gfal2"], env=env, cancel=Cancel(), limit_s=30.0)
            if ran.code == 0:
                return Children(python, "gfal_child.py", env)
        if self._words.get("how") == "bindings" or not find_program("gfal-copy", self.settings.environment):
            raise ToolError(Fault.NO_TOOL, "no Python here imports gfal2, and there is no gfal-copy")
        return None

    def move(self, moves: Sequence[Move], watch: Watch) -> Iterator[Moved]:
        """All files by one process, one after the other."""
        children = self._children
        if children is None:
            yield from self._by_program(moves, watch)
            return
        if len(moves) == 1 and moves[0].feed is not None:
            yield self._fed(children, moves[0], watch)
            return
        watch.begin_plain(sum(move.size or 0 for move in moves))
        jobs = [self._job(move, watch) for move in moves]
        here = [move.target for move in moves if move.target[:1] == "/"]
        for move, answer in zip(
            moves, children.ask(self._request("copy", jobs=jobs), len(jobs), watch, here), strict=True
        ):
            if answer.get("ok"):
                yield _arrived(move)
                continue
            wrong = _fault(answer, move)
            yield Moved(fault=wrong.fault, detail=wrong.detail)

    def _fed(self, children: Children, move: Move, watch: Watch) -> Moved:
        """One file, through the process's standard input."""
        watch.begin(move)
        source, size = -1, 0
        try:
            source, size = open_source(move)
            stream = Stream(move, source, size, watch)
            request = self._request("save", jobs=[{**self._job(move, watch), "size": size}])
            (answer,) = children.ask(request, 1, watch, stream=stream)
            if not answer.get("ok"):
                raise _fault(answer, move)
            return stream.moved()
        except ToolError as error:
            if error.fault is Fault.CANCELLED:
                raise
            return Moved(fault=error.fault, detail=error.detail)
        finally:
            if source >= 0:
                os.close(source)

    def _job(self, move: Move, watch: Watch) -> dict[str, Any]:
        return {
            "source": _url(move.source),
            "target": _url(move.target),
            "overwrite": move.overwrite,
            "timeout": max(1, int(min(watch.seconds_left, 10**6))),
        }

    def _by_program(self, moves: Sequence[Move], watch: Watch) -> Iterator[Moved]:
        """One after the other. gfal-copy reads them itself: gfal-save, which reads a stream, takes only text."""
        for move in moves:
            watch.begin(move)
            words = ["gfal-copy", "--parent", *(["--force"] if move.overwrite else [])]
            words += ["--timeout", str(max(1, int(min(watch.seconds_left, 10**6))))]
            try:
                sums = apart(move, watch) if move.feed is not None else {}
                growing = [move.target] if move.target[:1] == "/" else []
                ran = call(self.settings, [*words, _url(move.source), _url(move.target)], watch, growing, self._env())
                if ran.code:
                    raise _fault({"errno": ran.code, "message": ran.last_line()}, move)
                yield msgspec.structs.replace(_arrived(move), checksums=sums)
            except ToolError as error:
                if error.fault is Fault.CANCELLED:
                    raise
                yield Moved(fault=error.fault, detail=error.detail)

    def stat(self, url: str, cancel: Cancel | None = None) -> Found:
        """Size, and adler32 if the storage tells it."""
        if self._children is None:
            ran = ask(self.settings, ["gfal-sum", url, "ADLER32"], cancel, self._env())
            if ran.code:
                raise fault_of(ran.last_line(), False, url, ran.code)
            value = ran.out.split()[-1:] or [""]
            return Found(None, {"adler32": value[0].lower().zfill(8)} if value[0] else {})
        answer = self._children.question(self._request("stat", url=url), cancel, self.settings.stall_s)
        if not answer.get("ok"):
            raise fault_of(str(answer.get("message")), False, url, int(answer.get("errno") or 0))
        sums = {kind: value.lower().zfill(LENGTHS[kind]) for kind, value in answer["sums"].items()}
        return Found(None if answer["directory"] else answer["size"], sums, bool(answer["directory"]))

    def remove(self, url: str, recursive: bool = False) -> None:
        """Delete a file, or with `recursive` a directory and all in it."""
        self._deed(["gfal-rm", *(["-r"] if recursive else []), url], "remove", Fault.MISSING, url, recursive=recursive)

    def make_directory(self, url: str) -> None:
        """Make a directory and those above it."""
        self._deed(["gfal-mkdir", "-p", url], "mkdir", Fault.EXISTS, url)

    def _deed(self, words: Sequence[str], what: str, fine: Fault, url: str, **more: object) -> None:
        if self._children is None:
            ran = ask(self.settings, words, None, self._env())
            code, said = ran.code, ran.last_line()
        else:
            answer = self._children.question(self._request(what, url=url, **more), None, self.settings.stall_s)
            code, said = int(answer.get("errno") or 0), str(answer.get("message") or "")
        if code:
            wrong = fault_of(said, True, url, code)
            if wrong.fault is not fine:
                raise wrong

    def _request(self, what: str, **more: object) -> dict[str, Any]:
        proxy = self.settings.proxy_file
        strings = [("X509", "CERT", proxy), ("X509", "KEY", proxy)] if proxy else []
        return {"do": what, "options": {"strings": strings}, **more}

    def _env(self) -> Mapping[str, str]:
        words = {"X509_USER_PROXY": self.settings.proxy_file} if self.settings.proxy_file else {}
        if self.settings.ca_path and os.path.isdir(self.settings.ca_path):
            words["X509_CERT_DIR"] = self.settings.ca_path
        if self.settings.token_file:
            words["BEARER_TOKEN_FILE"] = self.settings.token_file
        return words

    def close(self) -> None:
        """End the processes that are kept."""
        if children := self.__dict__.get("_children"):
            children.close()


def _url(place: str) -> str:
    """A local path as a URL: gfal2 takes it as it stands, without undoing any quoting."""
    return f"file://{place}" if place[:1] == "/" else place


def _arrived(move: Move) -> Moved:
    here = move.target if move.target[:1] == "/" else move.source
    try:
        return Moved(size=os.stat(here).st_size)
    except OSError as error:
        return Moved(fault=Fault.CUT, detail=f"{here}: {error.strerror}")


def _fault(answer: Mapping[str, Any], move: Move) -> ToolError:
    return fault_of_move(str(answer.get("message") or ""), move, int(answer.get("errno") or 0))
