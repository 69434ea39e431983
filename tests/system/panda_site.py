"""A queue of a real PanDA server: users submit jobs to it, pilots take them, tests look into its database."""

from __future__ import annotations

import json
import re
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import requests

from pilot.lib.program import own_command, own_environment
from tests.system.services.panda_server import psql
from tests.system.services.tokens import minted

GUID = "01234567-89AB-4CDE-8F01-23456789ABCD"
_TRUST = ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE", "X509_USER_PROXY")
WAITS_S = 120.0
_ERROR = re.compile(r"[-\d]+ [\d:,]+ panda\.log\.\w+: ERROR")
# The one request of which it is known that it fails after it has done its work, and what a killed pilot leaves behind.
_KNOWN = ("method=update_event_ranges version=v1", "partial read from client")

Facts = dict[str, Any]


class PandaSite:
    """The server seen from outside, and pilots of one folder."""

    def __init__(self, server: Facts, pki: Facts, oidc: Facts, dialect: str, folder: Path) -> None:
        self.server, self.pki, self.oidc, self.dialect, self.folder = server, pki, oidc, dialect, folder
        self.outputs, self.workdir = folder / "outputs", folder / "work"
        for made in (self.outputs, self.workdir):
            made.mkdir()
        self.certificate = folder / "certificate.pem"
        self.certificate.write_text("".join(Path(pki[part]).read_text() for part in ("user_cert", "user_key")))
        self.certificate.chmod(0o600)
        self.session = requests.Session()
        self.session.trust_env = False
        self.session.cert, self.session.verify = str(self.certificate), pki["ca"]
        self.shape = self.session.get(f"{server['url']}/operate/shape", timeout=30).json()
        self._since = {path: path.stat().st_size for path in self._logs()}
        for table in ("jobsActive4", "jobsDefined4"):  # what a failed test left there
            psql(server["database"], f"DELETE FROM doma_panda.{table};")
        self._pilots: list[subprocess.Popen[bytes]] = []

    # the server

    def call(self, method: str, body: Facts, *, post: bool = True) -> Any:
        """What the server's v1 method answers; its data."""
        url, accepts = f"{self.server['url']}/api/v1/{method}", {"Accept": "application/json"}
        if post:
            answer = self.session.post(url, json=body, headers=accepts, timeout=60)
        else:
            answer = self.session.get(url, params=body, headers=accepts, timeout=60)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def submit(self, *scripts: str, outputs: tuple[str, ...] = ("out.txt",), **more: Any) -> list[int]:
        """Gives the server one job for each shell script; their numbers, once all of them can be taken."""
        jobs = [self._job(script, outputs, number, more) for number, script in enumerate(scripts)]
        said = self.call("job/submit", {"jobs": json.dumps(jobs)})
        assert said["success"], said
        numbers = [int(number) for number, *_ in said["data"]]
        self.wait(lambda: all(self.job(number)["jobstatus"] == "activated" for number in numbers), "activated")
        return numbers

    def _job(self, script: str, outputs: tuple[str, ...], number: int, more: Mapping[str, Any]) -> list[Any]:
        facts = {
            "jobDefinitionID": number, "jobName": f"job.{number}", "VO": "testvo", "cloud": "WORLD",
            "computingSite": self.server["queue"], "prodSourceLabel": "managed", "transformation": "/bin/sh",
            "jobParameters": f"-c '{script}'", "homepackage": "", "attemptNr": 1, "maxAttempt": 1, "coreCount": 1,
            "minRamCount": 100, "maxDiskCount": 10, "currentPriority": 900, "assignedPriority": 900,
            "processingType": "test", "destinationSE": self.server["storage"], "prodUserID": "somebody",
            "resource_type": "SCORE", "gshare": "Test", "maxCpuCount": 100, **more,
        }  # fmt: skip
        files = [self._file("output", lfn) for lfn in outputs]
        files.append(self._file("log", f"{time.time_ns()}.log.tgz", GUID=GUID))
        files += [self._file("input", **item) for item in facts.pop("inputs", ())]
        return [*(facts.get(name) for name in self.shape["job"]), files]

    def _file(self, kind: str, lfn: str, **more: Any) -> list[Any]:
        out = kind != "input"
        facts = {
            "lfn": lfn, "type": kind, "dataset": f"testvo:{kind}", "scope": "testvo", "fsize": 0,
            "status": "unknown" if out else "ready", "destinationDBlock": f"testvo:{kind}" if out else None,
            "prodDBlock": None if out else "testvo:input", "destinationSE": self.server["storage"] if out else None,
            "destinationDBlockToken": f"dst:{self.server['storage']}" if out else None, **more,
        }  # fmt: skip
        return [*(facts.get(name) for name in self.shape["file"]), None]  # the last one is whose file it is

    def conclude(self) -> int:
        """Has the server's daemon look at the final reports; how many there were."""
        return int(self.session.get(f"{self.server['url']}/operate/adder", timeout=60).text)

    def rows(self, sql: str) -> list[Facts]:
        """The rows that the server's database gives."""
        text = psql(self.server["database"], f"SET search_path = doma_panda; SELECT to_jsonb(r) FROM ({sql}) r;")
        return [json.loads(line) for line in text.splitlines()]

    def change(self, sql: str) -> None:
        """Statements for the server's database."""
        psql(self.server["database"], f"SET search_path = doma_panda; {sql}")

    def job(self, number: int) -> Facts:
        """A job as the database has it, in whichever of its tables."""
        tables = ("jobsDefined4", "jobsActive4", "jobsArchived4")
        (found,) = self.rows(" UNION ALL ".join(f"SELECT * FROM {table} WHERE PandaID = {number}" for table in tables))
        return found

    def files(self, number: int) -> dict[str, Facts]:
        """A job's files by name."""
        return {row["lfn"]: row for row in self.rows(f"SELECT * FROM filesTable4 WHERE PandaID = {number}")}

    def _logs(self) -> Iterator[Path]:
        return Path(self.server["log"]).glob("*.log")

    def refused(self) -> list[str]:
        """Every line of the server's logs since the start of this test that tells of a request it did not like."""
        found = []
        for path in self._logs():
            with path.open() as log:
                log.seek(self._since.get(path, 0))
                lines = log.read().splitlines()
            if "api_" in path.name or "Entry" in path.name or "Pilot" in path.name:
                found += [line for line in lines if _ERROR.match(line) and not any(text in line for text in _KNOWN)]
        return found

    # pilots

    def start(self, *options: str, token: bool = False) -> subprocess.Popen[bytes]:
        """A pilot that leaves when there are no more jobs."""
        line = own_command("run", "--url", self.server["url"], "--queue", self.server["queue"])
        line += ["--workdir", str(self.workdir), "--output-dir", str(self.outputs), "--dialect", self.dialect]
        line += ["--cacert", self.pki["ca"], "--wait", "0.2", "--getjob-requests", "2", "--http-timeout", "60"]
        line += [*(self._token() if token else ("--proxy", str(self.certificate))), *options]
        env = {name: value for name, value in own_environment().items() if name not in _TRUST}
        env["X509_USER_PROXY"] = str(self.folder / "no-such-proxy")
        with (self.folder / "pilot.log").open("ab") as log:
            self._pilots.append(subprocess.Popen(line, env=env, stdin=subprocess.DEVNULL, stdout=log, stderr=log))
        return self._pilots[-1]

    def run(self, *options: str, token: bool = False) -> int:
        """A pilot's whole life; its exit code."""
        return self.start(*options, token=token).wait(WAITS_S)

    def _token(self) -> tuple[str, ...]:
        file = self.folder / "token"
        file.write_text(
            minted(self.oidc, aud=self.server["client"], groups=self.server["groups"], name="Pilot Of Tests")
        )
        file.chmod(0o600)
        return ("--token-file", str(file), "--token-origin", self.server["origin"])

    def log(self) -> str:
        """What the pilots said."""
        return (self.folder / "pilot.log").read_text()

    def wait(self, so: Callable[[], object], what: str) -> None:
        """Until something is so."""
        deadline = time.monotonic() + WAITS_S
        while not so():
            assert time.monotonic() < deadline, f"{what}: not within {WAITS_S} s\n{self.log() if self._pilots else ''}"
            time.sleep(0.05)

    def end(self) -> None:
        """Ends what a failed test left."""
        for pilot in self._pilots:
            if pilot.poll() is None:
                pilot.kill()
            pilot.wait()
        self.session.close()
