"""What of a job nobody but its payload may see: kept out of the PilotDB and all records, in a file of its own.

The file is `<workdir>/.secrets/<job>.json`, mode 0600 in a directory of mode 0700, written before the job's row and
removed with the job's end. A pilot that takes the job up after a kill -9 finds there what the row does not tell.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import Any

import msgspec

from pilot.core.job import JobDefinition
from pilot.core.parameters import decode
from pilot.core.secrets import Secrets, secret_words, split_secrets
from pilot.lib.redact import Redactor

_FOLDER = ".secrets"
#: Where a payload finds the secrets that its user gave the task; it is there only while the payload runs.
PAYLOADS_OWN = "panda_secrets.json"


class Concealed(msgspec.Struct, frozen=True, omit_defaults=True):
    """`user` is what the payload finds in its secrets file; `values` are all secrets of the job, to be blacked out
    wherever they turn up; `keys` are the parts of the description that hold any of them, as they were given."""

    user: dict[str, Any] = {}
    values: tuple[str, ...] = ()
    keys: dict[str, Any] = {}

    def __repr__(self) -> str:
        return f"Concealed({len(self.values)} values)"


def learn(raw: Mapping[str, Any], redactor: Redactor) -> Secrets:
    """The secrets of a description that has just come; from now on none of them is written anywhere."""
    _, secrets = split_secrets(raw)
    redactor.add(secrets.values())
    redactor.add(secret_words(_plain(raw.get("jobPars"))))
    return secrets


def conceal(definition: JobDefinition, secrets: Secrets, redactor: Redactor) -> tuple[JobDefinition, Concealed | None]:
    """The definition as it may be kept (what it asks for is unchanged), and what is kept apart; None for nothing."""
    raw = definition.raw
    clean = redactor.clean(raw)
    plain = _plain(raw.get("jobPars"))
    if (shown := redactor.scrub(plain)) != plain:  # base64 would show what it hides to nobody but to who undoes it
        clean = {**clean, "jobPars": shown}
    keys = {key: value for key, value in raw.items() if clean.get(key) != value}
    values = (*secrets.values(), *secret_words(plain))
    if not keys and not values:
        return definition, None
    return msgspec.structs.replace(definition, raw=clean), Concealed(secrets.user, values, keys)


def keep(workdir: Path, key: str, concealed: Concealed) -> None:
    """Write the file, whole or not at all. Raises `OSError`."""
    path = _path(workdir, key)
    path.parent.mkdir(mode=0o700, exist_ok=True)
    part = path.with_suffix(".part")
    fd = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    with os.fdopen(fd, "wb") as file:
        file.write(msgspec.json.encode(concealed))
    part.replace(path)


def recall(workdir: Path, key: str, redactor: Redactor) -> Concealed:
    """What an earlier pilot kept apart for a job; nothing if there was nothing, or if it is gone."""
    try:
        found = msgspec.json.decode(_path(workdir, key).read_bytes(), type=Concealed)
    except (OSError, msgspec.DecodeError):
        return Concealed()
    redactor.add(found.values)
    return found


def forget(directory: Path, key: str) -> None:
    """Remove what a job's directory and the file beside it hold of secrets. Never raises."""
    for path in (directory / PAYLOADS_OWN, _path(directory.parent, key)):
        with contextlib.suppress(OSError):
            path.unlink(missing_ok=True)


def hide_in(directory: Path, names: Iterable[str], redactor: Redactor) -> None:
    """Files that the pilot wrote for a payload's start stay for the log archive: without secrets. Never raises."""
    for name in names:
        with contextlib.suppress(OSError, UnicodeDecodeError):
            text = (directory / name).read_text()
            if (clean := redactor.scrub(text)) != text:
                (directory / name).write_text(clean)


def forget_others(workdir: Path, keys: Collection[str]) -> None:
    """Remove the files of jobs that are over: a pilot may have died just before it did that. Never raises."""
    with contextlib.suppress(OSError):
        for path in (workdir / _FOLDER).iterdir():
            if path.stem not in keys:
                path.unlink(missing_ok=True)


def _path(workdir: Path, key: str) -> Path:
    return workdir / _FOLDER / f"{key}.json"


def _plain(jobpars: object) -> str:
    return decode(jobpars) if isinstance(jobpars, str) else ""
