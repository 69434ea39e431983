"""What is stored for a web server: headers, or a user and a password, in Pegasus's file or in the address itself."""

from __future__ import annotations

import base64
from urllib.parse import unquote, urlsplit

from pilot.core.staging import ToolSettings
from pilot.lib.credentials import BadCredential, web_section
from pilot.plugins.copytools.base import Fault, ToolError

_HEADER = "header."


def stored_headers(settings: ToolSettings, url: str) -> dict[str, str]:
    """The headers that go to the server of a URL alone. Raises `ToolError` for a file that others can read.

    The section `scheme://host:port` of the file, else `host:port`, may have `header.NAME`, and `username` with
    `password`; a user in the URL comes before that.
    """
    place, _, _ = url.partition("://")[2].partition("/")
    user, _, host = place.rpartition("@")
    try:
        words = web_section(settings.environment, url.partition("://")[0].lower(), host)
    except BadCredential as error:
        raise ToolError(Fault.CREDENTIAL, str(error)) from error
    found = {name.removeprefix(_HEADER).title(): value for name, value in words.items() if name.startswith(_HEADER)}
    if user:
        parts = urlsplit(url)
        found["Authorization"] = _basic(unquote(parts.username or ""), unquote(parts.password or ""))
    elif words.get("username") and "Authorization" not in found:
        found["Authorization"] = _basic(words["username"], words.get("password", ""))
    return found


def _basic(user: str, password: str) -> str:
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()
