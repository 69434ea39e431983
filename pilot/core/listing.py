"""Inputs that the payload wants listed in a text file instead of on its command line (`writeToFile`)."""

from __future__ import annotations

import re

from pilot.core.job import JobDefinition


def listing_files(job: JobDefinition) -> tuple[str, dict[str, str]]:
    """The parameters with every `--option=@name` made `@name.txt`, and those files' contents by file name.

    A file's first line is the option, each further line one LFN: the form that argparse reads for `@file`.
    Where `@name` has no option before it, the file holds the names alone.
    """
    parameters, files = job.parameters, {}
    for name, lfns in job.write_to_file:
        place = re.compile(rf"(?:(\S+?)=)?@{re.escape(name)}(?![\w.])")
        found = place.search(parameters)
        option = [found[1]] if found and found[1] else []
        files[f"{name}.txt"] = "".join(f"{line}\n" for line in (*option, *lfns))
        parameters = place.sub(lambda _, name=name: f"@{name}.txt", parameters)  # type: ignore[misc]
    return parameters, files
