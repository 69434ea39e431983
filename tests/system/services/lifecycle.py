"""Install, start and stop of services: order, locks, what a killed run left behind, who still uses what."""

import fcntl
import os
import secrets
import shutil
import subprocess
import time
from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from importlib import import_module
from pathlib import Path
from typing import Protocol, cast

from tests.system.services import packages, process, venvs
from tests.system.services.ground import Endpoint, Ground, ServiceFailed, read_json, write_json
from tests.system.services.registry import SERVICES

ATTEMPTS = 3


class Service(Protocol):
    """What a service's module provides; the contract stands in the package's docstring."""

    NEEDS: tuple[str, ...]
    PACKAGES: tuple[str, ...]

    def install(self, ground: Ground) -> None: ...
    def start(self, ground: Ground) -> Endpoint: ...


def service(name: str) -> Service:
    """The module of a service; ServiceFailed names the known ones."""
    if name not in SERVICES:
        raise ServiceFailed(f"no service {name}; there are {' '.join(sorted(SERVICES))}")
    return cast(Service, import_module(f"{__package__}.{SERVICES[name]}"))


def with_needs(names: Iterable[str]) -> list[str]:
    """These services and all that they need, needs first."""
    ordered: list[str] = []

    def visit(name: str) -> None:
        if name not in ordered:
            for need in service(name).NEEDS:
                visit(need)
            if name not in ordered:
                ordered.append(name)

    for name in names:
        visit(name)
    return ordered


def install(
    ground: Ground,
    names: Iterable[str],
    *,
    optional: Iterable[str] = (),
    told: Callable[[str], None] = lambda _: None,
) -> None:
    """Brings everything that these services need: Debian packages by one call, environments beside it. ServiceFailed
    tells what could not be had; of `optional` services it is only told."""
    begun = time.monotonic()
    ordered = with_needs(names)
    with ThreadPoolExecutor() as pool:
        debian = pool.submit(_install_packages, ordered)

        def one(name: str) -> None:
            if not venvs.possible(name):
                debian.result()
            _install_one(ground, name)

        for name, done in {"packages": debian, **{name: pool.submit(one, name) for name in ordered}}.items():
            try:
                done.result()
            except ServiceFailed as fault:
                if name not in optional:
                    raise
                told(f"{name} is optional and not to be had: {fault}")
            else:
                told(f"{name} there after {time.monotonic() - begun:.1f} s")


def _install_one(ground: Ground, name: str) -> None:
    with ground.building(name):
        try:
            service(name).install(ground)
        except (OSError, subprocess.SubprocessError) as fault:
            raise ServiceFailed(f"{name} could not be installed: {fault}") from fault


def _install_packages(ordered: list[str]) -> None:
    """All packages at once as soon as one is missing: a second call of apt would cost more than they do."""
    if missing_packages(ordered):
        packages.install()


def missing_packages(names: Iterable[str]) -> list[str]:
    """What dpkg does not have of what these services need."""
    wanted = {package for name in with_needs(names) for package in service(name).PACKAGES}
    return packages.missing(tuple(sorted(wanted))) if wanted else []


def up(ground: Ground, names: Iterable[str], holder: "Holder | None" = None) -> dict[str, Endpoint]:
    """Starts these services and their needs, each as soon as its needs are up; those that run already are left alone.
    ServiceFailed tells of the first that could not be started; the others run on."""
    ordered = with_needs(names)
    started: dict[str, Future[Endpoint]] = {}
    with ThreadPoolExecutor(max_workers=len(ordered)) as pool:

        def one(name: str) -> Endpoint:
            needs = {need: started[need].result()["instance"] for need in service(name).NEEDS}
            return _up_one(ground, name, needs, holder)

        for name in ordered:
            started[name] = pool.submit(one, name)
    return {name: future.result() for name, future in started.items()}


