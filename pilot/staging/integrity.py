"""What a kickstart record wants to know of a file: its state on disk and its checksum, as YAML."""

from __future__ import annotations

import grp
import json
import os
import pwd
import time

from pilot.core.transfer import Outcome
from pilot.lib.files import local_path


def integrity_yaml(outcome: Outcome) -> str:
    """The entry of one file, indented for `files:`; empty where neither end is a local file or the sum is unknown.

    It tells of the source where that is a local file (and still there), as Pegasus does, else of the target.
    """
    ends = (local_path(url) for url in (outcome.source, outcome.target))
    path = next((p for p in ends if p and os.path.exists(p)), None)
    sha256 = outcome.checksums.get("sha256")
    if path is None or sha256 is None:
        return ""
    try:
        found = os.stat(path)
    except OSError:
        return ""
    spent = sum(attempt.checksum_seconds for attempt in outcome.attempts)
    rows = {
        "comment": "checksum made while the file was moved",
        "file_name": json.dumps(path),
        "mode": f"0o{found.st_mode:o}",
        "size": found.st_size,
        "inode": found.st_ino,
        "nlink": found.st_nlink,
        "mtime": _time(found.st_mtime),
        "atime": _time(found.st_atime),
        "ctime": _time(found.st_ctime),
        "uid": found.st_uid,
        "user": _user(found.st_uid),
        "gid": found.st_gid,
        "group": _group(found.st_gid),
        "output": "True",
        "sha256": sha256,
        "checksum_timing": f"{spent:.3f}",
    }
    return f"    {json.dumps(outcome.lfn)}:\n" + "".join(f"      {name}: {value}\n" for name, value in rows.items())


def _time(at: float) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(at)) + "+00:00"


def _user(number: int) -> str:
    try:
        return pwd.getpwuid(number).pw_name
    except KeyError:
        return ""


def _group(number: int) -> str:
    try:
        return grp.getgrgid(number).gr_name
    except KeyError:
        return ""
