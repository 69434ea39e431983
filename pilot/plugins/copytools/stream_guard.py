"""Hands a stream of known length from standard input on to a program; a stream that ends early ends the program first.

`SIZE COUNT CLEAN... PROGRAM...`: CLEAN, of COUNT words, is run after such an end, without any input. The exit code is
the program's; after a stream that was cut the whole process group is killed, which must be the guard's own. Nothing of
the pilot is imported.
"""

import os
import signal
import sys

_MOST = 1 << 20


def main() -> int:
    """Run the program with what comes."""
    size, count = int(sys.argv[2]), int(sys.argv[3])
    clean, command = sys.argv[4 : 4 + count], sys.argv[4 + count :]
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # the program gets it as well, and its end is waited for
    source, sink = os.pipe()
    child = start(command, source)
    os.close(source)
    left = size
    try:
        while left and (sent := os.splice(0, sink, min(left, _MOST))):
            left -= sent
    except BrokenPipeError:
        left = 0  # the program has ended before; its code tells why
    if left:
        end(child, clean)
    os.close(sink)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    return code if code >= 0 else 128 - code


def end(child: int, clean: list[str]) -> None:
    """End all that reads the stream, the program's own children too, while the stream is still open; then ourselves."""
    os.killpg(0, signal.SIGTERM)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    if clean:
        os.waitpid(start(clean, os.open(os.devnull, os.O_RDONLY)), 0)
    os.killpg(0, signal.SIGKILL)


def start(command: list[str], source: int) -> int:
    """Start a program with a descriptor as its input; its number."""
    actions = [(os.POSIX_SPAWN_DUP2, source, 0)]
    back = [signal.SIGTERM, signal.SIGPIPE, signal.SIGXFSZ]
    return os.posix_spawnp(command[0], command, os.environ, file_actions=actions, setsigdef=back)


if __name__ == "__main__":
    try:
        sys.exit(main())
    except OSError as error:
        sys.stderr.write(f"{sys.argv[-1]}: {error.strerror}\n")
        sys.exit(127)
