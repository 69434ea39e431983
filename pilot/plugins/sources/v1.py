"""The v1 dialect: closed and strictly typed JSON (protocol.md 1.1, 1.4 to 1.8, section 3). Pure."""

from __future__ import annotations

import gzip
from collections.abc import Sequence
from typing import Any
from urllib.parse import urlencode

import msgspec

from pilot.core.commands import parse_commands
from pilot.core.errors import CommunicationFailure, RequestRefused
from pilot.core.secrets import secret_map
from pilot.core.update import Answer, JobUpdate, Node
from pilot.plugins.sources.base import Acquired, Capacity
from pilot.plugins.sources.dialect import MAY_PASS, NO_JOBS, OK, Call, CredentialKind, garbage, of_code, wanted, whole
from pilot.plugins.sources.panda_settings import DialectName, PandaSettings
from pilot.plugins.sources.v1_messages import AcquireJobs, WorkerGpu, WorkerNode, WorkerStatus, update_message

_JSON = {"Content-Type": "application/json", "Accept": "application/json"}
_COMPRESS_ABOVE = 16 << 10


class V1:
    """Requests and answers of the v1 dialect."""

    name = DialectName.V1

    def acquire(self, capacity: Capacity, settings: PandaSettings) -> Call:
        """`pilot/acquire_jobs`, for as many jobs as there is room for."""
        return post(
            "pilot/acquire_jobs",
            AcquireJobs(
                **wanted(capacity, settings),
                get_proxy_key="True" if settings.want_proxy_key else None,
                n_jobs=max(1, capacity.jobs),
                target_architecture=_hardware(capacity, settings),
            ),
        )

    def read_jobs(self, body: bytes) -> Acquired:
        """The jobs; none when the server has none now."""
        envelope = read_envelope("acquire_jobs", body)
        data, message = envelope.get("data"), str(envelope.get("message") or "")
        code = whole(data.get("StatusCode", OK)) if isinstance(data, dict) else None
        if code == NO_JOBS or (not envelope["success"] and message.lower().startswith("no jobs")):
            return Acquired()
        check_envelope("acquire_jobs", envelope)
        jobs = data.get("jobs") if isinstance(data, dict) else data
        if not isinstance(jobs, list) or not all(isinstance(job, dict) for job in jobs):
            raise garbage("acquire_jobs", body)
        return Acquired(tuple(jobs))

    def update(self, update: JobUpdate, node: Node) -> Call:
        """`pilot/update_job`."""
        return post("pilot/update_job", update_message(update, node))

    def read_answer(self, body: bytes) -> Answer:
        """The answer to one update."""
        return _answer(read_envelope("update_job", body))

    def update_bulk(self, updates: Sequence[JobUpdate], node: Node) -> Call:
        """`pilot/update_jobs_bulk`."""
        message: dict[str, Any] = {"job_list": [update_message(update, node) for update in updates]}
        if node.harvester_id:
            message["harvester_id"] = node.harvester_id
        return post("pilot/update_jobs_bulk", message)

    def read_answers(self, body: bytes, count: int) -> list[Answer]:
        """The answers in order; the whole call is refused when one item was malformed."""
        envelope = read_envelope("update_jobs_bulk", body)
        items = envelope.get("data")
        if not envelope["success"]:
            raise RequestRefused(f"update_jobs_bulk: {envelope.get('message')}")
        if not isinstance(items, list) or len(items) != count or not all(map(_is_envelope, items)):
            raise garbage("update_jobs_bulk", body)
        return [_answer(item) for item in items]

    def status(self, job_ids: Sequence[int]) -> Call:
        """`pilot/get_job_status`."""
        return get("pilot/get_job_status", [("job_ids", str(number)) for number in job_ids])

    def read_status(self, body: bytes, job_ids: Sequence[int]) -> dict[int, str]:
        """The word on each job that the server knows."""
        envelope = read_envelope("get_job_status", body)
        check_envelope("get_job_status", envelope)
        items = [item for item in envelope.get("data") or [] if isinstance(item, dict)]
        words = {whole(item.get("job_id")): str(item.get("status")) for item in items}
        return {n: words[n] for n in job_ids if words.get(n, "") not in ("not found", "notfound", "None", "")}

    def worker_status(self, node: Node, word: str) -> Call:
        """`pilot/update_worker_status`: `started` or `finished`."""
        message = WorkerStatus(str(node.worker_id), node.harvester_id, word, node.host or None)
        return post("pilot/update_worker_status", message)

    def worker_node(self, facts: dict[str, Any]) -> Call | None:
        """`pilot/update_worker_node`."""
        return post("pilot/update_worker_node", msgspec.convert(facts, WorkerNode))

    def worker_gpu(self, facts: dict[str, Any]) -> Call | None:
        """`pilot/update_worker_node_gpu`."""
        return post("pilot/update_worker_node_gpu", msgspec.convert(facts, WorkerGpu))

    def read_done(self, body: bytes) -> None:
        """That a call was done; raises otherwise."""
        check_envelope("the call", read_envelope("the call", body))

    def credential(self, kind: CredentialKind) -> Call:
        """One of `creds/get_*`."""
        snake = {"publicKeyName": "public_key_name", "privateKeyName": "private_key_name"}
        query = [(snake.get(key, key), value) for key, value in kind.parameters.items()]
        return get(f"creds/{_CREDENTIAL_CALLS.get(kind.call, kind.call)}", query)

    def read_credential(self, body: bytes, kind: CredentialKind) -> tuple[str, ...]:
        """The wanted values in order."""
        envelope = read_envelope(kind.call, body)
        if not envelope["success"] and envelope.get("message"):  # who may not, and what is not there: no failure of its
            raise RequestRefused(f"{kind.call}: {envelope['message']}")
        check_envelope(kind.call, envelope)
        data = envelope.get("data")
        if isinstance(data, str) and len(kind.wanted) == 1:
            return (data,)
        return pick(kind, data)

    def resource_types(self) -> Call:
        """`metaconfig/get_resource_types`."""
        return get("metaconfig/get_resource_types", [])

    def read_resource_types(self, body: bytes) -> list[dict[str, Any]]:
        """The list of resource types."""
        envelope = read_envelope("get_resource_types", body)
        check_envelope("get_resource_types", envelope)
        return [item for item in envelope.get("data") or [] if isinstance(item, dict)]


