"""What one wants to know of a URL without taking it apart, and how it is shown: without what is secret in it."""

from __future__ import annotations

import re

_SECRET = re.compile(
    r"([?&;#](?:[^=&;#]*(?:signature|credential|token|auth|secret|passw|pwd|key|jwt|macaroon)[^=&;#]*|sig)=)[^&;#\s]*",
    re.IGNORECASE,
)
#: A password with a slash in it is no port.
_USER = re.compile(r"(\w://[^/\s:@]*):(?:[^/\s]*|(?!\d*(?:/|\s|$))\S*)@")


def scheme_of(url: str) -> str:
    """The scheme of a URL in lower case; `file` for a path."""
    head, colon, _ = url.partition("://")
    if not colon:
        return "file"
    return head.lower()


def host_of(url: str) -> str:
    """`host:port` of a URL without its user; empty for a local one."""
    head, colon, rest = url.partition("://")
    return rest.partition("/")[0].rpartition("@")[2].lower() if colon and head.lower() != "file" else ""


def shown(text: str) -> str:
    """A URL, or a text with URLs in it, as it may stand in a log: passwords and signatures are taken out.

    What is no text in a name (bytes that are no UTF-8) is written out as an escape.
    """
    if not text.isascii():
        text = text.encode(errors="backslashreplace").decode()
    if "://" not in text:
        return text
    return _SECRET.sub(r"\1...", _USER.sub(r"\1:...@", text))
