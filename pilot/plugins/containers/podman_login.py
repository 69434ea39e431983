"""Gives podman a registry login without a file on disk and without an argument: `podman_login COMMAND...`.

The login comes in the environment, goes into a file that lives in memory, and podman is told its name. Runs with the
standard library alone and replaces itself.
"""

from __future__ import annotations

import base64
import json
import os
import sys

_LOGIN = ("PILOT_REGISTRY_USERNAME", "PILOT_REGISTRY_PASSWORD", "PILOT_REGISTRY")


def auth_file(username: str, password: str, registry: str) -> bytes:
    """The login in the form of a container registry's auth file."""
    token = base64.b64encode(f"{username}:{password}".encode()).decode()
    return json.dumps({"auths": {registry: {"auth": token}}}).encode()


def main(argv: list[str]) -> int:
    """Replace this process by the command, with `REGISTRY_AUTH_FILE` set and the login taken out; 125 if it is not
    there."""
    env = dict(os.environ)
    held = os.memfd_create("login", 0)
    os.write(held, auth_file(*(env.pop(name) for name in _LOGIN)))
    env["REGISTRY_AUTH_FILE"] = f"/proc/self/fd/{held}"
    try:
        os.execvpe(argv[0], argv, env)
    except OSError as error:
        print(f"podman: {argv[0]}: {error.strerror}", file=sys.stderr)
        return 125
