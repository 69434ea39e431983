"""`pilot show --worker`: what one batch worker did for each of its jobs."""

from __future__ import annotations

from typing import Any

from pilot.cli.tables import clock, seconds, table


def told(profile: dict[str, Any]) -> str:
    """The text."""
    worker = profile["worker"]
    head = (
        f"pilot {worker['pilot']} on {worker['host']}: {clock(worker['begin'])} to {clock(worker['end'])} UTC,"
        f" {worker['cores']} cores"
    )
    rows = [
        (
            f"{job['job_id']}.{job['attempt']}",
            clock(job["begin"]),
            clock(job["end"]),
            f"{job['cores']:.2f}",
            seconds(job["wall_s"]),
            f"{job['wall_core_s']:.2f}",
            f"{job['cpu_s']:.2f}",
            job["events"] or "",
        )
        for job in profile["jobs"]
    ]
    idle = profile["idle"]
    rows.append(("no job", "", "", "", "", f"{idle['wall_core_s']:.2f}", f"{idle['cpu_s']:.2f}", ""))
    rows.append(("all", "", "", "", "", f"{worker['wall_core_s']:.2f}", f"{worker['cpu_s']:.2f}", ""))
    columns = ("job", "begin (UTC)", "end (UTC)", "cores", "wall", "core seconds", "CPU seconds", "events")
    lines = [head, "", table(columns, rows, right=columns[3:])]
    if not worker["cpu_told"]:
        lines.append("(the pilot has not ended by itself: the CPU time is what its payloads were seen to use)")
    return "\n".join(lines)
