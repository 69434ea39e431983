"""What `pilot doctor` looks at on the node itself."""

from __future__ import annotations

import os
import platform
import resource
import shutil
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

from pilot.cli.finding import Finding, fail, fine, warn
from pilot.lib.hold import has_pidfds

_LEAST_FREE_MB, _GOOD_FREE_MB = 2048, 10240
_LEAST_FILES = 1024


def python() -> Finding:
    """The interpreter, and the kernel's means to wait for processes."""
    said = f"Python {platform.python_version()} on {platform.system()} {platform.release()}"
    if not has_pidfds():
        return warn("python", f"{said}: no pidfds", "a thread waits for each payload instead; Linux 5.3 has pidfds")
    return fine("python", said)


def disk(workdir: Path) -> Finding:
    """Whether jobs can write, and how much. A file is made and removed."""
    from pilot.lib.filesystem import is_shared, kind_of

    try:
        with tempfile.TemporaryFile(dir=workdir) as file:
            file.write(b"x" * 4096)
            file.flush()
            os.fsync(file.fileno())
        free_mb = shutil.disk_usage(workdir).free >> 20
    except OSError as error:
        return fail("disk", f"{workdir}: {error.strerror}", "name a directory that can be written with --workdir")
    said = f"{free_mb} MB free in {workdir.absolute()} ({kind_of(workdir) or 'unknown file system'})"
    if free_mb < _LEAST_FREE_MB:
        return fail("disk", said, f"a job needs at least {_LEAST_FREE_MB} MB")
    if is_shared(workdir):
        return warn("disk", said, "a network file system: the PilotDB is kept on local scratch, inputs are slower")
    if free_mb < _GOOD_FREE_MB:
        return warn("disk", said, "jobs with large files will not fit")
    return fine("disk", said)


def limits() -> Finding:
    """How many files the pilot may have open."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    said = f"{soft} open files (at most {hard})"
    if soft < _LEAST_FILES:
        return warn("limits", said, f"raise it: `ulimit -n {_LEAST_FILES}` before the pilot starts")
    return fine("limits", said)


def groups() -> Finding:
    """Whether payloads can have cgroups. One is made and removed."""
    from pilot.lib.cgroup_ground import Ground

    ground = Ground.prepare()
    if ground is None:
        return warn(
            "cgroup",
            "this user may not make cgroups with a memory controller",
            "memory limits are watched, not enforced; delegate a cgroup to the pilot's user to have them enforced",
        )
    ground.restore()
    return fine("cgroup", "each payload gets one: limits are enforced, figures exact")


def namespaces(env: Mapping[str, str]) -> Finding:
    """Whether this user may make user namespaces: all runtimes without a daemon of root need them."""
    from pilot.core.command import Command
    from pilot.plugins.containers.trial import answer

    said = answer(Command(("unshare", "--user", "--map-root-user", "true"), "/", dict(env)))
    if not said:
        return fine("userns", "user namespaces may be made")
    return warn(
        "userns",
        said,
        "set the sysctl user.max_user_namespaces above 0 (and kernel.unprivileged_userns_clone, where it exists, to 1)",
    )


def containers(env: Mapping[str, str]) -> Finding:
    """Which container runtimes work, each tried."""
    from pilot.plugins.containers.base import Host
    from pilot.plugins.containers.registry import CONTAINERS

    working, missing = [], []
    for name in CONTAINERS.names():
        if name in ("none", "dummy"):
            continue
        why = CONTAINERS.load(name)(Host(env=dict(env), python=sys.executable)).check()
        if why:
            missing.append(f"{name} ({why})")
        else:
            working.append(name)
    said = f"usable: {', '.join(working) or 'none'}" + (f"; not usable: {', '.join(missing)}" if missing else "")
    if working:
        return fine("containers", said)
    return warn("containers", said, "jobs that name an image will fail; install apptainer, podman or bubblewrap")


def copy_tools(env: Mapping[str, str]) -> Finding:
    """Which copy tools can be loaded, and whether what they drive is there."""
    from importlib.util import find_spec

    from pilot.plugins.copytools.registry import registry

    tools = registry()
    broken = []
    for name in tools.names():
        try:
            tools.load(name)
        except (ImportError, AttributeError) as error:
            broken.append(f"{name} ({error})")
    if broken:
        return fail("copytools", f"cannot be loaded: {', '.join(broken)}", "install the program again with its extras")
    lacking = []
    if find_spec("XRootD") is None and shutil.which("xrdcp", path=env.get("PATH")) is None:
        lacking.append("xrootd (no xrdcp, no XRootD bindings)")
    if find_spec("boto3") is None:
        lacking += ["s3 (no boto3)", "objectstore (no boto3)"]
    if shutil.which("lsm-get", path=env.get("PATH")) is None:
        lacking.append("lsm (no lsm-get)")
    without = {one.split()[0] for one in lacking}
    said = ", ".join(name for name in tools.names() if name not in without)
    if lacking:
        said += f"; not usable: {', '.join(lacking)}"
    if without - {"lsm"}:  # few sites have scripts of their own
        return warn("copytools", said, "needed only where the storages ask for it")
    return fine("copytools", said)
