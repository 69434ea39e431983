"""How files are moved: the settings of the staging engine and of the copy tools, with their defaults."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec


class StagingSettings(msgspec.Struct, frozen=True, omit_defaults=True):
    """The rules that are the same for every copy tool.

    `max_attempts` counts the tries per source. `threads` 0 means: as many as pay for what is to be moved.
    `host_limit` caps the transfers that run at once against one remote host. `checksums` are computed of every
    file beside those that are expected of it.
    A file may take `base_limit_s` + size / `min_rate` (bytes/s), at most `max_limit_s`; it is given up when not a
    byte moves for `stall_s`. The pause before a source is tried again is `backoff_s`, doubled each time up to
    `backoff_max_s`, with jitter; nothing is tried again when `deadline_s` (0: none) has passed.
    Work stops early once more than `early_stop_after` files are settled and more than `early_stop_share` of them
    failed (0: never), and after the first failure unless `continue_on_error`.
    """

    max_attempts: int = 2
    threads: int = 0
    host_limit: int = 8
    checksums: tuple[str, ...] = ("adler32",)
    verify: bool = True
    fsync: bool = False
    overwrite: bool = True
    continue_on_error: bool = True
    early_stop_after: int = 0
    early_stop_share: float = 0.8
    base_limit_s: float = 400.0
    min_rate: int = 1_000_000
    max_limit_s: float = 10_800.0
    stall_s: float = 120.0
    backoff_s: float = 1.0
    backoff_max_s: float = 60.0
    deadline_s: float = 0.0

    def limit_s(self, size: int | None) -> float:
        """The longest time in s that one file of `size` bytes may take."""
        return min(self.base_limit_s + (size or 0) / self.min_rate, self.max_limit_s)


class ToolSettings(msgspec.Struct, frozen=True, omit_defaults=True):
    """What copy tools are told of the machine and of their credentials.

    `environment` is what child processes get. `options` holds the queue's words for single tools
    (`{"lsm": {"setup": "..."}}`). Credential files are paths; their content is read by the tool that needs it.
    `spool_dir` takes files on their way from one remote place to another (empty: the system's place for such files).
    `object_keys` gives the keys that the job server keeps for a place in an object store (`host:port/bucket/key`), None
    for a place without; it raises `PilotError`.
    """

    environment: dict[str, str] = {}
    options: dict[str, dict[str, str]] = {}
    connect_s: float = 20.0
    stall_s: float = 120.0
    proxy_file: str = ""
    token_file: str = ""
    ca_path: str = ""
    verify_tls: bool = True
    spool_dir: str = ""
    object_keys: Callable[[str], Any] | None = None
