"""A sandbox of namespaces, built by `unshare` and `bwrap`: the ground of the runtimes that need no daemon.

`unshare` makes the namespaces and stays as the process the pilot waits for: it blocks SIGTERM and SIGINT while its
child lives, and its own death ends the child, which is pid 1 inside and takes everything with it. So a signal to the
process group reaches the payload and nothing but the payload, and mounts vanish with the last process.
"""

from __future__ import annotations

import posixpath
from collections.abc import Iterable, Mapping

from pilot.core.command import Command, ContainerRequest
from pilot.core.errors import QueueNotSetUpForContainers

#: Mounts the image (a directory, or a squashfs at an offset) below /dev/shm of the new mount namespace, which nobody
#: outside sees, and hands over to bwrap. Where the kernel allows it, an overlay in memory makes the image writable
#: until then, so that bind points which it lacks can be made and it learns of the network and the user.
#: squashfuse must outlive a signal that asks the payload to end.
#: Arguments: image, offset (empty: a directory), uid, gid, bwrap's own.
IMAGE_SCRIPT = """\
image=$1; offset=$2; uid=$3; gid=$4; shift 4
[ -e "$image" ] || { echo "box: image $image does not exist" >&2; exit 255; }
mount -t tmpfs -o mode=755 tmpfs /dev/shm && cd /dev/shm && mkdir image upper work root || exit 255
if [ -n "$offset" ]; then
  (trap '' TERM INT HUP; exec squashfuse -o "offset=$offset" "$image" image) ||
    { echo "box: image $image cannot be mounted" >&2; exit 255; }
  image=/dev/shm/image
fi
case $image in
  *[,:\\\\]*) overlay= ;;
  *) overlay="lowerdir=$image,upperdir=upper,workdir=work" ;;
esac
if [ -n "$overlay" ] && mount -t overlay overlay -o "$overlay" root 2>/dev/null; then
  for file in resolv.conf hosts; do
    [ -d root/etc ] && [ -r "/etc/$file" ] && rm -f "root/etc/$file" && cat "/etc/$file" > "root/etc/$file"
  done
  if [ -f root/etc/passwd ] && ! grep -q "^[^:]*:[^:]*:$uid:" root/etc/passwd; then
    echo "payload:x:$uid:$gid:payload:/:/bin/sh" >> root/etc/passwd
  fi
  cd / && unset OLDPWD && exec bwrap --bind /dev/shm/root / "$@"
fi
cd / && unset OLDPWD && exec bwrap --ro-bind "$image" / "$@"
"""

_GPU_DEVICES = ("nvidiactl", "nvidia-uvm", "nvidia-uvm-tools", "nvidia-modeset", "nvidia-caps", "kfd", "dri")


def image_command(image: str, offset: str, uid: int, gid: int) -> list[str]:
    """What goes before bwrap's options when the root is an image; `offset` empty: it is a directory."""
    return ["sh", "-c", IMAGE_SCRIPT, "box", image, offset, str(uid), str(gid)]


def unshare(request: ContainerRequest) -> list[str]:
    """New user, mount, pid and IPC namespaces, and one for the network if the payload is to have none."""
    argv = ["unshare", "--user", "--map-root-user", "--mount", "--pid", "--ipc", "--fork", "--kill-child"]
    return [*argv, "--mount-proc", *([] if request.network else ["--net"]), "--"]


def environment(env: Mapping[str, str]) -> tuple[dict[str, str], list[str]]:
    """The variables that may be set for the whole chain, and options for those that only the payload may see.

    What the dynamic linker obeys must not reach `unshare` and `bwrap` themselves.
    """
    linker = {name: value for name, value in env.items() if name.startswith("LD_")}
    options = [word for name, value in linker.items() for word in ("--setenv", name, value)]
    return {name: value for name, value in env.items() if name not in linker}, options


def bwrap_options(command: Command, request: ContainerRequest, uid: int, gid: int, *, image: bool) -> list[str]:
    """What is seen inside besides the root: new /dev and /tmp, what is bound, the job's directory; all else read-only.

    Inside, the payload has its own user's identity and no capability.
    """
    argv = ["--unshare-user", "--uid", str(uid), "--gid", str(gid), "--cap-drop", "ALL"]
    argv += ["--dev", "/dev", "--bind", "/proc", "/proc", "--tmpfs", "/tmp", "--tmpfs", "/var/tmp"]
    if image:
        argv += ["--ro-bind", "/sys", "/sys"]
    argv += [word for path in _gpu_paths(request.gpus) for word in ("--dev-bind-try", path, path)]
    for bind in request.binds:
        argv += ["--bind" if bind.writable else "--ro-bind", bind.source, bind.inside]
    argv += ["--bind", request.workdir, request.work_inside]
    argv += ["--remount-ro", "/", "--chdir", cwd_inside(command, request), *request.options, *request.arguments]
    return argv


def cwd_inside(command: Command, request: ContainerRequest) -> str:
    """Where the payload starts, as it sees it. Raises when that is not below the job's directory."""
    below = posixpath.relpath(command.cwd, request.workdir)
    if below == ".." or below.startswith("../"):
        raise QueueNotSetUpForContainers(f"{command.cwd} is not below the job's directory {request.workdir}")
    return posixpath.normpath(posixpath.join(request.work_inside, below))


def _gpu_paths(gpus: Iterable[str]) -> list[str]:
    """The device files of these GPUs; one named by its UUID may be any of the first sixteen."""
    wanted = list(gpus)
    if not wanted:
        return []
    numbers = wanted if all(gpu.isdigit() for gpu in wanted) else [str(number) for number in range(16)]
    return [f"/dev/{name}" for name in (*(f"nvidia{number}" for number in numbers), *_GPU_DEVICES)]
