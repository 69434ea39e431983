"""The classic dialect: form fields in, flat text or JSON out (protocol.md 1.1, 1.3 to 1.8, section 3). Pure."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any
from urllib.parse import parse_qsl, urlencode

import msgspec

from pilot.core.commands import parse_commands
from pilot.core.secrets import secret_map
from pilot.core.update import Answer, JobUpdate, Node
from pilot.plugins.sources.base import Acquired, Capacity
from pilot.plugins.sources.classic_messages import GetJob, update_message
from pilot.plugins.sources.dialect import MAY_PASS, NO_JOBS, OK, Call, CredentialKind, garbage, of_code, wanted, whole
from pilot.plugins.sources.panda_settings import DialectName, PandaSettings
from pilot.plugins.sources.v1 import pick

_FORM = {"Content-Type": "application/x-www-form-urlencoded", "Accept": "application/json"}


class Classic:
    """Requests and answers of the classic dialect."""

    name = DialectName.CLASSIC

    def acquire(self, capacity: Capacity, settings: PandaSettings) -> Call:
        """`getJob`; `nJobs` is told only when several are wanted, since its presence changes the answer's form."""
        return post(
            "getJob",
            GetJob(
                **wanted(capacity, settings),
                get_proxy_key=settings.want_proxy_key or None,
                n_jobs=capacity.jobs if capacity.jobs > 1 else None,
                working_group=settings.working_group or None,
                country_group=settings.country_group or None,
                other_country=settings.other_country or None,
            ),
        )

    def read_jobs(self, body: bytes) -> Acquired:
        """The jobs, in the form for one or for several; none when the server has none now."""
        answer = read_answer("getJob", body)
        if whole(answer["StatusCode"]) == NO_JOBS:
            return Acquired()
        check_answer("getJob", answer)
        jobs = nested(answer["jobs"]) if "jobs" in answer else [answer] if "PandaID" in answer else None
        if not isinstance(jobs, list) or not all(isinstance(job, dict) for job in jobs):
            raise garbage("getJob", body)
        return Acquired(tuple(jobs))

    def update(self, update: JobUpdate, node: Node) -> Call:
        """`updateJob`."""
        return post("updateJob", update_message(update, node))

    def read_answer(self, body: bytes) -> Answer:
        """The answer to one update."""
        return _said(read_answer("updateJob", body))

    def update_bulk(self, updates: Sequence[JobUpdate], node: Node) -> Call:
        """`updateJobsInBulk`: the list as a JSON text in one field."""
        items = [update_message(update, node) for update in updates]
        fields = {"jobList": json.dumps(items)}
        if node.harvester_id:
            fields["harvester_id"] = node.harvester_id
        return post("updateJobsInBulk", fields)

    def read_answers(self, body: bytes, count: int) -> list[Answer]:
        """The answers in order, out of a JSON pair of a flag and a list whose items may be flat text."""
        try:
            done, items = msgspec.json.decode(body)
        except (msgspec.DecodeError, UnicodeDecodeError, ValueError, TypeError) as error:
            raise garbage("updateJobsInBulk", body) from error
        if not done or not isinstance(items, list):
            raise of_code("updateJobsInBulk", 50, str(items)[:200])
        if len(items) != count:
            raise garbage("updateJobsInBulk", body)
        return [_said(_fields("updateJobsInBulk", item)) for item in items]

    def status(self, job_ids: Sequence[int]) -> Call:
        """`getStatus`."""
        return post("getStatus", {"ids": " ".join(map(str, job_ids))})

    def read_status(self, body: bytes, job_ids: Sequence[int]) -> dict[int, str]:
        """The word on each job that the server knows: `+`-joined, in the order asked."""
        answer = read_answer("getStatus", body)
        check_answer("getStatus", answer)
        # In a flat answer that was not quoted a plus reads as a blank.
        words = str(answer.get("status", "")).replace(" ", "+").split("+")
        return {n: w for n, w in zip(job_ids, words, strict=False) if w not in ("", "notfound", "unknown")}

    def worker_status(self, node: Node, word: str) -> Call:
        """`updateWorkerPilotStatus`: `started` or `finished`."""
        fields = {"workerID": node.worker_id, "harvesterID": node.harvester_id, "status": word, "site": node.queue}
        return post("updateWorkerPilotStatus", {**fields, "node_id": node.host})

    def worker_node(self, facts: dict[str, Any]) -> Call | None:
        """This dialect has no such call: the map travels in the job's metadata."""
        return None

    def worker_gpu(self, facts: dict[str, Any]) -> Call | None:
        """This dialect has no such call: the map travels in the job's metadata."""
        return None

    def read_done(self, body: bytes) -> None:
        """That a call was done; raises otherwise."""
        check_answer("the call", read_answer("the call", body))

    def credential(self, kind: CredentialKind) -> Call:
        """`getProxy`, `getKeyPair`, `get_access_token` or `get_token_key`."""
        return post(kind.call, kind.parameters)

    def read_credential(self, body: bytes, kind: CredentialKind) -> tuple[str, ...]:
        """The wanted values in order."""
        answer = read_answer(kind.call, body)
        check_answer(kind.call, answer)
        return pick(kind, answer)

    def resource_types(self) -> Call:
        """`getResourceTypes`."""
        return post("getResourceTypes", {})

    def read_resource_types(self, body: bytes) -> list[dict[str, Any]]:
        """The list of resource types."""
        answer = read_answer("getResourceTypes", body)
        check_answer("getResourceTypes", answer)
        types = nested(answer.get("ResourceTypes") or [])
        return [item for item in types if isinstance(item, dict)] if isinstance(types, list) else []


