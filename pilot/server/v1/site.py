"""Modules beside jobs: `system`, `metaconfig`, `creds`, and what pilots tell of workers and nodes."""

from __future__ import annotations

from pilot.server import workers
from pilot.server.credentials import Credentials
from pilot.server.fields import Kind
from pilot.server.v1.method import Call, Envelope, Method, done, refused
from pilot.server.v1.params import Param, may, must

_TIMEOUT = may("timeout", Kind.INT, 60)
_WORKER = (
    must("worker_id", Kind.ANY), must("harvester_id", Kind.ANY), must("status", Kind.ANY), may("node_id", Kind.ANY),
    _TIMEOUT,
)  # fmt: skip


def _all(kind: Kind, *names: str) -> tuple[Param, ...]:
    return tuple(may(name, kind) for name in names)


_NODE = (
    *(must(name, Kind.STR) for name in ("site", "host_name", "cpu_model")),
    *_all(Kind.STR, "panda_queue", "cpu_architecture", "cpu_architecture_level"),
    *_all(Kind.INT, "n_logical_cpus", "n_sockets", "cores_per_socket", "threads_per_core"),
    *_all(Kind.INT, "total_memory", "total_local_disk"),
    may("clock_speed", Kind.FLOAT),
    _TIMEOUT,
)
_GPU = (
    *(must(name, Kind.STR) for name in ("site", "host_name", "vendor", "model")),
    must("count", Kind.INT),
    may("vram", Kind.INT),
    *_all(Kind.STR, "architecture", "framework", "framework_version", "driver_version"),
    _TIMEOUT,
)


def _handed(call: Call) -> Credentials:
    return call.server.credentials or Credentials()


async def _is_alive(call: Call) -> Envelope:
    return done()


async def _resource_types(call: Call) -> Envelope:
    return done(list(workers.RESOURCE_TYPES))


async def _update_worker_status(call: Call) -> Envelope:
    args = call.args
    if args["status"] not in workers.PILOT_STATES:
        return refused(f"status is one of {', '.join(workers.PILOT_STATES)}")
    if not str(args["worker_id"]).isdecimal():
        return refused("Failed to update worker status")
    told = str(args["harvester_id"]), int(args["worker_id"]), args["status"], args["node_id"] and str(args["node_id"])
    await call.server.do(lambda db, now: workers.note_pilot(db, *told, now))
    return done()


async def _update_worker_node(call: Call) -> Envelope:
    await call.server.do(lambda db, now: workers.note_node(db, "cpu", call.args, now))
    return done(message="worker node stored")


async def _update_worker_node_gpu(call: Call) -> Envelope:
    await call.server.do(lambda db, now: workers.note_node(db, "gpu", call.args, now))
    return done(message="worker node GPU stored")


async def _get_proxy(call: Call) -> Envelope:
    proxy = _handed(call).proxies.get(call.args["role"] or "")
    return done({"user_proxy": proxy}) if proxy else refused("proxy not found")


async def _get_key_pair(call: Call) -> Envelope:
    pairs = _handed(call).key_pairs
    public, private = pairs.get(call.args["public_key_name"]), pairs.get(call.args["private_key_name"])
    if public is None or private is None:
        return refused("key pair not found")
    return done({"public_key": public, "private_key": private})


async def _get_access_token(call: Call) -> Envelope:
    entry = _handed(call).access_tokens.get(call.args["client_name"])
    if entry is None:
        return refused("no token for this client")
    if entry.key != call.args["token_key"]:
        return refused("invalid token key")
    return done({"user_proxy": entry.token})


async def _get_token_key(call: Call) -> Envelope:
    entry = _handed(call).access_tokens.get(call.args["client_name"])
    return done({"tokenKey": entry.key}) if entry else refused("token key not found")


async def _get_user_secrets(call: Call) -> Envelope:
    secrets, keys = _handed(call).user_secrets, call.args["keys"]
    return done({key: secrets.get(key) for key in keys} if keys else dict(secrets))


_PAIR = (must("public_key_name", Kind.STR), must("private_key_name", Kind.STR))
_TOKEN = (must("client_name", Kind.STR), may("token_key", Kind.STR))

METHODS = (
    Method("system/is_alive", "GET", (), _is_alive, secure=False),
    Method("metaconfig/get_resource_types", "GET", (_TIMEOUT,), _resource_types, secure=False),
    Method("pilot/update_worker_status", "POST", _WORKER, _update_worker_status, production=True),
    Method("pilot/update_worker_node", "POST", _NODE, _update_worker_node, production=True),
    Method("pilot/update_worker_node_gpu", "POST", _GPU, _update_worker_node_gpu, production=True),
    Method("creds/get_proxy", "GET", (may("role", Kind.STR), may("dn", Kind.STR)), _get_proxy),
    Method("creds/get_key_pair", "GET", _PAIR, _get_key_pair),
    Method("creds/get_access_token", "GET", _TOKEN, _get_access_token),
    Method("creds/get_token_key", "GET", (must("client_name", Kind.STR),), _get_token_key),
    Method("creds/get_user_secrets", "GET", (may("keys", Kind.STRS),), _get_user_secrets),
)
