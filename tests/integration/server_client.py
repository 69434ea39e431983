"""A hand-made client of the job server, so that server and product cannot agree on a mistake."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import parse_qsl

import requests

JSON = {"Content-Type": "application/json", "Accept": "application/json"}
GOOD = {"guid": "g", "fsize": 3, "adler32": "0a1b2c3d"}


class Client:
    """Speaks v1, and the server's own endpoints."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.session = requests.Session()

    def post(self, path: str, **args: Any) -> dict[str, Any]:
        answer = self.session.post(f"{self.url}/api/v1/{path}", data=json.dumps(args), headers=JSON, timeout=5)
        assert answer.status_code == 200, answer.text
        return dict(answer.json())

    def get(self, path: str, **args: Any) -> dict[str, Any]:
        answer = self.session.get(f"{self.url}/api/v1/{path}", params=args, headers=JSON, timeout=5)
        assert answer.status_code == 200, answer.text
        return dict(answer.json())

    def submit(self, *specs: dict[str, Any]) -> list[int]:
        answer = self.session.post(f"{self.url}/submit", json=list(specs), timeout=5)
        assert answer.status_code == 200, answer.text
        return [job["PandaID"] for job in answer.json()["jobs"]]

    def acquire(self) -> dict[str, Any]:
        (job,) = self.post("pilot/acquire_jobs", site_name="SITE")["data"]["jobs"]
        return dict(job)

    def update(self, job: dict[str, Any], state: str, **more: Any) -> dict[str, Any]:
        told = {"job_id": job["PandaID"], "attempt_nr": job["attemptNr"], "job_status": state, **more}
        return self.post("pilot/update_job", **told)

    def finish(self, job: dict[str, Any], state: str = "finished") -> dict[str, Any]:
        report = {lfn: GOOD for lfn in job["outFiles"].split(",")}
        return self.update(job, state, job_output_report=json.dumps(report))

    def job(self, pandaid: int) -> dict[str, Any]:
        return dict(self.session.get(f"{self.url}/jobs/{pandaid}", timeout=5).json())

    def leave_nothing(self) -> None:
        """End the jobs that nobody took, and the session."""
        for job in self.session.get(f"{self.url}/jobs?state=activated", timeout=5).json()["jobs"]:
            self.steer(job["job_id"], "kill")
        self.session.close()

    def steer(self, pandaid: int, action: str, **body: Any) -> None:
        answer = self.session.post(f"{self.url}/jobs/{pandaid}/{action}", json=body, timeout=5)
        assert answer.status_code == 200, answer.text


def spec(**more: Any) -> dict[str, Any]:
    return {"transformation": "/bin/true", "outFiles": "out.root", **more}


class ClassicClient(Client):
    """Speaks the classic dialect: a form, and the url-encoded answer unless JSON is asked for."""

    def call(self, method: str, **args: Any) -> dict[str, str]:
        answer = self.session.post(f"{self.url}/server/panda/{method}", data=args, timeout=5)
        assert answer.status_code == 200, answer.text
        return dict(parse_qsl(answer.text, keep_blank_values=True))

    def call_json(self, method: str, **args: Any) -> dict[str, Any]:
        headers = {"Accept": "application/json"}
        answer = self.session.post(f"{self.url}/server/panda/{method}", data=args, headers=headers, timeout=5)
        assert answer.status_code == 200, answer.text
        return dict(answer.json())
