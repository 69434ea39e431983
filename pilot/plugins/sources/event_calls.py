"""The event service's calls in both dialects, and what their answers say (protocol.md 4.1, 4.2). Pure."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from pilot.core.ranges import Archive, Chunk, Consumer, EventRange, Granted, KnownRange, RangeUpdate, Told
from pilot.plugins.sources import classic, v1
from pilot.plugins.sources.dialect import Call, garbage, whole
from pilot.plugins.sources.panda_settings import DialectName

_RANGE_KEYS = frozenset({"eventRangeID", "LFN", "GUID", "scope", "startEvent", "lastEvent", "PFN"})


def acquire_call(name: DialectName, consumer: Consumer, count: int) -> Call:
    """Ask for up to `count` ranges."""
    if name is DialectName.V1:
        message: dict[str, Any] = {
            "job_id": consumer.job_id,
            "jobset_id": consumer.jobset_id,
            "task_id": consumer.task_id,
            "n_ranges": count,
            "scattered": consumer.scattered,
        }
        if consumer.segment is not None:
            message["segment_id"] = consumer.segment
        return v1.post("event/acquire_event_ranges", message)
    fields = {**_ids(consumer), "nRanges": count, "segment_id": consumer.segment}
    return classic.post("getEventRanges", fields | ({"scattered": "True"} if consumer.scattered else {}))


def read_granted(name: DialectName, body: bytes, count: int) -> Granted:
    """The ranges; fewer than asked means that there are no more now."""
    if name is DialectName.V1:
        envelope = v1.read_envelope("acquire_event_ranges", body)
        v1.check_envelope("acquire_event_ranges", envelope)
        data = envelope.get("data")
        items = data.get("eventRanges") if isinstance(data, dict) else data
    else:
        answer = classic.read_answer("getEventRanges", body)
        classic.check_answer("getEventRanges", answer)
        items = answer.get("eventRanges")
    items = classic.nested(items) if items else []
    if not isinstance(items, list):
        raise garbage("the request for event ranges", body)
    ranges = tuple(_range(item, body) for item in items)
    return Granted(ranges, exhausted=len(ranges) < count)


def _range(item: Any, body: bytes) -> EventRange:
    values = item if isinstance(item, dict) else {}
    start, last = whole(values.get("startEvent")), whole(values.get("lastEvent"))
    if not values.get("eventRangeID") or start is None or last is None:
        raise garbage("the request for event ranges", body)
    return EventRange(
        id=str(values["eventRangeID"]),
        lfn=str(values.get("LFN") or ""),
        start_event=start,
        last_event=last,
        guid=str(values.get("GUID") or ""),
        scope=str(values.get("scope") or ""),
        path=str(values.get("PFN") or ""),
        extra={key: value for key, value in values.items() if key not in _RANGE_KEYS},
    )


def update_call(name: DialectName, chunks: Sequence[Chunk], version: int) -> Call:
    """Tell what became of ranges; the list is a JSON text inside the message in both dialects."""
    text = json.dumps(encode_chunks(chunks, version))
    if name is DialectName.V1:
        return v1.post("event/update_event_ranges", {"event_ranges": text, "version": version})
    return classic.post("updateEventRanges", {"eventRanges": text, "version": version})


def encode_chunks(chunks: Sequence[Chunk], version: int) -> list[dict[str, Any]]:
    """The list as the server reads it, in the order of the updates."""
    items: list[dict[str, Any]] = []
    for chunk in chunks:
        updates = [_update(update) for update in chunk.updates]
        if version == 0:
            items += updates
        elif chunk.archive is not None:
            items.append({"zipFile": _archive(chunk.archive), "eventRanges": updates})
        else:
            for update, item in zip(chunk.updates, updates, strict=True):
                items.append(_alone(update, item))
    return items


def _alone(update: RangeUpdate, item: dict[str, Any]) -> dict[str, Any]:
    """A range outside an archive; one with an output of its own is a chunk by itself."""
    if not update.path:
        return item
    own = {"pfn": update.path, "fsize": update.size, "adler32": update.adler32}
    events = {"numEvents": update.events} if update.events is not None else {}
    return {"esOutput": events, "eventRanges": [item | _known(own)]}


def _update(update: RangeUpdate) -> dict[str, Any]:
    return {"eventRangeID": update.id, "eventStatus": str(update.status)} | _known(
        {
            "coreCount": update.cores,
            "cpuConsumptionTime": None if update.cpu_s is None else round(update.cpu_s, 3),
            "objstoreID": int(update.storage_id) if update.storage_id.isdecimal() else None,
            "errorCode": update.error_code,
            "errorDiag": update.error_text[:500],
            "pathConvention": update.path_convention,
        }
    )


def _archive(archive: Archive) -> dict[str, Any]:
    """The server stores nothing of an archive whose storage is not told: one without a number goes by its name."""
    storage = archive.storage_id
    return {
        "lfn": archive.lfn,
        "fsize": archive.size,
        "adler32": archive.adler32,
        "numEvents": archive.events,
        "objstoreID": int(storage) if storage.isdecimal() else storage,
    } | _known({"pathConvention": archive.path_convention})


def _known(values: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in values.items() if value not in (None, "")}


def read_told(name: DialectName, body: bytes, count: int) -> Told:
    """One answer for each update, and the server's orders."""
    if name is DialectName.V1:
        envelope = v1.read_envelope("update_event_ranges", body)
        v1.check_envelope("update_event_ranges", envelope)
        answer = envelope.get("data")
        commands = answer.get("Commands", answer.get("Command")) if isinstance(answer, dict) else None
    else:
        answer = classic.read_answer("updateEventRanges", body)
        classic.check_answer("updateEventRanges", answer)
        commands = answer.get("Command")
    stored = classic.nested(answer.get("Returns")) if isinstance(answer, dict) else None
    if not isinstance(stored, list) or len(stored) != count:
        raise garbage("the update of event ranges", body)
    orders = classic.nested(commands)
    return Told(tuple(map(_yes_no, stored)), _orders(orders if isinstance(orders, dict) else {}))


