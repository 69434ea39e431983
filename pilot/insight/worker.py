"""What one batch worker did for each of its jobs, so that the jobs' shares add up to what the worker is charged."""

from __future__ import annotations

from typing import Any

import msgspec

from pilot.core.errors import FileHandlingFailure
from pilot.core.profile import Span, Whole, divide
from pilot.insight.read import Reader


def worker_profile(reader: Reader, number: int = 0) -> dict[str, Any]:
    """The division of pilot `number`'s time (0: the last one here). Raises `FileHandlingFailure` if there is none.

    `worker` is the whole: `begin` and `end` (epoch s), `cores`, `wall_core_s`, `cpu_s`, and `cpu_told`, whether the
    kernel has told that at the pilot's end (a pilot that runs or was killed is charged what its payloads were seen to
    use). `jobs` has a share for each job, `idle` what belongs to none: they add up to the whole. `cpu_measured_s` is
    what the job server was told of a job's payloads; the rest of its `cpu_s` is its part of what nobody measured.
    """
    pilots = [row for row in reader.pilots() if number in (0, row["pilot"])]
    if not pilots:
        raise FileHandlingFailure(f"no pilot {number} has worked here" if number else "no pilot has worked here")
    pilot = pilots[-1]
    runs = reader.runs(pilot["pilot"])
    end = pilot["ended"] or max([pilot["started"], *(run["last"] for run in runs)])
    spans = [
        Span(run["key"], run["started"], run["ended"] or end, run["cores"], run["cpu_s"], run["events"] or 0)
        for run in runs
    ]
    seen = sum(span.cpu_s or 0.0 for span in spans)
    cpu_s = seen if pilot["cpu_s"] is None else pilot["cpu_s"]
    whole = Whole(pilot["started"], end, pilot["cores"] or max([1, *(span.cores for span in spans)]), cpu_s)
    division = divide(whole, spans)
    jobs = []
    for key, share in division.shares.items():
        mine = [run for run in runs if run["key"] == key]
        measured = sum(run["cpu_s"] or 0.0 for run in mine)
        head = {"key": key, "job_id": mine[0]["job_id"], "attempt": mine[0]["attempt"], "runs": len(mine)}
        wall_s = sum(span.end - span.begin for span in spans if span.job == key)
        jobs.append({**head, **msgspec.to_builtins(share), "wall_s": wall_s, "cpu_measured_s": measured})
    return {
        "worker": {
            "pilot": pilot["pilot"],
            "host": pilot["host"],
            "begin": whole.begin,
            "end": whole.end,
            "cores": whole.cores,
            "wall_core_s": (whole.end - whole.begin) * whole.cores,
            "cpu_s": whole.cpu_s,
            "cpu_told": pilot["cpu_s"] is not None,
        },
        "jobs": jobs,
        "idle": {"wall_core_s": division.idle_core_s, "cpu_s": division.idle_cpu_s},
    }
