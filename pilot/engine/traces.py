"""Rucio traces of a job's transfers (protocol.md 8.5): one for each attempt, told and forgotten."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from msgspec.structs import replace

from pilot.core.job import InputFile, JobDefinition, OutputFile
from pilot.core.transfer import Outcome, Transfer
from pilot.staging.trace import Tracer, trace_of


class Traces:
    """`put` takes one trace and returns at once; may be called from any thread.

    `user` is who moves the files of jobs that do not say whose they are.
    """

    def __init__(
        self, put: Callable[[Mapping[str, Any]], None], version: str, host: str, site: str, queue: str, user: str = ""
    ) -> None:
        self._put = put
        self._user = user
        self._version, self._host, self._site, self._queue = version, host, site, queue

    def tell(self, definition: JobDefinition, outcomes: Iterable[Outcome]) -> None:
        """Tell of every attempt to move a file of the job."""
        files: dict[str, InputFile | OutputFile] = {file.lfn: file for file in definition.inputs}
        files |= {file.lfn: file for file in definition.all_outputs}
        tracer = Tracer(
            version=self._version,
            local_site=self._site,
            host=self._host,
            user_dn=definition.user or self._user,
            job_id=definition.job_id,
            task_id=definition.task_id or 0,
            definition_id=definition.definition_id or 0,
            queue=self._queue,
            user_job=definition.label in ("user", "panda"),
        )
        for outcome in outcomes:
            file = files.get(outcome.lfn)
            transfer = Transfer(outcome.lfn, (), (), outcome.direction)
            if file is not None:
                transfer = replace(transfer, scope=file.scope, guid=file.guid, dataset=file.dataset)
            for attempt in outcome.attempts:
                trace = trace_of(tracer, attempt, transfer)
                if trace is not None:
                    self._put(trace)
