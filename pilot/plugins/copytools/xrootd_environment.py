"""What XRootD's client library is told by its environment: as a program of its own, and inside of this process."""

from __future__ import annotations

import os
from typing import Any

from pilot.core.staging import ToolSettings

#: What the library reads where it needs it, when it opens a connection.
_CREDENTIALS = ("X509_USER_PROXY", "X509_CERT_DIR", "BEARER_TOKEN", "BEARER_TOKEN_FILE")
#: Under this name the library itself keeps which credentials the process has now.
_MARK = "PilotCredentials"


def client_environment(settings: ToolSettings) -> dict[str, str]:
    """What the client libraries are told: to notice an absent server soon, and which credentials to use."""
    words = {
        "XRD_CONNECTIONWINDOW": str(max(1, round(settings.connect_s))),
        "XRD_CONNECTIONRETRY": "1",
        "XRD_STREAMTIMEOUT": str(max(1, round(settings.stall_s))),
        "XRD_REQUESTTIMEOUT": str(max(10, round(settings.stall_s))),
        "XRD_TIMEOUTRESOLUTION": "1",
        "XRD_REDIRECTLIMIT": "16",
    }
    if settings.proxy_file:
        words["X509_USER_PROXY"] = settings.proxy_file
    if settings.ca_path and os.path.isdir(settings.ca_path):
        words["X509_CERT_DIR"] = settings.ca_path
    if settings.token_file:
        words["BEARER_TOKEN_FILE"] = settings.token_file
    told = {name: value for name, value in words.items() if name not in settings.environment or "X509" in name}
    if not os.path.exists(settings.environment.get("X509_USER_PROXY", "/")) and "X509_USER_PROXY" not in told:
        # A proxy that is not there would end the connection even where a token opens the door.
        told["X509_USER_PROXY"] = ""
    return told


def give_to_process(client: Any, settings: ToolSettings) -> None:
    """Let the library in this process have these credentials for its next connections.

    They are put where C code looks, not into `os.environ`: nothing that is started gets them from there.
    """
    words = {**settings.environment, **client_environment(settings)}
    wanted = {name: words.get(name, "") for name in _CREDENTIALS}
    mark = repr(sorted((name, hash(value)) for name, value in wanted.items()))
    if client.EnvGetString(_MARK) == mark:
        return
    for name, value in wanted.items():
        if value:
            os.putenv(name, value)
        else:
            os.unsetenv(name)
    client.EnvPutString(_MARK, mark)
