"""Runs the Rucio clients for the copy tool `rucio`: requests and answers are lines of JSON.

A request is `{"do": "get" | "put", "jobs": [...]}`, `replicas` with `dids`, or one of `stat`, `place` and `register`
with a `did`. Rucio's own traces are off: the pilot sends its own. Nothing of the pilot is imported.
"""

import json
import logging
import os
import random
import shutil
import sys
import tempfile
import uuid
from collections.abc import Callable
from typing import Any

Answer = dict[str, Any]
_MD5_DIGITS = 32


class _Log(logging.Logger):
    """The upload client calls its logger where tracing is off, and asks it for `log` elsewhere."""

    def __call__(self, level: int, text: str, *words: Any) -> None:
        self.log(level, text, *words)


def main() -> None:
    """Answer until nobody asks any more. What the clients print goes nowhere."""
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    try:
        from rucio.client import Client
        from rucio.common.exception import RucioException
    except ImportError as error:
        answers.write(json.dumps({"missing": f"rucio-clients: {error}"}) + "\n")
        return
    for line in sys.stdin:
        request = json.loads(line)
        jobs = request.get("jobs") or [request]
        for job in jobs:
            answer: Answer
            try:
                answer = _DEEDS[request["do"]](Client(), job)
            except RucioException as error:
                answer = {"error": type(error).__name__, "message": " ".join(str(error).split())}
            except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
                answer = {"error": type(error).__name__, "message": " ".join(str(error).split())}
            answers.write(json.dumps(answer) + "\n")


def get(client: Any, job: dict[str, Any]) -> Answer:
    """One file to `target`: by its `pfn` if that is known, else by its replicas. Rucio checks it by its catalogue."""
    from rucio.client.downloadclient import DownloadClient

    folder = tempfile.mkdtemp(prefix=".pilot-rucio-", dir=os.path.dirname(job["target"]))
    try:
        item: dict[str, Any] = {"did": job["did"], "base_dir": folder, "no_subdir": True}
        item["transfer_timeout"] = job["timeout"]
        downloads = DownloadClient(client=client, tracing=False)
        told: list[dict[str, Any]] = []
        words = {"traces_copy_out": told, "deactivate_file_download_exceptions": True}
        if job.get("pfn"):
            item.update({"pfn": job["pfn"], "rse": job.get("rse") or ""}, **(job.get("sums") or {}))
            (done,) = downloads.download_pfns([item], 1, **words)
        else:
            if job.get("rse"):
                item["rse"] = job["rse"]
            (done,) = downloads.download_dids([item], 1, **words)
        state = _word(done["clientState"])
        files = os.listdir(folder)
        if state not in ("DONE", "ALREADY_DONE", "FOUND_IN_PCACHE") or len(files) != 1:
            return _why(job, state, told)
        os.rename(os.path.join(folder, files[0]), job["target"])
        return {"ok": True}
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _why(job: dict[str, Any], state: str, told: list[dict[str, Any]]) -> Answer:
    """Why there is no file. Its own state says no more than that; the trace of the last try has the reason."""
    last = told[-1] if told else {}
    reason = " ".join(str(last.get("stateReason") or "").split())
    answer: Answer = {"error": state, "message": f"{job['did']}: {reason or state}"}
    if state == "FAILED" and _word(last.get("clientState")) == "FAIL_VALIDATE":
        md5 = len(reason.rpartition(" ")[2]) == _MD5_DIGITS
        answer.update(error="FAIL_VALIDATE", kind="md5" if md5 else "adler32")
    return answer


def _word(state: Any) -> str:
    return str(getattr(state, "value", state))


def put(client: Any, job: dict[str, Any]) -> Answer:
    """One file to an RSE; registered only with `register`. Tells where it is and what Rucio computed of it."""
    from rucio.client.uploadclient import UploadClient

    scope, _, name = job["did"].partition(":")
    item: dict[str, Any] = {"path": job["source"], "rse": job["rse"], "did_scope": scope, "did_name": name}
    item["no_register"] = not job.get("register")
    item["transfer_timeout"] = job["timeout"]
    for key in ("guid", "pfn"):
        if job.get(key):
            item[key] = job[key]
    if job.get("register") and job.get("dataset"):
        item["dataset_scope"], _, item["dataset_name"] = job["dataset"].partition(":")
    descriptor, summary = tempfile.mkstemp(prefix="pilot-rucio-")
    os.close(descriptor)
    try:
        UploadClient(client, _Log("rucio"), tracing=False).upload([item], summary_file_path=summary)
        with open(summary) as stream:
            (told,) = json.load(stream).values()
    finally:
        os.unlink(summary)
    sums = {kind: told[kind] for kind in ("adler32", "md5") if told.get(kind)}
    return {"ok": True, "pfn": told.get("pfn", ""), "size": told.get("bytes"), "sums": sums}


