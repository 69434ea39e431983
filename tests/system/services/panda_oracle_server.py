"""Runs the request door and the handlers of the `panda-server` package, unmodified, over a task buffer in memory.

It is started with the Python of a virtual environment of its own: `python panda_oracle_server.py FOLDER PORT`. Only
what the pilot's calls need is installed there; every other package that the server imports is replaced by an empty one.
`POST /oracle/jobs` gives it jobs, `GET /oracle/calls` tells what its task buffer was asked.
"""

from __future__ import annotations

import json
import os
import sys
import types
from pathlib import Path
from wsgiref.simple_server import make_server

sys.path.insert(0, str(Path(__file__).parent))

from panda_hollow import Stubs

sys.path.pop(0)  # beside it lie modules named as packages that the server looks for

DN = "/DC=org/CN=Pilot"


class Site:
    """A site of which nothing special is known."""

    status = "online"

    def is_grandly_unified(self):
        return True

    def use_vp(self, scope):
        return False

    def __getattr__(self, name):
        return {}


class Buffer:
    """The task buffer: remembers every call and answers those that the pilot's requests lead to."""

    def __init__(self):
        self.calls = []
        self.waiting = []
        self.specs = {}
        self.ranges = {}

    def init(self, *args, **more):
        pass

    def get_ban_users(self):
        return True, {}

    def _note(self, name, args, more):
        self.calls.append([name, json.loads(json.dumps([args, more], default=str))])

    def getJobs(self, n_jobs, site_name, *args):
        self._note("getJobs", [n_jobs, site_name, *args], {})
        given, self.waiting = self.waiting[:n_jobs], self.waiting[n_jobs:]
        specs = [self._spec(job) for job in given]
        return [*specs, len(given), [], {}]

    def _spec(self, facts):
        made = self.specs[facts["PandaID"]] = _spec({"jobStatus": "sent", "attemptNr": 1, **facts})
        return made

    def updateJobStatus(self, job_id, status, param, *args, **more):
        self._note("updateJobStatus", [job_id, status, param, *args], more)
        known = self.specs.get(int(job_id)) or self._spec({"PandaID": int(job_id)})
        known.jobStatus = status
        return "NULL"

    def peekJobs(self, job_ids, *args, **more):
        return [self.specs.get(int(n)) for n in job_ids]

    def getEventRanges(self, job_id, jobset_id, task_id, n_ranges, *args):
        self._note("getEventRanges", [job_id, jobset_id, task_id, n_ranges, *args], {})
        item = {"eventRangeID": f"{task_id}-{job_id}-1-1-1", "startEvent": 1, "lastEvent": 5}
        return [item | {"LFN": "f", "GUID": "g", "scope": "s"}][: int(n_ranges)]

    def updateEventRanges(self, ranges, version):
        self._note("updateEventRanges", [ranges, version], {})
        for item in json.loads(ranges):
            self.ranges[item["eventRangeID"]] = {"status": item["eventStatus"], "error": None, "dialog": None}
        return [True for _ in json.loads(ranges)], {}

    def get_events_status(self, ids):
        return {pair["panda_id"]: dict(self.ranges) for pair in json.loads(ids)}

    def addMetadata(self, ids, documents, states):
        self._note("addMetadata", [ids, documents, states], {})
        return [True for _ in ids]

    def __getattr__(self, name):
        def call(*args, **more):
            self._note(name, args, more)
            return (True, "") if name.startswith("update_worker_node") else True

        return call


def _spec(facts):
    """A job of the server's own class, with one input, one output and a log."""
    from pandaserver.taskbuffer.FileSpec import FileSpec
    from pandaserver.taskbuffer.JobSpec import JobSpec

    job = JobSpec()
    for name, value in facts.items():
        setattr(job, name, value)
    for kind in ("input", "output", "log"):
        file = FileSpec()
        file.lfn, file.type, file.scope, file.GUID = f"{kind}.file", kind, f"scope.{kind}", f"guid-{kind}"
        file.dataset = file.destinationDBlock = file.dispatchDBlock = file.prodDBlock = f"ds.{kind}"
        file.fsize, file.checksum, file.destinationSE, file.destinationDBlockToken = 7, "ad:0a1b2c3d", "SITE", "NULL"
        job.addFile(file)
    return job


def prepare(folder):
    """Configuration as the package ships it, with what is to be filled in filled in."""
    etc = folder / "etc/panda"
    etc.mkdir(parents=True, exist_ok=True)
    shipped = Path(sys.prefix) / "etc/panda"
    for name in ("panda_common.cfg", "panda_server.cfg"):
        text = (shipped / f"{name}.rpmnew").read_text().replace("/var/log/panda", str(folder))
        (etc / name).write_text(text)
    os.environ["PANDA_HOME"] = str(folder)
    os.environ["PANDA_CONFIG_ROOT"] = str(etc)


def load(buffer):
    """The server's WSGI application, with our task buffer in the place of its own."""
    sys.meta_path.append(Stubs())
    module = types.ModuleType("pandaserver.taskbuffer.TaskBuffer")
    module.TaskBuffer, module.taskBuffer = type("TaskBuffer", (), {}), buffer
    sys.modules[module.__name__] = module
    starter = types.ModuleType("pandaserver.taskbuffer.Initializer")
    starter.initializer = types.SimpleNamespace(init=lambda: None)
    sys.modules[starter.__name__] = starter
    sites = types.ModuleType("pandaserver.brokerage.SiteMapper")
    sites.SiteMapper = lambda buffer: types.SimpleNamespace(getSite=lambda name: Site())
    sys.modules[sites.__name__] = sites
    from pandaserver.server import panda

    return panda


def main():
    folder = Path(sys.argv[1])
    prepare(folder)
    buffer = Buffer()
    panda = load(buffer)

    def door(environ, start_response):
        path = environ["PATH_INFO"]
        if path.startswith("/oracle/"):
            return own(environ, start_response, path)
        environ |= {"SCRIPT_NAME": path, "HTTPS": "on", "SSL_CLIENT_S_DN": DN, "REQUEST_URI": path}
        environ |= {"GRST_CRED_2": "VOMS 1 2 0 /vo/Role=production"}
        environ |= {"CONTENT_LENGTH": environ.get("CONTENT_LENGTH") or "0"}
        if environ.get("CONTENT_TYPE") == "text/plain" and environ["REQUEST_METHOD"] == "GET":
            environ["CONTENT_TYPE"] = ""
        return panda.application(environ, start_response)

    def own(environ, start_response, path):
        if path == "/oracle/jobs":
            buffer.waiting += json.loads(environ["wsgi.input"].read(int(environ["CONTENT_LENGTH"])))
        start_response("200 OK", [("Content-Type", "application/json")])
        calls, buffer.calls = (buffer.calls, []) if path == "/oracle/calls" else ([], buffer.calls)
        return [json.dumps(calls).encode()]

    make_server("127.0.0.1", int(sys.argv[2]), door).serve_forever()


if __name__ == "__main__":
    main()
