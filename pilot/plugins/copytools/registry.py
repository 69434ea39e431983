"""The copy tools by name and by URL scheme: one line for each tool."""

from __future__ import annotations

from typing import NamedTuple

from pilot.lib.registry import Registry
from pilot.plugins.copytools.base import CopyTool

_HERE = "pilot.plugins.copytools."
_WEB = "http https dav davs webdav webdavs"


class Entry(NamedTuple):
    """Where a tool is, the URL schemes that it is the first choice for, and the others that it can move too.

    `*` stands for every scheme.
    """

    place: str
    first: str = ""
    also: str = ""


TOOLS: dict[str, Entry] = {
    "copy": Entry(_HERE + "copy:Copy", "file"),
    "http": Entry(_HERE + "http:Http", _WEB),
    "xrootd": Entry(_HERE + "xrootd:Xrootd", "root roots xroot xroots"),
    "s3": Entry(_HERE + "s3:S3", "s3 s3s"),
    "objectstore": Entry(_HERE + "objectstore:ObjectStore", "", "s3 s3s"),
    "gs": Entry(_HERE + "gs:Gs", "gs"),
    "gfal": Entry(_HERE + "gfal:Gfal", "srm gsiftp sshftp", f"root roots {_WEB}"),
    "rucio": Entry(_HERE + "rucio:Rucio", "rucio", "*"),
    "lsm": Entry(_HERE + "lsm:Lsm", "", "*"),
    "dockerimage": Entry(_HERE + "images:DockerImage", "docker"),
    "sifimage": Entry(_HERE + "images:SifImage", "shub library", "docker"),
    "symlink": Entry(_HERE + "links:Symlink", "", "file"),
    "blindlink": Entry(_HERE + "links:BlindLink", "", "file"),
    "reflink": Entry(_HERE + "copy:Reflink", "", "file"),
    "hardlink": Entry(_HERE + "links:Hardlink", "", "file"),
    "move": Entry(_HERE + "move:MoveFile", "", "file"),
    "chaos": Entry(_HERE + "chaos:Chaos", "", "*"),
}

#: Names by which queues call our tools. `auto` links what is local and leaves the rest to the scheme.
ALIASES = {
    "auto": "symlink",
    "cp": "copy",
    "ln": "symlink",
    "mv": "move",
    "xrdcp": "xrootd",
    "gfalcopy": "gfal",
    "gfal-copy": "gfal",
}


def registry() -> Registry[CopyTool]:
    """The room's registry; other distributions name theirs in the entry point group `pilot.copytools`."""
    return Registry("pilot.copytools", {name: entry.place for name, entry in TOOLS.items()})


def by_scheme() -> dict[str, str]:
    """URL scheme -> name of the tool that is the first choice for it."""
    return {scheme: name for name, entry in TOOLS.items() for scheme in entry.first.split()}


def abilities() -> dict[str, frozenset[str]]:
    """Name of a tool -> the URL schemes that it can move; `*` among them means every one."""
    return {name: frozenset((*entry.first.split(), *entry.also.split())) for name, entry in TOOLS.items()}
