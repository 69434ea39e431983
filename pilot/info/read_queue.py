"""A queue's record, as the information systems write it, read into `QueueData` (protocol.md 7.3). Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from pilot.core.errors import ConversionFailure, QueuedataNotOk
from pilot.core.fields import Fields
from pilot.core.queue import QueueData

Raw = Mapping[str, Any]
_FLAG = re.compile(r"""\s*([\w.-]+)\s*(?:=\s*("[^"]*"|'[^']*'|[^,]*))?(?:,|$)""")
_OPTIONS = re.compile(r"(?:singularity|apptainer)_options=(.*?)(?=,\s*\w+(?:=|,|$)|$)")


def pick(found: object, queue: str) -> dict[str, Any]:
    """The record of one queue out of a document: a record by itself, a table by name, or a list of records.

    Raises `QueuedataNotOk` (1117) when the document reports an error or does not know the queue.
    """
    if isinstance(found, Mapping) and found.get("error"):
        raise QueuedataNotOk(f"the source of the queue data reports: {str(found['error'])[:200]}")
    if isinstance(found, list):
        found = {str(item.get("nickname") or item.get("name")): item for item in found if isinstance(item, Mapping)}
    if isinstance(found, Mapping):
        if isinstance(record := found.get(queue), Mapping):
            return dict(record)
        if "nickname" in found or "panda_resource" in found or "copytools" in found:
            return dict(found)
    raise QueuedataNotOk(f"the document holds no queue {queue!r}")


def merge(details: Raw, main: Raw, *overlays: Raw) -> dict[str, Any]:
    """One record: details, over them the main data, over them each overlay. `params` are merged key by key."""
    merged: dict[str, Any] = {}
    for layer in (details, main, *overlays):
        params = {**_params(merged), **_params(layer)}
        merged |= {key: value for key, value in layer.items() if value is not None}
        if params:
            merged["params"] = params
    return merged


def _params(record: Raw) -> dict[str, Any]:
    params = record.get("params")
    return dict(params) if isinstance(params, Mapping) else {}


def read_queue(record: Raw, name: str) -> QueueData:
    """The queue. Raises `QueuedataNotOk` (1117) naming the key whose value is not what it should be."""
    try:
        return _read(record, name)
    except ConversionFailure as error:
        raise QueuedataNotOk(f"queue {name!r}: {error.detail}") from error


def _read(record: Raw, name: str) -> QueueData:
    fields, params = Fields(record), Fields(_params(record))
    flags = read_flags(fields.text("catchall"))
    resource = fields.text("panda_resource") or fields.text("nickname") or name
    return QueueData(
        name=fields.text("nickname") or name,
        resource=resource,
        site=fields.text("atlas_site") or fields.text("gstat") or fields.text("site") or resource,
        kind=fields.text("type", "unified"),
        state=fields.text("state", "ACTIVE").upper(),
        status=fields.text("status", "online").lower(),
        resource_type=fields.text("resource_type", "grid"),
        cores=fields.amount("corecount", 1) or 1,
        max_memory_mb=fields.amount("maxrss"),
        max_workdir_mb=fields.amount("maxwdir"),
        max_input_mb=fields.amount("maxinputsize", -1),
        max_time_s=fields.amount("maxtime"),
        time_floor_s=60 * fields.amount("timefloor"),
        memory_kill_grace=fields.amount("memkillgrace", 100),
        pledged_cpu=fields.integer("pledgedcpu") or 0,
        zip_gap_s=fields.amount("zip_time_gap"),
        appdir=fields.text("appdir"),
        platform=fields.text("cmtconfig"),
        environ=read_environ(fields.text("environ")),
        cvmfs=fields.flag("is_cvmfs", True),
        containers=_containers(fields.text("container_type")),
        container_options=fields.text("container_options") or _legacy_options(fields.text("catchall")),
        tool_settings=_settings(_table(record, "copytools")),
        copytools=_copytools(record),
        schemes=_schemes(_table(record, "acopytools_schemas")),
        astorages=_lists(_table(record, "astorages")),
        direct_access_lan=fields.flag("direct_access_lan"),
        direct_access_wan=fields.flag("direct_access_wan"),
        allow_lan=fields.flag("allow_lan", True),
        allow_wan=fields.flag("allow_wan"),
        use_pcache=fields.flag("use_pcache"),
        walltime_grace=params.amount("pilot_walltime_grace"),
        rss_grace=params.amount("pilot_rss_grace", 100),
        workdir_grace=params.amount("pilot_maxwdir_grace", 20),
        job_maxwalltime=params.flag("job_maxwalltime"),
        ip_version=params.text("internet_protocol_version"),
        allow_alternative=params.flag("allow_altstageout") if params.has("allow_altstageout") else None,
        flags=flags,
    )


