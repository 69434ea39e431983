"""Where the servers live: what is kept between runs, what one run writes, and who uses what."""

import fcntl
import hashlib
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).resolve().parents[3]

Endpoint = dict[str, Any]


class ServiceFailed(Exception):
    """A server could not be installed or started; the text says which and shows the end of its log."""


@dataclass(frozen=True)
class Ground:
    """The folders of all services of one checkout."""

    cache: Path
    """Environments, root file systems: made once, kept."""
    run: Path
    """A folder a running service, emptied at each start."""

    def folder(self, name: str) -> Path:
        """The run folder of one service; also what marks its processes (see `process.MARK`)."""
        return self.run / name

    def make(self, name: str, *parts: str, owner: str | None = None, mode: int = 0o755) -> Path:
        """Makes a folder under a service's run folder, readable by servers that run as another user."""
        path = self.folder(name).joinpath(*parts)
        path.mkdir(parents=True, exist_ok=True)
        path.chmod(mode)
        if owner:
            shutil.chown(path, owner, owner)
        return path

    def endpoint(self, name: str) -> Endpoint:
        """The endpoint of a running service; ServiceFailed if it is not up."""
        found: Endpoint | None = read_json(self.folder(name) / "endpoint.json")
        if found is None:
            raise ServiceFailed(f"{name} is not running: no endpoint in {self.folder(name)}")
        return found

    @contextmanager
    def locked(self, name: str) -> Iterator[None]:
        """Alone in this checkout while a service is installed, started or stopped; released by the kernel on death."""
        with _alone(self.run / f"{name}.lock"):
            yield

    @contextmanager
    def building(self, name: str) -> Iterator[None]:
        """Alone among all checkouts that share what is kept, while some of it is made."""
        with _alone(self.cache / f"{name}.lock"):
            yield


@contextmanager
def _alone(path: Path) -> Iterator[None]:
    with open(path, "a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def prepared(base: Path | None = None) -> Ground:
    """Makes the folders. `base` defaults to PILOT_SERVICES, then to `.services` in this checkout; what is kept
    may be shared by several checkouts with PILOT_SERVICES_CACHE.

    `run` is a link to a folder under /var/tmp: servers that drop root must reach it however private the checkout is,
    a unix socket's path holds 107 bytes, and podman cleans up nothing whose state has a path of more than 50. Users
    other than root read what is kept, too: in a private checkout `cache` is such a link as well."""
    base = (base or Path(os.environ.get("PILOT_SERVICES") or REPOSITORY / ".services")).absolute()
    base.mkdir(parents=True, exist_ok=True)
    base.chmod(0o755)
    aside = Path("/var/tmp") / f"pilot-{hashlib.sha256(str(base).encode()).hexdigest()[:10]}"
    cache = Path(os.environ.get("PILOT_SERVICES_CACHE") or base / "cache")
    if cache.parent == base and not cache.is_dir() and not _open_to_all(base):
        _linked(cache, aside.with_suffix(".cache"))
    cache.mkdir(parents=True, exist_ok=True)
    _linked(base / "run", aside)
    return Ground(cache=cache.resolve(), run=aside.resolve())


def _open_to_all(path: Path) -> bool:
    return all(parent.stat().st_mode & 0o001 for parent in (path, *path.parents))


def _linked(link: Path, target: Path) -> None:
    """Makes the folder `target` and the link to it, also where a link copied from another checkout stands."""
    target.mkdir(exist_ok=True)
    target.chmod(0o755)
    if link.is_symlink() and link.readlink() != target:
        link.unlink()
    try:
        link.symlink_to(target)
    except FileExistsError:
        pass


def read_json(path: Path) -> Any:
    """The content, or None where there is no file or a dead writer left half of one."""
    try:
        return json.loads(path.read_text())
    except (FileNotFoundError, ValueError):
        return None


def write_json(path: Path, value: object) -> None:
    """Replaces the file in one step, so that a reader never sees half of it."""
    aside = path.with_name(path.name + ".new")
    aside.write_text(json.dumps(value, indent=1))
    aside.replace(path)
