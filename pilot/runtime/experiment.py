"""What an experiment's payloads find in their environment besides what every payload finds, and their release. Pure."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping

import msgspec

from pilot.core.job import JobDefinition

_WORD = re.compile(r"@(\w+)@")


class Release(msgspec.Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """How the software that a job names is set up: section `[payload.release]` (protocol.md section 10).

    `names` are expressions of which the first that is the whole `homepackage`, else the whole `swRelease`, counts: its
    groups, with commas between them, are put into `lines` for `@names@`. `@platform@` is there for `platform` with the
    job's own put in for `@cmtconfig@`, for nothing where the job has none.
    """

    names: tuple[str, ...] = ()
    platform: str = ""
    lines: tuple[str, ...] = ()

    def setup(self, job: JobDefinition) -> tuple[str, ...]:
        """The lines of shell that set up this job's release; none where it names none or brings the whole command."""
        if job.complete_command:
            return ()
        for text in (job.homepackage.strip().partition("\n")[0], job.release.strip()):
            for name in self.names:
                if found := re.fullmatch(name, text):
                    return self._lines(",".join(filter(None, found.groups())), job.platform)
        return ()

    def _lines(self, names: str, platform: str) -> tuple[str, ...]:
        words = {
            "names": shlex.quote(names),
            "platform": self.platform.replace("@cmtconfig@", shlex.quote(platform)) if platform else "",
        }
        return tuple(_WORD.sub(lambda found: words.get(found[1], found[0]), line).rstrip() for line in self.lines)


class Variables(msgspec.Struct, frozen=True, omit_defaults=True):
    """Of an experiment's section `[payload]`: variables of all jobs, and of users' jobs; those (or `PREFIX*`) that no
    payload, or no user's, is given even if the queue sets them.

    In their values stand for what is put in: `@task@`, `@job@`, `@attempt@`, `@processing@` (the type), `@cores@` and
    `@datasets@` (of the inputs, with commas). A variable for which a job has nothing to put in is left out.
    """

    variables: dict[str, str] = {}
    user_variables: dict[str, str] = {}
    withheld: tuple[str, ...] = ()
    user_withheld: tuple[str, ...] = ()
    release: Release = Release()

    def withheld_from(self, job: JobDefinition) -> tuple[str, ...]:
        """The names that this job's payload is not given."""
        return (*self.withheld, *(self.user_withheld if job.by_user else ()))

    def of(self, job: JobDefinition) -> dict[str, str]:
        """The variables of this job."""
        words = {
            "task": str(job.task_id or ""),
            "job": str(job.job_id),
            "attempt": str(job.attempt),
            "processing": job.processing_type,
            "cores": str(max(1, job.cores)),
            "datasets": ",".join(dict.fromkeys(file.dataset for file in job.inputs if file.dataset)),
        }
        given = {**self.variables, **(self.user_variables if job.by_user else {})}
        return {name: text for name, value in given.items() if (text := _filled(value, words)) is not None}


def _filled(value: str, words: Mapping[str, str]) -> str | None:
    if any(not words.get(word, "x") for word in _WORD.findall(value)):
        return None
    return _WORD.sub(lambda found: words.get(found[1], found[0]), value)
