"""What an experiment's payloads find in their environment besides what every payload finds. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping

import msgspec

from pilot.core.job import JobDefinition

_WORD = re.compile(r"@(\w+)@")


class Variables(msgspec.Struct, frozen=True, omit_defaults=True):
    """Of an experiment's section `[payload]`: variables of all jobs, and of users' jobs.

    In their values stand for what is put in: `@task@`, `@job@`, `@attempt@`, `@processing@` (the type), `@cores@` and
    `@datasets@` (of the inputs, with commas). A variable for which a job has nothing to put in is left out.
    """

    variables: dict[str, str] = {}
    user_variables: dict[str, str] = {}

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