def _yes_no(value: object) -> bool | None:
    return None if value is None or str(value).lower() in ("none", "null") else str(value).lower() == "true"


def _orders(values: dict[Any, Any]) -> dict[int, str]:
    found = {whole(key): str(word) for key, word in values.items() if word and str(word).upper() != "NULL"}
    return {number: word for number, word in found.items() if number is not None}


def count_call(name: DialectName, consumer: Consumer) -> Call:
    """Ask how many ranges are ready."""
    if name is DialectName.V1:
        ids = {"job_id": consumer.job_id, "jobset_id": consumer.jobset_id, "task_id": consumer.task_id}
        return v1.get("event/get_available_event_range_count", [(key, str(value)) for key, value in ids.items()])
    return classic.post("checkEventsAvailability", _ids(consumer))


def read_count(name: DialectName, body: bytes) -> int | None:
    """The number, None where the server cannot tell."""
    if name is DialectName.V1:
        envelope = v1.read_envelope("get_available_event_range_count", body)
        v1.check_envelope("get_available_event_range_count", envelope)
        return whole(envelope.get("data"))
    answer = classic.read_answer("checkEventsAvailability", body)
    classic.check_answer("checkEventsAvailability", answer)
    return next((whole(value) for key, value in answer.items() if key.lower().startswith("nevent")), None)


def states_call(name: DialectName, consumer: Consumer) -> Call:
    """Ask what the server knows of the job's ranges.

    The server's documentation calls the job `job_id`, its database code reads `panda_id`: both are told.
    """
    pairs = json.dumps([{"task_id": consumer.task_id, "job_id": consumer.job_id, "panda_id": consumer.job_id}])
    if name is DialectName.V1:
        return v1.get("event/get_event_range_statuses", [("job_task_ids", pairs)])
    return classic.post("get_events_status", {"ids": pairs})


def read_states(name: DialectName, body: bytes, consumer: Consumer) -> dict[str, KnownRange]:
    """What the server said of each range. The classic answer is the bare map, without a StatusCode."""
    if name is DialectName.V1:
        envelope = v1.read_envelope("get_event_range_statuses", body)
        v1.check_envelope("get_event_range_statuses", envelope)
        data = envelope.get("data")
    else:
        data = classic.nested(body.decode("utf-8", "replace"))
        if not isinstance(data, dict):
            raise garbage("get_events_status", body)
    ranges = data.get(str(consumer.job_id)) if isinstance(data, dict) else None
    return {
        str(name): KnownRange(str(facts.get("status")), whole(facts.get("error")), str(facts.get("dialog") or ""))
        for name, facts in (ranges or {}).items()
        if isinstance(facts, dict)
    }


def _ids(consumer: Consumer) -> dict[str, Any]:
    return {"pandaID": consumer.job_id, "jobsetID": consumer.jobset_id, "taskID": consumer.task_id}
