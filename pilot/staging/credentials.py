"""Whose credentials count at a site, and what is wrong with them: once for all tools."""

from __future__ import annotations

import msgspec

from pilot.core.errors import MissingCredentials
from pilot.core.staging import ToolSettings
from pilot.lib.credentials import BadCredential, check_private, named_file, suffix
from pilot.lib.tokens import certificate_trouble, token_trouble
from pilot.lib.urls import scheme_of
from pilot.plugins.copytools.base import Fault, ToolError

#: Variables that name a file with a credential; `NAME_<site>` comes before `NAME`.
_FILES = (
    "X509_USER_PROXY",
    "X509_USER_CERT",
    "X509_USER_KEY",
    "BEARER_TOKEN_FILE",
    "S3CFG",
    "PEGASUS_CREDENTIALS",
    "GOOGLE_APPLICATION_CREDENTIALS",
    "GOOGLE_PKCS12",
    "BOTO_CONFIG",
    "SSH_PRIVATE_KEY",
    "IRODS_ENVIRONMENT_FILE",
)
#: Those that hold a secret or a folder themselves.
_WORDS = ("BEARER_TOKEN", "X509_CERT_DIR", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN")
_TOKENS = frozenset({"BEARER_TOKEN", "BEARER_TOKEN_FILE"})
#: Where nothing secret is ever shown.
_OPEN = frozenset({"file", "http", "dav", "ftp"})
_AUTHENTICATION = frozenset({Fault.CREDENTIAL, Fault.DENIED, Fault.REFUSED})


def settings_at(settings: ToolSettings, site: str) -> ToolSettings:
    """The settings with a site's own credentials in place of the general ones; the same object where it has none."""
    words = settings.environment
    mark = suffix(site)
    own = {name: named_file(words, name, site)[0] for name in _FILES if words.get(name + mark)}
    own |= {name: words[name + mark] for name in _WORDS if words.get(name + mark)}
    if not site or not own:
        return settings
    mixed = {**words, **own}
    token_file = settings.token_file
    if "BEARER_TOKEN_FILE" in own or "BEARER_TOKEN" in own:  # one of them: the general other one would be shown first
        token_file = own.get("BEARER_TOKEN_FILE", "")
        mixed = {name: value for name, value in mixed.items() if name in own or name not in _TOKENS}
    return msgspec.structs.replace(
        settings,
        environment=mixed,
        proxy_file=own.get("X509_USER_PROXY", settings.proxy_file),
        ca_path=own.get("X509_CERT_DIR", settings.ca_path),
        token_file=token_file,
    )


def check_files(settings: ToolSettings, *urls: str) -> None:
    """Raise `MissingCredentials` for a credential that these URLs may need and that others can read, or that is not
    there though it was named for a site."""
    if _OPEN.issuperset(map(scheme_of, urls)):
        return
    words = settings.environment
    for path in (settings.proxy_file, settings.token_file, words.get("BEARER_TOKEN_FILE", "")):
        if path:
            try:
                check_private(path)
            except BadCredential as error:
                if not isinstance(error.__cause__, FileNotFoundError):
                    raise MissingCredentials(str(error)) from error


def explained(error: ToolError, settings: ToolSettings) -> ToolError:
    """A refusal as the credential's own fault, where that has run out, is not there or is none."""
    if error.fault not in _AUTHENTICATION:
        return error
    trouble = certificate_trouble(settings.proxy_file)
    trouble = trouble or token_trouble(settings.environment, settings.token_file)
    if trouble is None or trouble.text in error.detail:
        return error
    return ToolError(Fault.EXPIRED if trouble.expired else Fault.CREDENTIAL, f"{trouble.text}; {error.detail}")
