"""A payload that reads inputs where they lie: its command line names their URLs (protocol.md 8.2 and section 10)."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping

import msgspec

from pilot.core.job import JobDefinition
from pilot.lib.files import local_path

#: Stands in an experiment's options for the GUIDs of the inputs.
_GUIDS = "@guids@"


def with_turls(job: JobDefinition, turls: Mapping[str, str], options: str = "") -> JobDefinition:
    """The job as it is run: the LFNs in its parameters and input lists replaced by the URLs in `turls`.

    `options` are what the experiment adds to the command line of a user's transformation instead, which then finds the
    URLs in the catalogue. A name is replaced where it stands as a word of its own.
    """
    if not turls:
        return job
    if options and job.by_user:
        guids = json.dumps([item.guid for item in job.inputs if item.lfn in turls]).replace('"', "'")
        return msgspec.structs.replace(job, parameters=f"{job.parameters} {options.replace(_GUIDS, guids)}".strip())
    places = {lfn: local_path(url) or url for lfn, url in turls.items()}
    names = "|".join(re.escape(lfn) for lfn in sorted(places, key=len, reverse=True))
    word = re.compile(rf"(?<![\w./-])(?:{names})(?![\w/-]|\.\w)")
    return msgspec.structs.replace(
        job,
        parameters=word.sub(lambda found: places[found[0]], job.parameters),
        write_to_file=tuple((name, tuple(places.get(lfn, lfn) for lfn in lfns)) for name, lfns in job.write_to_file),
    )
