"""The plan of a job's files in words, and what became of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pilot.cli.tables import size, where

Plan = Mapping[str, Any]
_NEAR = {"lan": "near", "wan": "far"}


def plan_text(plans: Sequence[Plan], attempts: Sequence[Mapping[str, Any]] | None = None) -> str:
    """Each file with its places in order, and why others are left out. With `attempts` (rows of the PilotDB) also what
    was tried."""
    return "\n".join(line for plan in plans for line in _file(plan, attempts))


def worth_telling(plan: Plan, attempts: Sequence[Mapping[str, Any]]) -> bool:
    """Whether more can be said of a file than where it came from or went."""
    told = any(plan.get(key) for key in ("left_out", "notes", "error"))
    failed = any(row["error_code"] for row in attempts if _is_of(row, plan))
    return told or failed or len(plan.get("places", ())) > 1 or plan.get("how") == "in place"


def _file(plan: Plan, attempts: Sequence[Mapping[str, Any]] | None) -> list[str]:
    facts = [size(plan["size"])] if plan.get("size") is not None else []
    facts += [f"{checksum['kind']} {checksum['value']}" for checksum in plan.get("checksums", ())]
    if plan.get("how"):
        facts.append(plan["how"] + (f" ({plan['because']})" if plan.get("because") else ""))
    elif plan.get("because"):
        facts.append(plan["because"])
    if plan.get("by") and plan["direction"] == "in":
        facts.append(f"its places by {plan['by']}")
    lines = [f"  {plan['direction'].ljust(3)} {plan['lfn']}" + (f": {', '.join(facts)}" if facts else "")]
    if plan.get("error"):
        lines.append(f"        error {plan.get('code', 0)}: {plan['error']}")
    mine = None if attempts is None else [row for row in attempts if _is_of(row, plan)]
    lines += [f"     {n}. {_place(one, mine, plan)}" for n, one in enumerate(plan.get("places", ()), 1)]
    lines += [f"  else  {_place(one, mine, plan)}" for one in plan.get("alternative", ())]
    lines += [f"     -  {_left_out(left)}" for left in plan.get("left_out", ())]
    lines += [f"        {note}" for note in (*plan.get("notes", ()), *filter(None, (plan.get("otherwise"),)))]
    return lines


def _is_of(row: Mapping[str, Any], plan: Plan) -> bool:
    return bool(row["lfn"] == plan["lfn"] and (row["direction"] == "in") == (plan["direction"] == "in"))


def _place(place: Mapping[str, Any], attempts: Sequence[Mapping[str, Any]] | None, plan: Plan) -> str:
    about = [place["rse"]] if place.get("rse") else []
    about += [_NEAR[place["near"]]] if place.get("near") else []
    how = "in place" if place.get("in_place") else place.get("copytool") or "no tool"
    text = f"{how}: {where(place['url'])}" + (f" ({', '.join(about)})" if about else "")
    if place.get("why"):
        text += f": {place['why']}"
    if place.get("credential"):
        text += f", credential: {place['credential']}"
    return text if attempts is None else text + _became(place, attempts, plan)


def _became(place: Mapping[str, Any], attempts: Sequence[Mapping[str, Any]], plan: Plan) -> str:
    """What came of a place: tried how often, with which error; or why it was not."""
    end = "source" if plan["direction"] == "in" else "target"
    tried = [row for row in attempts if row[end] == place["url"] and _looked(row) == bool(place.get("in_place"))]
    failed = [row for row in tried if row["error_code"]]
    if len(failed) < len(tried):
        return " <- taken" + (f", after {len(failed)} that failed" if failed else "")
    if failed:
        return f" <- failed: {failed[-1]['error']}"
    return " <- not needed" if any(not row["error_code"] for row in attempts) else " <- not tried"


def _looked(row: Mapping[str, Any]) -> bool:
    """Whether an attempt only looked at a file where it is to be read."""
    return bool(row["direction"] == "in" and row["source"] == row["target"])


def _left_out(left: Mapping[str, Any]) -> str:
    place = where(left.get("url"))
    name = f"{place} ({left['rse']})" if place and left.get("rse") else place or left.get("rse", "")
    return f"{name}: {left['why']}"