def place(client: Any, job: dict[str, Any]) -> Answer:
    """Where a file is to lie, as its upload would decide: `pfn`, `rse`, whether it is to be registered, and under a
    name of its own (`named`), and whether a URL must be signed first."""
    from rucio.rse import rsemanager

    scope, _, name = job["did"].partition(":")
    rse = random.choice([found["rse"] for found in client.list_rses(job["rse"])])
    settings = rsemanager.get_rse_info(rse, vo=client.vo)
    if not settings.get("availability_write", True):
        return {"error": "RSEWriteBlocked", "message": f"{rse} is not available for writing"}
    pfn, own = job.get("pfn"), not settings.get("deterministic", True)
    if not pfn:
        if own:
            return {"error": "InputValidationError", "message": f"{rse} is not deterministic and no place was named"}
        words = {"operation": "write", "domain": "wan"}
        (pfn,) = rsemanager.lfns2pfns(settings, [{"scope": scope, "name": name}], **words).values()
    register = bool(job.get("register")) and (own or not job.get("pfn"))
    signed = bool(settings.get("sign_url"))
    return {"ok": True, "pfn": pfn, "rse": rse, "register": register, "named": own, "signed": signed}


def register(client: Any, job: dict[str, Any]) -> Answer:
    """Tell of a file that lies at its place: replica, dataset, rule, as after an upload."""
    from rucio.common.exception import DataIdentifierAlreadyExists, DataIdentifierNotFound

    scope, _, name = job["did"].partition(":")
    did, rse, dataset = {"scope": scope, "name": name}, job["rse"], job.get("dataset")
    guid = (job.get("guid") or uuid.uuid4().hex).replace("-", "")
    replica = {**did, **job["sums"], "bytes": job["size"], "meta": {"guid": guid}, "state": "A"}
    if job["named"]:
        replica["pfn"] = job["pfn"]
    keep = {"copies": 1, "rse_expression": rse}
    above = dict(zip(("scope", "name"), dataset.split(":", 1), strict=True)) if dataset else {}
    if dataset:
        try:
            client.add_dataset(**above, rules=[{**keep, "account": client.account, "grouping": "DATASET"}])
        except DataIdentifierAlreadyExists:
            pass
    try:
        known = client.get_metadata(scope, name)
        if str(known["adler32"]).lstrip("0") != job["sums"]["adler32"].lstrip("0"):
            return {"error": "DataIdentifierAlreadyExists", "message": f"{job['did']} is another file"}
        if all(rse not in found["rses"] for found in client.list_replicas([did], all_states=True)):
            client.add_replicas(rse=rse, files=[replica])
    except DataIdentifierNotFound:
        client.add_replicas(rse=rse, files=[replica])
        if not dataset:
            client.add_replication_rule([did], **keep)
    if dataset:
        client.attach_dids(above["scope"], above["name"], [did])
    return {"ok": True}


def replicas(client: Any, job: dict[str, Any]) -> Answer:
    """Where files are: for each DID its size, checksums and places, the nearest first."""
    dids: list[dict[str, str]] = []
    for did in job["dids"]:
        scope, _, name = did.partition(":")
        dids.append({"scope": scope, "name": name})
    found: dict[str, Any] = {}
    words = {"schemes": job.get("schemes"), "sort": "geoip", "client_location": job.get("location")}
    words |= {"signature_lifetime": 86400, "rse_expression": job.get("expression")}
    for entry in client.list_replicas(dids, **{name: value for name, value in words.items() if value}):
        places = [
            {
                "pfn": pfn,
                "rse": at["rse"],
                "type": at.get("type"),
                "priority": at.get("priority"),
                "domain": at.get("domain"),
            }
            for pfn, at in (entry.get("pfns") or {}).items()
        ]
        sums = {kind: entry[kind] for kind in ("adler32", "md5") if entry.get(kind)}
        found[f"{entry['scope']}:{entry['name']}"] = {"size": entry.get("bytes"), "sums": sums, "places": places}
    return {"ok": True, "found": found}


def look(client: Any, job: dict[str, Any]) -> Answer:
    """What the catalogue knows of a file."""
    scope, _, name = job["did"].partition(":")
    told = client.get_metadata(scope, name)
    sums = {kind: told[kind] for kind in ("adler32", "md5") if told.get(kind)}
    return {"ok": True, "size": told.get("bytes"), "sums": sums}


_DEEDS: dict[str, Callable[[Any, dict[str, Any]], Answer]] = {
    "get": get,
    "put": put,
    "place": place,
    "register": register,
    "replicas": replicas,
    "stat": look,
}

if __name__ == "__main__":
    main()
