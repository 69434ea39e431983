"""What runs as the first process in a container that has a process table of its own and no init.

The kernel keeps signals without a handler away from pid 1, so a payload in that place would not hear SIGTERM. A few
lines of shell take the place instead: they pass the signal on to everything inside, as a signal to a process group does
outside, and end with the payload's exit code. They do so once: a client that was itself signalled by several ways
(podman as any user is two processes) would have the payload interrupted in its clean-up. The exit code is also written
to file descriptor 3, if there is one.

How many processes the kernel ended for lack of memory is told by the container's own cgroup, which is gone with this
process: so it is read here, last of all, and left in a file. What other cgroups say is not: where the whole machine's
are seen inside, this process is not in the first one.
"""

from __future__ import annotations

INIT_SCRIPT = """\
note=$1; shift
killed() {
  for at in /sys/fs/cgroup/memory.events /sys/fs/cgroup/memory/memory.oom_control; do
    [ -r "$at" ] && while read -r pid; do
      [ "$pid" = $$ ] && while read -r name count; do
        [ "$name" = oom_kill ] && echo "$count" && return
      done <"$at"
    done <"${at%/*}/cgroup.procs"
  done 2>/dev/null
}
trap 'trap "" TERM INT; kill -s TERM -- -1 2>/dev/null' TERM INT
"$@" <&0 3>&- &
child=$!
wait $child; code=$?
while kill -0 $child 2>/dev/null; do wait $child; code=$?; done
kills=$(killed)
[ "${kills:-0}" = 0 ] || (echo "$kills" >"$note") 2>/dev/null
(echo $code >&3) 2>/dev/null
exit $code
"""


def with_init(argv: tuple[str, ...], note: str) -> tuple[str, ...]:
    """The command below a first process that passes signals on; `note` is the file, as it is seen inside, for the
    number of processes that were ended for lack of memory. It is written if there were any."""
    return ("/bin/sh", "-c", INIT_SCRIPT, "init", note, *argv)
