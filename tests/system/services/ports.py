"""Free loopback ports for servers that cannot choose one themselves."""

import random
import socket

# Below the range from which the kernel takes the ports of outgoing connections, so that none is taken in between.
LOWEST, HIGHEST = 20000, 32000
TRIES = 200


def free(count: int = 1, *, consecutive: bool = False) -> list[int]:
    """`count` distinct TCP ports nobody listens on now, in any address family. A server that finds its port taken
    after all fails to start and is started again on others (`lifecycle.ATTEMPTS`)."""
    chosen: list[int] = []
    for _ in range(TRIES):
        first = random.randrange(LOWEST, HIGHEST - count)
        wanted = range(first, first + count) if consecutive else (first,)
        if all(port not in chosen and _unused(port) for port in wanted):
            chosen.extend(wanted)
        if len(chosen) >= count:
            return chosen[:count]
    raise OSError(f"no {count} free ports between {LOWEST} and {HIGHEST}")


def _unused(port: int) -> bool:
    try:
        with socket.socket() as probe:
            probe.bind(("0.0.0.0", port))
    except OSError:
        return False
    return True


def answers(port: int, host: str = "127.0.0.1") -> bool:
    """Whether somebody accepts connections there."""
    try:
        with socket.create_connection((host, port), timeout=2):
            return True
    except OSError:
        return False
