"""Whether two URLs mean one place."""

from __future__ import annotations

import os

from pilot.lib.files import local_path


class Placed:
    """One name for each place, however its URL is spelt: links on the way to a local file are followed."""

    def __init__(self) -> None:
        self._real: dict[str, str] = {}

    def __call__(self, url: str) -> str:
        path = local_path(url)
        if path is None:
            scheme, colon, rest = url.partition("://")
            host, slash, below = rest.partition("/")
            return f"{scheme.lower()}{colon}{host.lower()}{slash}{below}"
        head, _, name = path.rpartition("/")
        if name in ("", ".", ".."):
            return os.path.realpath(path)
        real = self._real.get(head)
        if real is None:
            real = self._real[head] = os.path.realpath(head or "/")
        return f"{real}/{name}"
