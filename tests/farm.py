"""One queue with storages on this machine, and pilots that run jobs from files there, one after the other."""

from __future__ import annotations

import json
import sqlite3
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pilot.lib.program import own_command, own_environment
from pilot.staging.paths import deterministic_path

DATA = b"events\n" * 1000


class Farm:
    """A queue with storages, folders of this machine, `DISK` and `more`, and a pilot that takes a job from a file."""

    def __init__(self, folder: Path, *more: str, **queue: Any) -> None:
        self.folder = folder
        self.work = folder / "w"
        self.work.mkdir()
        self.number = 6
        record = {
            "nickname": "Q",
            "status": "online",
            "astorages": {"read_lan": ["DISK"], "write_lan": ["DISK"]},
            **queue,
        }
        (self.work / "queuedata.json").write_text(json.dumps({"Q": record}))
        storages = {}
        for name in ("DISK", *more):
            protocols = [{"id": 1, "endpoint": f"file://{folder}", "path": f"/{name.lower()}"}]
            arprotocols = {"read_lan": protocols, "write_lan": protocols}
            storages[name] = {"name": name, "site": "HERE", "arprotocols": arprotocols}
        (self.work / "cric_ddmendpoints.json").write_text(json.dumps(storages))

    def place(self, lfn: str, storage: str = "DISK") -> Path:
        """Where a storage has a file."""
        return self.folder / storage.lower() / deterministic_path("s", lfn)

    def store(self, lfn: str, data: bytes = DATA, storage: str = "DISK") -> Path:
        """Put a file where the storage has it."""
        path = self.place(lfn, storage)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        return path

    def run(
        self,
        script: str,
        *lfns: str,
        environment: dict[str, str] | None = None,
        options: Sequence[str] = (),
        **more: Any,
    ) -> dict[str, Any]:
        """Run a job that reads these files; what the PilotDB knows of them, by LFN."""
        self.number += 1
        job = {
            "PandaID": self.number,
            "attemptNr": 1,
            "transformation": "/bin/bash",
            "jobPars": script,
            "inFiles": ",".join(lfns),
            "scopeIn": ",".join("s" for _ in lfns),
            "ddmEndPointIn": ",".join("DISK" for _ in lfns),
            "fsize": ",".join(str(len(DATA)) for _ in lfns),
            "GUID": ",".join(f"GUID-{n}" for n, _ in enumerate(lfns)),
            "outFiles": "o.txt",
            "scopeOut": "s",
            "ddmEndPointOut": "DISK",
            "transferType": "direct",
            **more,
        }
        (self.folder / "job.json").write_text(json.dumps(job))
        return self.start(environment or {}, options)

    def start(self, environment: dict[str, str], options: Sequence[str] = ()) -> dict[str, Any]:
        """Let a pilot take the job."""
        own = own_environment()
        paths = [own.get("PYTHONPATH", ""), environment.get("PYTHONPATH", "")]
        command = own_command(
            "run", "--source", "local", "--queue", "Q", "--workdir", str(self.work), "--cleanup", "none"
        )
        done = subprocess.run(
            [*command, *options, str(self.folder / "job.json")],
            env=own | environment | {"PYTHONPATH": ":".join(filter(None, paths))},
            capture_output=True,
            timeout=90,
            check=False,
        )
        self.log = done.stderr.decode()
        assert done.returncode == 0, self.log
        with sqlite3.connect(self.work / "pilot.db") as db:
            key = f"{self.number}.1"
            rows = db.execute(
                "SELECT lfn, state, target, error FROM files WHERE direction = 'in' AND key = ?", (key,)
            ).fetchall()
            self.outcome, self.error = db.execute(
                "SELECT outcome, error_code FROM jobs WHERE key = ?", (key,)
            ).fetchone()
            self.attempts = db.execute(
                "SELECT lfn, copytool, source, error_code FROM transfers WHERE key = ? ORDER BY id", (key,)
            ).fetchall()
        db.close()
        return {lfn: (state, target) for lfn, state, target, _ in rows}

    def outputs(self) -> dict[str, tuple[str, str]]:
        """What the PilotDB knows of the last job's outputs: state and place."""
        with sqlite3.connect(self.work / "pilot.db") as db:
            rows = db.execute(
                "SELECT lfn, state, target FROM files WHERE direction = 'out' AND key = ?", (f"{self.number}.1",)
            ).fetchall()
        db.close()
        return {lfn: (state, target) for lfn, state, target in rows}

    @property
    def adler32(self) -> str:
        """Of `DATA`."""
        return f"{zlib.adler32(DATA):08x}"

    @property
    def directory(self) -> Path:
        return self.work / f"job-{self.number}.1"

    def catalogue(self) -> dict[str, str]:
        """GUID to place, as the payload is told."""
        found = ElementTree.fromstring((self.directory / "PoolFileCatalog.xml").read_text()).findall("File")
        return {str(file.get("ID")): str(file.find("physical/pfn").get("name")) for file in found}  # type: ignore[union-attr]


_RUCIO = """#!{python}
import json, os, sys
folder = {folder!r}
for line in sys.stdin:
    asked = json.loads(line)
    open(os.path.join(folder, "asked"), "a").write(line)
    if os.path.exists(os.path.join(folder, "down")):
        answer = {{"error": "ServerConnectionException", "message": "nobody answers"}}
    else:
        known = json.load(open(os.path.join(folder, "known")))
        answer = {{"ok": True, "found": {{did: known[did] for did in asked["dids"] if did in known}}}}
    print(json.dumps(answer), flush=True)
"""


class Catalogue:
    """Stands in for a Python with the Rucio clients: tells of the replicas that it was told of."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir()
        self.folder = folder
        self.python = folder / "python"
        self.python.write_text(_RUCIO.format(python=sys.executable, folder=str(folder)))
        self.python.chmod(0o755)
        self.known: dict[str, Any] = {}
        (folder / "known").write_text("{}")

    def tell(self, lfn: str, *places: tuple[str, str], size: int = len(DATA)) -> None:
        """Let a file of the scope `s` have these replicas: URL and RSE, the nearest first."""
        rows = [{"pfn": url, "rse": rse, "type": "DISK", "priority": n} for n, (url, rse) in enumerate(places, 1)]
        self.known[f"s:{lfn}"] = {"size": size, "sums": {}, "places": rows}
        (self.folder / "known").write_text(json.dumps(self.known))

    @property
    def options(self) -> list[str]:
        """What the pilot is told."""
        return ["--replicas", "rucio", "--rucio-python", str(self.python)]

    def asked(self) -> list[dict[str, Any]]:
        """Every question."""
        path = self.folder / "asked"
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
