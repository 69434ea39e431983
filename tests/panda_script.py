"""The few calls of a PanDA server that the tests of its client need, in memory, in both dialects (protocol.md 1)."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import urlencode

from tests.scripted_server import Asked, Scripted


class PandaScript(Scripted):
    """Hands out `jobs`, remembers updates; `flat` makes the classic dialect answer as a query string."""

    def __init__(self, dialect: str, jobs: list[dict[str, Any]] | None = None, flat: bool = False) -> None:
        super().__init__()
        self.jobs, self.flat = list(jobs or []), flat
        self.updates: list[dict[str, Any]] = []
        self.final: set[int] = set()
        self.words: dict[int, str] = {}
        self.command: str | None = None
        if dialect == "v1":
            self._v1()
        else:
            self._classic()

    def _v1(self) -> None:
        base = "/api/v1/"
        self.routes |= {
            f"{base}system/is_alive": lambda asked: _good(None),
            f"{base}pilot/acquire_jobs": self._acquire,
            f"{base}pilot/update_job": lambda asked: self._update(asked.json()),
            f"{base}pilot/update_jobs_bulk": lambda asked: _good([self._update(i) for i in asked.json()["job_list"]]),
            f"{base}pilot/get_job_status": self._status,
        }

    def _acquire(self, asked: Asked) -> Any:
        given = self._take(asked.json()["n_jobs"])
        if not given:
            return {"success": False, "message": "No jobs in PanDA", "data": None}
        return _good({"StatusCode": 0, "jobs": given})

    def _update(self, message: dict[str, Any]) -> Any:
        self.updates.append(message)
        return _good({"StatusCode": 0, "command": self._word(message["job_id"], message["job_status"])})

    def _status(self, asked: Asked) -> Any:
        numbers = [int(number) for number in asked.query["job_ids"]]
        return _good([{"job_id": n, "status": self.words.get(n, "not found"), "attempt_number": 1} for n in numbers])

    def _classic(self) -> None:
        base = "/server/panda/"
        self.routes |= {
            f"{base}isAlive": lambda asked: "alive=yes",
            f"{base}getJob": self._get_job,
            f"{base}updateJob": lambda asked: self._form(self._old_update(asked.form())),
            f"{base}updateJobsInBulk": self._old_bulk,
            f"{base}getStatus": self._old_status,
        }

    def _get_job(self, asked: Asked) -> Any:
        form = asked.form()
        given = self._take(int(form.get("nJobs", "1")))
        if not given:
            return self._form({"StatusCode": 20, "errorDialog": "no jobs in PanDA"})
        return self._form({"StatusCode": 0, "jobs": given} if "nJobs" in form else {"StatusCode": 0, **given[0]})

    def _old_update(self, form: dict[str, str]) -> dict[str, Any]:
        self.updates.append(form)
        return {"StatusCode": 0, "command": self._word(int(form["jobId"]), form["state"]) or "NULL"}

    def _old_bulk(self, asked: Asked) -> Any:
        answers = [self._old_update(item) for item in json.loads(asked.form()["jobList"])]
        return [True, [urlencode(answer) for answer in answers] if self.flat else answers]

    def _old_status(self, asked: Asked) -> Any:
        words = [self.words.get(int(n), "notfound") for n in asked.form()["ids"].split()]
        return self._form({"StatusCode": 0, "status": "+".join(words), "attemptNr": "+".join("1" for _ in words)})

    def _form(self, answer: dict[str, Any]) -> Any:
        if not self.flat:
            return answer
        return urlencode({k: json.dumps(v) if isinstance(v, (list, dict)) else str(v) for k, v in answer.items()})

    def _take(self, count: int) -> list[dict[str, Any]]:
        given, self.jobs = self.jobs[:count], self.jobs[count:]
        self.words |= {job["PandaID"]: "sent" for job in given}
        return given

    def _word(self, number: int, state: str) -> str | None:
        if number in self.final:
            return "alreadydone"
        self.words[number] = state
        if state in ("finished", "failed"):
            self.final.add(number)
        return self.command


def _good(data: Any) -> dict[str, Any]:
    return {"success": True, "message": "", "data": data}
