"""Where credentials are, by which rule they were found, and whether others can read them. Contents are never told."""

from __future__ import annotations

import configparser
import os
import re
from collections.abc import Mapping

import msgspec


class BadCredential(Exception):
    """A credential file that cannot be used; names the file and what to do."""


class S3Keys(msgspec.Struct, frozen=True):
    """How to reach an S3 service. `origin` tells where this was found. Its printed form shows no secret."""

    access: str
    secret: str
    session: str = ""
    endpoint: str = ""
    region: str = ""
    profile: str = ""
    origin: str = ""

    def __repr__(self) -> str:
        return f"S3Keys({self.origin}, endpoint={self.endpoint!r})"


def suffix(site: str) -> str:
    """What a variable's name ends in that counts at a site only: `_far_away` for `far-away`."""
    return "_" + re.sub(r"\W", "_", site, flags=re.ASCII)


def named_file(environment: Mapping[str, str], name: str, site: str = "") -> tuple[str, str]:
    """The path that a variable names, and which variable: `NAME_<site>` comes before `NAME`; ("", "") without any.

    What a variable's name cannot hold is an underscore (`suffix`). A relative path begins in the current directory; an
    absolute one that is not there is looked for there by its last part, where batch systems put files.
    """
    for variable in ((name + suffix(site),) if site else ()) + (name,):
        path = environment.get(variable, "")
        if path:
            if not os.path.exists(path) and os.path.exists(os.path.basename(path)):
                path = os.path.basename(path)
            return os.path.abspath(path), variable
    return "", ""


def check_private(path: str) -> str:
    """The path itself if only its owner can read it. Raises `BadCredential`."""
    try:
        mode = os.stat(path).st_mode
    except OSError as error:
        raise BadCredential(f"{path}: {error.strerror}") from error
    if mode & 0o077:
        raise BadCredential(f"{path} can be read by others (mode {mode & 0o777:04o}): chmod 600 it")
    return path


def s3_keys(environment: Mapping[str, str], user: str = "", site: str = "", label: str = "") -> S3Keys | None:
    """The keys for an S3 service, None if there are none anywhere.

    In this order: `S3CFG`, `~/.s3cfg`, `PEGASUS_CREDENTIALS`, `~/.pegasus/credentials.conf`, `~/.pegasus/s3cfg`, and
    the variables and files of AWS. `user` and `site` are of the URL (`s3://user@site/...`), `label` is the site whose
    own files (`S3CFG_<label>`) come first. Raises `BadCredential` for a file that is there and cannot be used.
    """
    home = environment.get("HOME", "")
    found = [named_file(environment, "S3CFG", label)]
    if home:
        found.append((os.path.join(home, ".s3cfg"), "~/.s3cfg"))
    found.append(named_file(environment, "PEGASUS_CREDENTIALS", label))
    if home:
        found += [
            (os.path.join(home, ".pegasus", name), f"~/.pegasus/{name}") for name in ("credentials.conf", "s3cfg")
        ]
    for path, origin in found:
        if path and (origin[0] != "~" or os.path.exists(path)):
            keys = _from_file(path, origin, user, site)
            if keys is not None:
                return keys
    return _from_aws(environment)


def web_section(environment: Mapping[str, str], scheme: str, host: str) -> dict[str, str]:
    """What Pegasus's credentials (`PEGASUS_CREDENTIALS`, `~/.pegasus/credentials.conf`) say of a web server, by name.

    The section `scheme://host` comes before `host`, where `host` has the port as the URL has it. Names are in lower
    case. Empty where there is none; raises `BadCredential` for a file with one that others can read.
    """
    home = environment.get("HOME", "")
    own = os.path.join(home, ".pegasus", "credentials.conf") if home else ""
    for path in (named_file(environment, "PEGASUS_CREDENTIALS")[0], own):
        parser = configparser.RawConfigParser(strict=False)
        try:
            parser.read(path, encoding="utf-8")
        except (OSError, ValueError, configparser.Error):
            continue
        for section in (f"{scheme}://{host}", host):
            if parser.has_section(section):
                check_private(path)
                return dict(parser.items(section))
    return {}


def _from_file(path: str, origin: str, user: str, site: str) -> S3Keys | None:
    """Keys out of a file of either form; None if it has none for this user and site."""
    parser = configparser.RawConfigParser(strict=False)
    try:
        with open(check_private(path), encoding="utf-8-sig") as stream:
            parser.read_file(stream)
    except (OSError, ValueError, configparser.Error) as error:
        raise BadCredential(f"{path} cannot be read: {type(error).__name__}") from error
    where = f"{origin} ({path})" if path != origin else path
    if not user and parser.has_option("default", "access_key"):
        return _from_s3cmd(parser, where)
    idents = [f"{user}@{site}"] if user else [name for name in parser.sections() if "@" in name]
    for ident in idents:
        if parser.has_option(ident, "access_key"):
            place = ident.partition("@")[2]
            return S3Keys(
                access=parser.get(ident, "access_key"),
                secret=parser.get(ident, "secret_key", fallback=""),
                session=parser.get(ident, "session_token", fallback=""),
                endpoint=parser.get(place, "endpoint", fallback=""),
                region=parser.get(place, "region", fallback=""),
                origin=where,
            )
    return None


def _from_s3cmd(parser: configparser.RawConfigParser, where: str) -> S3Keys:
    host = parser.get("default", "host_base", fallback="")
    scheme = "https" if parser.get("default", "use_https", fallback="true").lower() in ("true", "1", "yes") else "http"
    return S3Keys(
        access=parser.get("default", "access_key"),
        secret=parser.get("default", "secret_key", fallback=""),
        session=parser.get("default", "access_token", fallback=""),
        endpoint=f"{scheme}://{host}" if host else "",
        region=parser.get("default", "bucket_location", fallback=""),
        origin=where,
    )


def _from_aws(environment: Mapping[str, str]) -> S3Keys | None:
    endpoint = environment.get("AWS_ENDPOINT_URL_S3") or environment.get("AWS_ENDPOINT_URL") or ""
    region = environment.get("AWS_REGION") or environment.get("AWS_DEFAULT_REGION") or ""
    profile = environment.get("PANDA_PILOT_AWS_PROFILE") or environment.get("AWS_PROFILE") or ""
    access = environment.get("AWS_ACCESS_KEY_ID", "")
    if access and not profile:
        return S3Keys(
            access=access,
            secret=environment.get("AWS_SECRET_ACCESS_KEY", ""),
            session=environment.get("AWS_SESSION_TOKEN", ""),
            endpoint=endpoint,
            region=region,
            origin="AWS_ACCESS_KEY_ID",
        )
    files = environment.get("AWS_SHARED_CREDENTIALS_FILE") or os.path.join(
        environment.get("HOME", ""), ".aws/credentials"
    )
    if profile or os.path.exists(files):
        origin = f"AWS profile {profile or 'default'}"
        return S3Keys("", "", endpoint=endpoint, region=region, profile=profile or "default", origin=origin)
    return None
