"""What runs as the first process in a container that has a process table of its own and no init.

The kernel keeps signals without a handler away from pid 1, so a payload in that place would not hear SIGTERM. A few
lines of shell take the place instead: they pass the signal on to everything inside, as a signal to a process group does
outside, and end with the payload's exit code. They do so once: a client that was itself signalled by several ways
(podman as any user is two processes) would have the payload interrupted in its clean-up. The exit code is also written
to file descriptor 3, if there is one.
"""

from __future__ import annotations

INIT_SCRIPT = """\
trap 'trap "" TERM INT; kill -s TERM -- -1 2>/dev/null' TERM INT
"$@" <&0 3>&- &
child=$!
wait $child; code=$?
while kill -0 $child 2>/dev/null; do wait $child; code=$?; done
(echo $code >&3) 2>/dev/null
exit $code
"""


def with_init(argv: tuple[str, ...]) -> tuple[str, ...]:
    """The command below a first process that passes signals on."""
    return ("/bin/sh", "-c", INIT_SCRIPT, "init", *argv)
