"""The plan in words: which tool would take each file from where to where, in which order."""

from __future__ import annotations

import os
from collections.abc import Callable, Container
from typing import Any

from pilot.core.errors import PilotError
from pilot.core.transfer import Transfer
from pilot.lib.files import local_path
from pilot.lib.urls import shown
from pilot.staging.request import Request
from pilot.staging.toolbox import Toolbox


def plan_lines(request: Request, toolbox: Toolbox, credential: Callable[[str, str], str]) -> list[dict[str, Any]]:
    """An object for each step, in the order of work. `credential` tells what a URL of a site will be shown."""
    lines: list[dict[str, Any]] = [{"type": "mkdir", "target": shown(t.url)} for t in request.directories]
    made = {target.url for transfer in request.transfers for target in transfer.targets}
    lines += [_transfer(transfer, toolbox, credential, made) for transfer in request.transfers]
    lines += [{"type": "remove", "target": shown(t.url), "recursive": t.recursive} for t in request.removals]
    return lines


def unread(path: str) -> str:
    """Why a file of this machine cannot be read now; empty if it can."""
    try:
        os.stat(path)
    except (FileNotFoundError, NotADirectoryError):
        return "not there now"
    except OSError as error:
        return error.strerror or str(error)
    return "" if os.access(path, os.R_OK) else "may not be read"


def _transfer(
    transfer: Transfer, toolbox: Toolbox, credential: Callable[[str, str], str], made: Container[str]
) -> dict[str, Any]:
    steps: list[dict[str, str]] = []
    line: dict[str, Any] = {"type": "transfer", "lfn": transfer.lfn, "size": transfer.size, "steps": steps}
    line["checksums"] = {checksum.kind: checksum.value for checksum in transfer.checksums}
    for target in transfer.targets:
        for source in sorted(transfer.sources, key=lambda place: -place.priority):
            step = {"source": shown(source.url), "target": shown(target.url)}
            try:
                step["copytool"] = toolbox.name_for(source.url, target.url, transfer.copytool)
            except PilotError as error:
                step["error"] = shown(str(error))
            shows = [told for end in (source, target) if (told := credential(end.url, end.site))]
            path = None if source.url in made else local_path(source.url)
            facts = (("rse", source.rse or target.rse), ("site", source.site), ("credential", "; ".join(shows)))
            for name, value in (*facts, ("note", unread(path) if path else "")):
                if value:
                    step[name] = value
            steps.append(step)
    if all("error" in step for step in steps):
        line["error"] = steps[0]["error"] if steps else "no source"
    if transfer.refused is not None:
        line["error"] = shown(transfer.refused.message)
    return line


def plan_text(lines: list[dict[str, Any]]) -> str:
    """The same for people."""
    text: list[str] = []
    for line in lines:
        if line["type"] != "transfer":
            text.append(f"{line['type']} {line['target']}")
            continue
        size = "" if line["size"] is None else f", {line['size']} bytes"
        sums = "".join(f", {kind} {value}" for kind, value in line["checksums"].items())
        text.append(f"transfer {line['lfn']}{size}{sums}")
        for number, step in enumerate(line["steps"], 1):
            how = step.get("copytool") or ("no tool" if step["error"] == line.get("error") else step["error"])
            shows = f" (credential: {step['credential']})" if "credential" in step else ""
            note = f" (source: {step['note']})" if "note" in step else ""
            text.append(f"  {number}. {how}: {step['source']} -> {step['target']}{shows}{note}")
        if "error" in line:
            text.append(f"  refused: {line['error']}")
    return "\n".join(text)
