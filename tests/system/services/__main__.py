"""`python -m tests.system.services install|up|down|env|list [NAME...]`; no name means every service.

`install` without names only tells of an optional service that cannot be had; `up` without names leaves those out."""

import argparse
import json
import sys
import time

from tests.system.services import lifecycle
from tests.system.services.ground import ServiceFailed, prepared
from tests.system.services.registry import OPTIONAL, SERVICES


def main() -> int:
    """Exit status 1, and the reason with the ends of the logs on stderr, if a service failed."""
    parser = argparse.ArgumentParser(prog="python -m tests.system.services", description=__doc__)
    parser.add_argument("action", choices=("install", "up", "down", "env", "list"))
    parser.add_argument("names", nargs="*", metavar="NAME", help=" ".join(SERVICES))
    given = parser.parse_args()
    names = given.names or [name for name in SERVICES if given.action != "up" or name not in OPTIONAL]
    ground = prepared()
    begun = time.monotonic()
    try:
        if given.action == "install":
            lifecycle.install(ground, names, optional=() if given.names else OPTIONAL, told=_say)
        elif given.action == "up":
            lifecycle.install(ground, names)
            started = lifecycle.up(ground, names)
            lifecycle.keep(ground, started)
            _say(" ".join(f"{name} {endpoint['started_in_s']} s," for name, endpoint in started.items()))
            print(json.dumps(started, indent=1))
        elif given.action == "down":
            _say(f"stopped: {' '.join(lifecycle.down(ground, names)) or 'nothing ran'}")
        elif given.action == "env":
            running = {name for name in names if (ground.folder(name) / "endpoint.json").exists()}
            print(json.dumps({name: ground.endpoint(name) for name in sorted(running)}, indent=1))
        else:
            print("\n".join(SERVICES))
    except ServiceFailed as fault:
        _say(str(fault))
        return 1
    if given.action not in ("env", "list"):
        _say(f"{given.action}: {time.monotonic() - begun:.1f} s")
    return 0


def _say(text: str) -> None:
    print(text, file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