def read_flags(text: str) -> dict[str, str]:
    """The catch-all's words: `key=value` and, as `true`, words by themselves."""
    return {found[1]: (found[2] or "true").strip().strip("\"'") for found in _FLAG.finditer(text)}


def read_environ(text: str) -> dict[str, str]:
    """`KEY=value KEY2="with blanks"` as variables; `export` before a name and separators of any kind are taken."""
    pairs = re.findall(r"""(?:export\s+)?([A-Za-z_]\w*)=("[^"]*"|'[^']*'|[^\s;,]*)""", text)
    return {name: value.strip("\"'") for name, value in pairs}


def _containers(text: str) -> dict[str, str]:
    """`apptainer:pilot;bash:middleware` -> who is contained -> by what."""
    pairs = (item.partition(":") for item in text.split(";"))
    return {user.strip(): runtime.strip() for runtime, _, user in pairs if user.strip()}


def _legacy_options(catchall: str) -> str:
    found = _OPTIONS.search(catchall)
    return found[1].strip().strip("\"'") if found else ""


def _table(record: Raw, key: str) -> dict[str, Any]:
    """An object; a list of names stands for one that tells nothing of them, an empty list for nothing."""
    value = record.get(key)
    if isinstance(value, (list, tuple)):
        return dict.fromkeys(_names(value))
    return Fields(record).mapping(key)


def _settings(tools: Raw) -> dict[str, dict[str, str]]:
    """What is told of each tool. A text by itself is its set-up; an empty value tells nothing."""
    found: dict[str, dict[str, str]] = {}
    for tool, told in tools.items():
        words = {"setup": told} if isinstance(told, str) else told if isinstance(told, Mapping) else {}
        found[tool] = {str(key): str(value) for key, value in words.items() if value not in (None, "")}
    return found


def _copytools(record: Raw) -> dict[str, tuple[str, ...]]:
    """Tools by activity; those that the queue only names serve every activity that has no list of its own."""
    by_activity = _lists(_table(record, "acopytools"))
    tools = tuple(_table(record, "copytools"))
    return {**({"default": tools} if tools else {}), **by_activity}


def _schemes(schemas: Raw) -> dict[str, tuple[str, ...]]:
    """URL schemes by activity, in lower case, those of single tools taken together."""
    found: dict[str, tuple[str, ...]] = {}
    for activity, value in schemas.items():
        parts = value.values() if isinstance(value, Mapping) else [value]
        names = (name.lower().removesuffix("://") for part in parts for name in _names(part))
        if schemes := tuple(dict.fromkeys(names)):
            found[activity] = schemes
    return found


def _lists(table: Raw) -> dict[str, tuple[str, ...]]:
    """Names by activity, each once; an activity without any is left out."""
    return {key: names for key, value in table.items() if (names := tuple(dict.fromkeys(_names(value))))}


def _names(value: object) -> list[str]:
    """The names in a list, in the keys of an object, or in a text with commas; what is empty is left out."""
    if isinstance(value, str):
        value = value.split(",")
    if not isinstance(value, (list, tuple, Mapping)):
        return []
    return [name.strip() for name in value if isinstance(name, str) and name.strip() not in ("", "NULL", "None")]
