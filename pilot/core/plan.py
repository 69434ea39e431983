"""Where a job's files are to come from and to go, and why not from or to elsewhere. Pure data, kept in the PilotDB."""

from __future__ import annotations

import msgspec

from pilot.core.transfer import Checksum, Endpoint


class LeftOut(msgspec.Struct, frozen=True, omit_defaults=True):
    """A place that is not used; `url` is empty where a storage as a whole is not."""

    why: str
    url: str = ""
    rse: str = ""


class Places(msgspec.Struct, frozen=True, omit_defaults=True):
    """The places that may be used, the best first, and the others. `by` tells who knows of them, `note` what is odd."""

    taken: tuple[Endpoint, ...] = ()
    left_out: tuple[LeftOut, ...] = ()
    by: str = ""
    note: str = ""


class Candidate(msgspec.Struct, frozen=True, omit_defaults=True):
    """One place in its order, with the copy tool for it. `near` is `lan`, `wan` or empty where that makes no sense.

    With `in_place` the payload would read the file there; `why` tells what no copy tool can do.
    """

    url: str
    rse: str = ""
    site: str = ""
    near: str = ""
    copytool: str = ""
    in_place: bool = False
    why: str = ""
    credential: str = ""


class FilePlan(msgspec.Struct, frozen=True, omit_defaults=True):
    """What is to become of one file.

    `direction` is `in`, `out`, or `log`. `how` is `copy`, `in place` or `fetched by events` for an input, with the
    reason in `because`; `by` tells who knows of its places. `places` are in the order in which they are tried; of an
    output all are fed. `alternative` takes an output that the first does not, or `otherwise` tells why nothing would.
    `error` and `code` tell why the file cannot be moved at all.
    """

    lfn: str
    direction: str
    how: str = ""
    because: str = ""
    by: str = ""
    size: int | None = None
    checksums: tuple[Checksum, ...] = ()
    places: tuple[Candidate, ...] = ()
    alternative: tuple[Candidate, ...] = ()
    left_out: tuple[LeftOut, ...] = ()
    notes: tuple[str, ...] = ()
    otherwise: str = ""
    error: str = ""
    code: int = 0
