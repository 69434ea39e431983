"""What is never removed, in whatever spelling it comes."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator, Mapping

from pilot.lib.files import local_path
from pilot.lib.urls import scheme_of, shown


class Refused(ValueError):
    """A target that is never removed; says which and why."""


def kept_places(environment: Mapping[str, str], directory: str) -> tuple[str, ...]:
    """What stays, with all that contains it: the home as told and as the system knows it, the present directory."""
    return (environment.get("HOME", ""), os.path.expanduser(f"~{_user()}"), directory)


def refuse(url: str, protected: Collection[str]) -> None:
    """Raise `Refused` for what must not be removed.

    That is: the root, anything with `..` in it, a storage or a bucket as a whole, and the `protected` directories with
    all that contain them: by whatever path, link, mount or quoting, and a link to one of them too.
    """
    path = local_path(url)
    if path is None:
        _refuse_remote(url)
        return
    if not path.strip() or not path.startswith("/"):
        raise Refused(f"{path!r} is no absolute path")
    if ".." in path.split("/"):
        raise Refused(f"{path}: '..' may lead anywhere")
    places = dict.fromkeys(["/", *(spelled for place in protected if place for spelled in _spellings(place))])
    for spelled in _spellings(path):
        for place in places:
            if spelled == place:
                raise Refused(f"{path} is never removed")
            if os.path.commonpath((spelled, place)) == spelled:
                raise Refused(f"{path}: that holds {place}")
    for place in places:
        if os.path.exists(path) and os.path.exists(place) and os.path.samefile(path, place):
            raise Refused(f"{path} is {place}, which is never removed")


def _spellings(path: str) -> Iterator[str]:
    """The path as it is written, with the links above it resolved, and with all of them."""
    plain = "/" + os.path.abspath(path).lstrip("/")
    head, name = os.path.split(plain)
    yield plain
    yield os.path.join(os.path.realpath(head), name)
    yield os.path.realpath(plain)


def _refuse_remote(url: str) -> None:
    scheme = scheme_of(url)
    rest = url.partition("://")[2]
    path, _, query = rest.partition("#")[0].partition("?")
    host, _, path = path.partition("/")
    if scheme == "srm" and "SFN=" in query:
        path = query.rpartition("SFN=")[2]
    from urllib.parse import unquote

    while (plain := unquote(path)) != path:
        path = plain
    parts = [part.partition(";")[0] for part in path.replace("\\", "/").split("/")]
    parts = [part for part in parts if part not in ("", ".")]
    if ".." in parts:
        raise Refused(f"{shown(url)}: '..' may lead anywhere")
    bucket_in_path = scheme in ("s3", "s3s") and ("@" in host or ":" in host or host.count(".") >= 2)
    if len(parts) <= bucket_in_path:
        raise Refused(f"{shown(url)}: that is the whole storage")


def _user() -> str:
    import pwd

    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        return ""
