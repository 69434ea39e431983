"""TLS to servers of the grid, whose authorities are often older than what today's libraries take for granted."""

from __future__ import annotations

import ssl


def client_context(file: str | None = None, folder: str | None = None) -> ssl.SSLContext:
    """A client's context that trusts the authorities in a file or a folder of hashed names; without, the system's.

    Chains, names and dates are verified as ever. Not demanded are the extensions that RFC 5280 wants of every
    authority and Python 3.13 insists upon: many of those that grid sites trust have none (`keyUsage`, key identifiers).
    Raises `OSError`, of which `ssl.SSLError` is one.
    """
    made = ssl.create_default_context(cafile=file or None, capath=folder or None)
    made.verify_flags &= ~ssl.VerifyFlags.VERIFY_X509_STRICT
    return made
