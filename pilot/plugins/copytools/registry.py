"""The copy tools by name and by URL scheme: one line for each tool."""

from __future__ import annotations

from pilot.lib.registry import Registry
from pilot.plugins.copytools.base import CopyTool

#: name -> (where it is, the URL schemes it is the first choice for)
_HERE = "pilot.plugins.copytools."
TOOLS: dict[str, tuple[str, str]] = {
    "copy": (_HERE + "copy:Copy", "file"),
    "http": (_HERE + "http:Http", "http https dav davs webdav webdavs"),
    "symlink": (_HERE + "links:Symlink", "symlink"),
    "chaos": (_HERE + "chaos:Chaos", ""),
    "hardlink": (_HERE + "links:Hardlink", ""),
    "move": (_HERE + "move:MoveFile", "moveto"),
}

#: Names by which queues call our tools.
ALIASES = {"cp": "copy", "ln": "symlink", "reflink": "hardlink"}


def registry() -> Registry[CopyTool]:
    """The room's registry; other distributions name theirs in the entry point group `pilot.copytools`."""
    return Registry("pilot.copytools", {name: place for name, (place, _) in TOOLS.items()})


def by_scheme() -> dict[str, str]:
    """URL scheme -> name of the tool that is the first choice for it."""
    return {scheme: name for name, (_, schemes) in TOOLS.items() for scheme in schemes.split()}
