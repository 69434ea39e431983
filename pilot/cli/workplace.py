"""The work directory of `pilot run`: as named, the present one, or found on this node and removed at the end."""

from __future__ import annotations

import contextlib
import json
import logging
import os
from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click

from pilot.core.exitcodes import ExitCode
from pilot.core.settings import Settings

if TYPE_CHECKING:
    from pilot.lib.claims import WorkDirectory
    from pilot.lib.scratch import Place

BRAINDUMP = "pilot.braindump.json"
#: What wrappers look for where they started the pilot.
_FOR_WRAPPERS = "pandaIDs.out"
#: Where an exception that nobody expected is written down: it is kept where the pilot was started.
_TRACEBACKS = "pilot.log"
#: What a dead pilot left undone is kept for a later one of its queue for so long.
_KEPT_S = 3 * 86400.0
_INODES = 1000
_log = logging.getLogger("pilot.workdir")


class NoPlace(click.ClickException):
    """There is no room for a work directory."""

    exit_code = ExitCode.NO_SPACE


class NotMade(click.ClickException):
    """The work directory that is named cannot be made."""

    exit_code = ExitCode.MKDIR


@contextlib.contextmanager
def workplace(settings: Settings, environ: Mapping[str, str]) -> Iterator[tuple[Settings, Path]]:
    """The settings with the work directory, which nobody else uses meanwhile, and its path.

    One that was found is removed on every way out, unless there is work left in it for a later pilot. Raises
    `NotMade` and `NoPlace`, and `click.UsageError` when another pilot is at work there.
    """
    if settings.workdir or not settings.scratch:
        named = Path(settings.workdir or ".").absolute()
        try:
            named.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise NotMade(f"the work directory {named} cannot be made: {error.strerror}") from error
        with _only_pilot_in(named):
            yield settings, named
        return
    start, made = Path.cwd(), _found(settings, environ)
    path = Path(made.path)
    try:
        with _only_pilot_in(path):
            yield replace(settings, workdir=made.path, local_storage=settings.local_storage or f"{start}/storage"), path
    finally:
        for name in (_FOR_WRAPPERS, _TRACEBACKS):
            with contextlib.suppress(OSError):
                told = (path / name).read_bytes()
                with (start / name).open("ab") as file:
                    file.write(told)
        if _work_left(path):
            _log.warning("%s is left to the next pilot: there is work to be finished in it", path)
            made.leave()
        elif not made.remove():
            _log.warning("%s could not be removed; the next pilot will try again", path)


def _found(settings: Settings, environ: Mapping[str, str]) -> WorkDirectory:
    """A dead pilot's directory with work for us in it, else a new one; what dead pilots left otherwise is removed."""
    from pilot.lib import claims, scratch

    try:
        names = scratch.order_of(settings.scratch)
        need = scratch.need_bytes(settings.scratch_need, environ.get("PEGASUS_WN_TMP_MIN_SPACE", ""))
    except ValueError as error:
        raise click.UsageError(f"--scratch: {error}") from error
    for base in scratch.paths_of(environ, names):
        if made := claims.adopt(base, lambda path: _is_ours(Path(path), settings)):
            _log.info("%s: what a dead pilot left undone here is taken up", made.path)
            return made
        for gone in claims.reap(base, _is_kept):
            _log.info("removed %s, left by a pilot that died", gone)
    return _made(
        scratch.survey(environ, names, need, _INODES, partial(_reserved, environ), False), need, settings, environ
    )


def _made(places: list[Place], need: int, settings: Settings, environ: Mapping[str, str]) -> WorkDirectory:
    """A new one in the first place that will do, or the best. Raises `NoPlace`.

    Room is counted again, by one pilot at a time: another one may have set some aside for a moment.
    """
    from pilot.lib import claims, scratch

    def why_not(path: str) -> str:
        return scratch.survey({}, [path], need, _INODES, partial(_reserved, environ))[0].why

    reasons = {place.name: place.why for place in places if place.path}
    for place in places:
        if not place.fits:
            level = logging.INFO if place.path else logging.DEBUG
            _log.log(level, "no work directory by %s: %s %s", place.name, place.path, place.why)
    likely = [place for place in places if place.fits or place.tight]
    for place in sorted(likely, key=lambda place: place.rank) if settings.scratch_best else likely:
        try:
            return claims.make(place.path, need, partial(why_not, place.path), _INODES, claims_book(environ))
        except OSError as error:
            reasons[place.name] = error.strerror or str(error)
            if place.fits:
                _log.warning("no work directory by %s: %s: %s", place.name, place.path, reasons[place.name])
    told = "; ".join(f"{name}: {why}" for name, why in reasons.items())
    raise NoPlace(f"no work directory with {scratch.amount(need)} (--scratch-need): {told or 'no candidate is set'}")


def claims_book(environ: Mapping[str, str]) -> str:
    """Where this user's pilots on the node tell each other of their claims."""
    return environ.get("PILOT_NODE_CLAIMS") or f"/tmp/.pilot-claims-{os.getuid()}"


def _reserved(environ: Mapping[str, str], path: str) -> tuple[int, int]:
    from pilot.lib import claims

    return claims.reserved(path, claims_book(environ))


def _braindump(path: Path) -> dict[str, object]:
    try:
        found = json.loads((path / BRAINDUMP).read_bytes())
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _work_left(path: Path) -> bool:
    from pilot.db.left import unfinished_below

    return unfinished_below(str(_braindump(path).get("db") or path / "pilot.db"), path) > 0


def _is_ours(path: Path, settings: Settings) -> bool:
    """Whether a dead pilot's directory holds work that this pilot would report to the same place."""
    told = _braindump(path)
    db = str(Path(settings.db).absolute()) if settings.db else f"{path}/pilot.db"
    same = (told.get("queue"), told.get("source"), told.get("url"), told.get("db"))
    return same == (settings.queue, settings.source, settings.url, db) and _work_left(path)


def _is_kept(path: str, age_s: float) -> bool:
    """Whether a dead pilot's directory waits for a pilot of its own queue."""
    return age_s < _KEPT_S and _work_left(Path(path))


@contextlib.contextmanager
def _only_pilot_in(workdir: Path) -> Iterator[None]:
    """One pilot a work directory: a second one would take the first one's jobs for a dead pilot's."""
    import fcntl

    try:
        fd = os.open(workdir / ".pilot.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    except OSError as error:
        raise NotMade(f"the work directory {workdir} cannot be written: {error.strerror}") from error
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(fd)
        raise click.UsageError(f"another pilot is at work in {workdir}: give this one its own --workdir") from None
    try:
        yield
    finally:
        os.close(fd)