def _up_one(ground: Ground, name: str, needs: dict[str, str], holder: "Holder | None") -> Endpoint:
    with ground.locked(name):
        if holder:
            holder.take(name)
        folder = ground.folder(name)
        known: Endpoint | None = read_json(folder / "endpoint.json")
        if known and known["needs"] == needs and process.all_written_down_run(folder):
            return known
        _install_one(ground, name)
        for attempt in range(1, ATTEMPTS + 1):
            clear(ground, name)
            ground.make(name)
            begun = time.monotonic()
            try:
                endpoint = service(name).start(ground)
            except (ServiceFailed, OSError, subprocess.SubprocessError) as fault:
                _end(ground, name)
                if attempt == ATTEMPTS:
                    raise ServiceFailed(f"{name} did not start, {ATTEMPTS} attempts: {fault}") from fault
                continue
            seconds = round(time.monotonic() - begun, 2)
            endpoint |= {"name": name, "instance": secrets.token_hex(8), "needs": needs, "started_in_s": seconds}
            write_json(folder / "endpoint.json", endpoint)
            return endpoint
    raise AssertionError("unreachable: the last attempt returns or raises")


def down(ground: Ground, names: Iterable[str]) -> list[str]:
    """Stops these services and those that need them, whoever uses them; returns the names of all that it went to."""
    wanted = set(names)
    going = [name for name in SERVICES if wanted & set(with_needs([name])) and ground.folder(name).exists()]

    def one(name: str) -> None:
        with ground.locked(name):
            _kept(ground, name).unlink(missing_ok=True)
            clear(ground, name)

    _all(one, going)
    return going


def sweep(ground: Ground) -> None:
    """Stops every service that nobody uses and that was not started to stay."""
    holder = Holder(ground)
    for name in [name for name in SERVICES if ground.folder(name).exists()]:
        with ground.locked(name):
            holder.take(name)
    holder.release()


def keep(ground: Ground, names: Iterable[str]) -> None:
    """Has these services outlive the test sessions that use them, until `down`."""
    for name in names:
        _kept(ground, name).touch()


def clear(ground: Ground, name: str) -> None:
    """Ends what runs of a service and empties its run folder, whatever state a killed run left it in."""
    folder = ground.folder(name)
    if not folder.exists():
        return
    _end(ground, name)
    for mount in sorted(_mounts_under(folder), reverse=True):
        subprocess.run(["umount", "-l", mount], check=False, capture_output=True)
    if left := _mounts_under(folder):
        raise ServiceFailed(f"{name}: still mounted, so not removed: {' '.join(left)}")
    shutil.rmtree(folder)


def _end(ground: Ground, name: str) -> None:
    stop = getattr(service(name), "stop", None)
    if stop and (ground.folder(name) / "endpoint.json").exists():
        stop(ground)
    process.end(ground.folder(name))


def _mounts_under(folder: Path) -> list[str]:
    mounts = [line.split()[4].replace("\\040", " ") for line in Path("/proc/self/mountinfo").read_text().splitlines()]
    return [mount for mount in mounts if mount.startswith(f"{folder}/")]


def _kept(ground: Ground, name: str) -> Path:
    return ground.run / f"{name}.keep"


def _all(act: Callable[[str], None], names: list[str]) -> None:
    if names:
        with ThreadPoolExecutor(max_workers=len(names)) as pool:
            for done in [pool.submit(act, name) for name in names]:
                done.result()


class Holder:
    """One user of services, a test session: what it took is stopped when the last user lets go.

    A hold is a shared lock on a file, so the kernel drops it when the user dies, however it dies."""

    def __init__(self, ground: Ground) -> None:
        self._ground = ground
        self._held: dict[str, int] = {}

    def take(self, name: str) -> None:
        """Called with the service's lock held."""
        if name not in self._held:
            fd = os.open(self._ground.run / f"{name}.users", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
            fcntl.flock(fd, fcntl.LOCK_SH)
            self._held[name] = fd

    def release(self) -> None:
        """Stops every service that nobody else holds and that was not started to stay."""
        held, self._held = self._held, {}

        def one(name: str) -> None:
            with self._ground.locked(name):
                try:
                    fcntl.flock(held[name], fcntl.LOCK_EX | fcntl.LOCK_NB)
                    if not _kept(self._ground, name).exists():
                        clear(self._ground, name)
                except BlockingIOError:
                    pass
                finally:
                    os.close(held[name])

        _all(one, list(held))