def _hardware(capacity: Capacity, settings: PandaSettings) -> dict[str, Any] | None:
    """The GPUs that a job would find free; None where nothing is to be told."""
    if settings.gpus is None:
        return None
    return {"gpus": [msgspec.to_builtins(gpu) for gpu in settings.gpus] if capacity.gpus else []}


_CREDENTIAL_CALLS = {"getProxy": "get_proxy", "getKeyPair": "get_key_pair"}


def pick(kind: CredentialKind, data: object) -> tuple[str, ...]:
    """The wanted values out of an answer, each under the first of its names that is there."""
    values = data if isinstance(data, dict) else {}
    found = tuple(next((str(values[name]) for name in names if values.get(name)), "") for names in kind.wanted)
    if not all(found):
        raise RequestRefused(f"{kind.call}: the answer lacks {' and '.join(names[0] for names in kind.wanted)}")
    return found


def post(path: str, message: Any) -> Call:
    """A call with a JSON body; a long one is compressed, which this dialect says by a header."""
    body, headers = msgspec.json.encode(message), dict(_JSON)
    if len(body) > _COMPRESS_ABOVE:
        body = gzip.compress(body, compresslevel=1)
        headers["Content-Encoding"] = "gzip"
    return Call("POST", f"/api/v1/{path}", body, headers)


def get(path: str, query: Sequence[tuple[str, str]]) -> Call:
    """A call that only asks."""
    asked = f"?{urlencode(query)}" if query else ""
    return Call("GET", f"/api/v1/{path}{asked}", None, {"Accept": "application/json"})


def read_envelope(what: str, body: bytes) -> dict[str, Any]:
    """The answer's envelope, whatever content type it came under."""
    try:
        envelope = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise garbage(what, body) from error
    if not _is_envelope(envelope):
        raise garbage(what, body)
    return dict(envelope)


def check_envelope(what: str, envelope: dict[str, Any]) -> None:
    """Raise unless both the envelope and the status inside say that it was done."""
    message = str(envelope.get("message") or "")
    data = envelope.get("data")
    code = whole(data.get("StatusCode", OK)) if isinstance(data, dict) else OK
    if code not in (OK, None):
        raise of_code(what, code or 0, message)
    if not envelope["success"]:
        kind = RequestRefused if lasting(message) else CommunicationFailure
        raise kind(f"{what}: {message or 'not done, and no reason given'}")


def lasting(message: str) -> bool:
    """Whether a refusal in these words will be the same next time."""
    words = message.lower()
    return any(
        sign in words for sign in ("argument error", "type error", "role", "secure", "permission", "not allowed")
    )


def _is_envelope(value: object) -> bool:
    return isinstance(value, dict) and isinstance(value.get("success"), bool)


def _answer(envelope: dict[str, Any]) -> Answer:
    data = envelope.get("data")
    inner = data if isinstance(data, dict) else {}
    code = whole(inner.get("StatusCode", OK))
    message = str(envelope.get("message") or "")
    if code != OK:
        return Answer(False, code in MAY_PASS or code is None, f"status {code} {message}".strip())
    if not envelope["success"]:
        return Answer(False, not lasting(message), message or "not done, and no reason given")
    command = inner.get("command")
    return Answer(
        True, commands=parse_commands(command and str(command)), secrets=secret_map(inner.get("pilotSecrets"))
    )