def post(method: str, message: Any) -> Call:
    """A call with form fields; what is None is left out, everything else is text."""
    fields = message if isinstance(message, dict) else msgspec.to_builtins(message)
    text = {key: str(value) for key, value in fields.items() if value is not None}
    return Call("POST", f"/server/panda/{method}", urlencode(text).encode(), dict(_FORM))


def read_answer(what: str, body: bytes) -> dict[str, Any]:
    """An answer in either form: a JSON object, or fields as in a query string. It always has a StatusCode."""
    text = body.decode("utf-8", "replace").strip()
    if text.startswith("{"):
        try:
            answer = msgspec.json.decode(body)
        except msgspec.DecodeError as error:
            raise garbage(what, body) from error
    else:
        answer = dict(parse_qsl(text, keep_blank_values=True))
    if whole(answer.get("StatusCode")) is None:
        raise garbage(what, body)
    return dict(answer)


def check_answer(what: str, answer: dict[str, Any]) -> None:
    """Raise unless the status code is 0."""
    code = whole(answer["StatusCode"])
    if code != OK:
        raise of_code(what, code or 0, str(answer.get("errorDialog") or ""))


def nested(value: object) -> Any:
    """A list or object that a flat answer holds as JSON text."""
    if not isinstance(value, str):
        return value
    try:
        return json.loads(value)
    except ValueError:
        return None


def _fields(what: str, item: object) -> dict[str, Any]:
    """One answer inside another: flat text, an object, or an object that holds the answer as text (`content`)."""
    if isinstance(item, dict) and isinstance(item.get("content"), str):
        item = item["content"]
    if isinstance(item, str):
        return read_answer(what, item.encode())
    if isinstance(item, dict) and whole(item.get("StatusCode")) is not None:
        return item
    raise garbage(what, str(item).encode())


def _said(answer: dict[str, Any]) -> Answer:
    code = whole(answer["StatusCode"])
    if code != OK:
        return Answer(False, code in MAY_PASS, f"status {code} {answer.get('errorDialog') or ''}".strip())
    command = answer.get("command")
    return Answer(
        True, commands=parse_commands(command and str(command)), secrets=secret_map(answer.get("pilotSecrets"))
    )
