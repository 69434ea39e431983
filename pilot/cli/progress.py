"""The bar that a person at a terminal sees while files move."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pilot.core.transfer import Attempt, Transfer


@contextmanager
def progress(
    transfers: Sequence[Transfer],
) -> Iterator[tuple[Callable[[int], None] | None, Callable[[Attempt], None] | None]]:
    """Who wants to hear of bytes and of attempts: a bar on a terminal, nobody elsewhere.

    Its whole length is the sum of all sizes, where the list or the local disk tells each of them.
    """
    if sys.stderr is None or not sys.stderr.isatty():
        yield None, None
        return
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

    sizes = [_size(transfer) for transfer in transfers]
    total = None if None in sizes else float(sum(size or 0 for size in sizes))
    columns = (
        TextColumn("{task.fields[done]} of {task.fields[files]} files"), BarColumn(), DownloadColumn(),
        TransferSpeedColumn(), TimeRemainingColumn(),
    )  # fmt: skip
    with Progress(*columns, console=Console(stderr=True), transient=True) as bars:
        files = sum(len(transfer.targets) for transfer in transfers)
        task = bars.add_task("", total=total, done=0, files=files)
        done = 0

        def attempted(attempt: Attempt) -> None:
            nonlocal done
            if attempt.failure is None:
                done += 1
                bars.update(task, done=done)

        yield lambda count: bars.advance(task, count), attempted


def _size(transfer: Transfer) -> int | None:
    """Bytes that are going to pass for a file, to all its targets; None if nobody here knows."""
    from pilot.lib.files import local_path

    size = transfer.size
    if size is None:
        for source in transfer.sources:
            path = local_path(source.url)
            try:
                size = None if path is None else os.stat(path).st_size
            except OSError:
                continue
            break
    return None if size is None else size * len(transfer.targets)
