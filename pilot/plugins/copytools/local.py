"""What all tools for local files share: errors of the system as faults, and the questions other than moving."""

from __future__ import annotations

import os

from pilot.core.staging import ToolSettings
from pilot.lib.cancel import Cancel
from pilot.lib.files import discard, local_path
from pilot.plugins.copytools.base import Fault, Found, ToolError, source_fault, target_fault


def path_of(url: str) -> str:
    """The local path of a URL. Raises `ToolError` for one that is not local."""
    path = local_path(url)
    if path is None:
        raise ToolError(Fault.UNSUPPORTED, f"{url} is not a local file")
    return path


class LocalTool:
    """The part of a copy tool for local files that is not moving."""

    def __init__(self, settings: ToolSettings) -> None:
        self.settings = settings

    def stat(self, url: str, cancel: Cancel | None = None) -> Found:
        """Size and kind of a local path."""
        path = path_of(url)
        try:
            found = os.stat(path)
        except OSError as error:
            raise source_fault(error, path) from error
        return Found(size=found.st_size, directory=(found.st_mode & 0o170000) == 0o040000)

    def remove(self, url: str, recursive: bool = False) -> None:
        """Delete a file or, with `recursive`, a tree; links are removed, not followed."""
        path = path_of(url)
        try:
            if recursive and os.path.isdir(path) and not os.path.islink(path):
                import shutil

                shutil.rmtree(path)
            else:
                discard(path)
        except NotADirectoryError:
            # What should be above it is a file: then it is not there.
            pass
        except OSError as error:
            raise target_fault(error, path) from error

    def make_directory(self, url: str) -> None:
        """Make a directory and those above it."""
        path = path_of(url)
        try:
            os.makedirs(path, exist_ok=True)
        except OSError as error:
            raise target_fault(error, path) from error

    def close(self) -> None:
        """Nothing is held."""
