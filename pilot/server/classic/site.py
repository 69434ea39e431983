"""Classic methods beside jobs: liveness, resource types, credentials, workers."""

from __future__ import annotations

from pilot.server import workers
from pilot.server.classic.method import Answer, Call, Code, Method, coded
from pilot.server.credentials import Credentials


def _handed(call: Call) -> Credentials:
    return call.server.credentials or Credentials()


async def _is_alive(call: Call) -> Answer:
    return "alive=yes"


async def _get_resource_types(call: Call) -> Answer:
    return {"StatusCode": 0, "ResourceTypes": list(workers.RESOURCE_TYPES)}


async def _get_proxy(call: Call) -> Answer:
    proxy = _handed(call).proxies.get(call.text("role") or "")
    return {"StatusCode": 0, "userProxy": proxy} if proxy else coded(Code.LATER, "no such proxy")


async def _get_key_pair(call: Call) -> Answer:
    pairs = _handed(call).key_pairs
    public, private = (pairs.get(call.texts[name]) for name in ("publicKeyName", "privateKeyName"))
    if public is None or private is None:
        return coded(Code.MISSING, "key is missing")
    return {"StatusCode": 0, "publicKey": public, "privateKey": private}


async def _get_access_token(call: Call) -> Answer:
    entry = _handed(call).access_tokens.get(call.texts["client_name"])
    if entry is None:
        return coded(Code.LATER, "no token for this client")
    if entry.key != call.text("token_key"):
        return coded(Code.INVALID, "invalid token key")
    return {"StatusCode": 0, "userProxy": entry.token}


async def _get_token_key(call: Call) -> Answer:
    entry = _handed(call).access_tokens.get(call.texts["client_name"])
    return {"StatusCode": 0, "tokenKey": entry.key} if entry else coded(Code.MISSING, "token key is missing")


async def _update_worker_pilot_status(call: Call) -> Answer:
    status = call.texts["status"]
    if status not in workers.PILOT_STATES:
        return coded(Code.INVALID, f"status is one of {', '.join(workers.PILOT_STATES)}")
    harvester, worker, node = call.texts["harvesterID"], call.need("workerID"), call.text("node_id")
    await call.server.do(lambda db, now: workers.note_pilot(db, harvester, worker, status, node, now))
    return coded(Code.SUCCESS)


METHODS = (
    Method("isAlive", _is_alive, pilot=False),
    Method("getResourceTypes", _get_resource_types, (), ("timeout",)),
    Method("getProxy", _get_proxy, (), ("role", "dn"), denied=Code.DENIED),
    Method("getKeyPair", _get_key_pair, ("publicKeyName", "privateKeyName"), denied=Code.DENIED),
    Method("get_access_token", _get_access_token, ("client_name",), ("token_key",), denied=Code.DENIED),
    Method("get_token_key", _get_token_key, ("client_name",), denied=Code.DENIED),
    Method(
        "updateWorkerPilotStatus", _update_worker_pilot_status, ("workerID", "harvesterID", "status"),
        ("site", "node_id", "timeout"),
    ),
)  # fmt: skip
