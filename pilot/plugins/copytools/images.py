"""Container images as files: docker:// by docker or podman, shub:// and library:// by apptainer or singularity."""

from __future__ import annotations

import os
import re
from abc import abstractmethod
from collections.abc import Iterator, Sequence
from typing import ClassVar

from pilot.core.staging import ToolSettings
from pilot.lib.cancel import Cancel
from pilot.plugins.copytools.base import Ability, Fault, Found, Move, Moved, ToolError, Watch
from pilot.plugins.copytools.external import call, find_program
from pilot.plugins.copytools.gridwords import fault_of_move

_UNKNOWN = re.compile(r"manifest unknown|no such image|image not known|repository .* not found|404", re.IGNORECASE)

_NO_SERVICE = re.compile(r"connect to the docker daemon|docker daemon socket", re.IGNORECASE)


class _Images:
    """Fetches one image after the other, with the first of `programs` that is here and whose service answers."""

    ability: ClassVar[Ability] = Ability(put=False, removes=False, by_replica=True)
    programs: ClassVar[tuple[str, ...]] = ()

    def __init__(self, settings: ToolSettings) -> None:
        self.settings = settings

    def move(self, moves: Sequence[Move], watch: Watch) -> Iterator[Moved]:
        """One call, or two, of the program for each image."""
        for move in moves:
            watch.begin(move)
            try:
                if move.target[:1] != "/":
                    raise ToolError(Fault.UNSUPPORTED, f"{move.target}: images are only fetched")
                if not os.path.isdir(os.path.dirname(move.target)):
                    raise ToolError(Fault.NO_DIRECTORY, os.path.dirname(move.target))
                self._fetch(move, watch)
                yield Moved(size=os.stat(move.target).st_size)
            except ToolError as error:
                if error.fault in (Fault.CANCELLED, Fault.NO_TOOL):
                    raise
                yield Moved(fault=error.fault, detail=error.detail)
            except OSError as error:
                yield Moved(fault=Fault.CUT, detail=f"{move.source}: nothing came: {error.strerror}")

    @abstractmethod
    def _steps(self, move: Move) -> list[list[str]]:
        """The arguments of each call."""

    def _fetch(self, move: Move, watch: Watch) -> None:
        found = [path for name in self.programs if (path := find_program(name, self.settings.environment))]
        if not found:
            raise ToolError(Fault.NO_TOOL, f"neither {' nor '.join(self.programs)} is here")
        for program in found:
            try:
                for words in self._steps(move):
                    self._run([program, *words], move, watch)
                return
            except ToolError as error:
                if program == found[-1] or not _NO_SERVICE.search(error.detail):
                    raise

    def _run(self, argv: list[str], move: Move, watch: Watch) -> None:
        ran = call(self.settings, argv, watch)
        if ran.code:
            said = ran.last_line() or f"{os.path.basename(argv[0])} gave {ran.code}"
            if _UNKNOWN.search(ran.err):
                raise ToolError(Fault.MISSING, f"{move.source}: {said}")
            raise fault_of_move(said, move)

    def stat(self, url: str, cancel: Cancel | None = None) -> Found:
        """Registries are not asked: an image has no size before it is packed."""
        raise ToolError(Fault.UNSUPPORTED, f"{url}: images are only fetched")

    def remove(self, url: str, recursive: bool = False) -> None:
        """Images are only fetched."""
        raise ToolError(Fault.UNSUPPORTED, f"{url}: images are only fetched")

    def make_directory(self, url: str) -> None:
        """Images are only fetched."""
        raise ToolError(Fault.UNSUPPORTED, f"{url}: images are only fetched")

    def close(self) -> None:
        """Nothing is held."""


class DockerImage(_Images):
    """`docker://[registry/]name[:tag]` as an archive that `docker load` reads."""

    programs: ClassVar[tuple[str, ...]] = ("docker", "podman")

    def _steps(self, move: Move) -> list[list[str]]:
        name = move.source.partition("://")[2].lstrip("/")
        return [["pull", "--", name], ["save", "-o", move.target, "--", name]]


class SifImage(_Images):
    """What apptainer pulls (`docker://`, `shub://`, `library://`) as one SIF file."""

    programs: ClassVar[tuple[str, ...]] = ("apptainer", "singularity")

    def _steps(self, move: Move) -> list[list[str]]:
        return [["pull", "--force", "--allow-unauthenticated", move.target, move.source]]
