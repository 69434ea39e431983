"""The PilotDB's tables, as named migrations: each is applied once, in a transaction of its own, in this order.

A migration is never changed after a release; a new one is added at the end.
"""

from __future__ import annotations

import sqlite3
import time

from pilot.core.errors import FileHandlingFailure
from pilot.db.plans import SCHEMA as PLANS
from pilot.db.ranges import LOSSES
from pilot.db.ranges import SCHEMA as EVENT_RANGES
from pilot.db.runs import SCHEMA as RUNS

_FIRST = """
CREATE TABLE pilots (
  pilot INTEGER PRIMARY KEY, started REAL NOT NULL, ended REAL, host TEXT, pid INTEGER, birth TEXT,
  version TEXT, queue TEXT, source TEXT, url TEXT, exit_code INTEGER
);
CREATE TABLE jobs (
  key TEXT PRIMARY KEY, job_id INTEGER NOT NULL, attempt INTEGER NOT NULL, task_id INTEGER, name TEXT,
  phase TEXT NOT NULL, stopping INTEGER NOT NULL DEFAULT 0, error_code INTEGER, error TEXT,
  exit_code INTEGER, outcome TEXT, directory TEXT NOT NULL, definition TEXT NOT NULL, facts TEXT NOT NULL,
  acquired REAL NOT NULL, updated REAL NOT NULL, ended REAL, pilot INTEGER
);
CREATE INDEX jobs_unfinished ON jobs(phase) WHERE phase <> 'done';
CREATE TABLE phases (
  id INTEGER PRIMARY KEY, key TEXT NOT NULL, at REAL NOT NULL, event TEXT NOT NULL, phase TEXT NOT NULL, error TEXT
);
CREATE INDEX phases_of_job ON phases(key);
CREATE TABLE files (
  key TEXT NOT NULL, direction TEXT NOT NULL, lfn TEXT NOT NULL, state TEXT NOT NULL, size INTEGER, checksums TEXT,
  guid TEXT, source TEXT, target TEXT, rse TEXT, error TEXT, PRIMARY KEY (key, direction, lfn)
) WITHOUT ROWID;
CREATE TABLE transfers (
  id INTEGER PRIMARY KEY, key TEXT, lfn TEXT NOT NULL, direction TEXT NOT NULL, copytool TEXT, source TEXT,
  target TEXT, rse TEXT, started REAL, seconds REAL, checksum_seconds REAL, size INTEGER, error_code INTEGER, error TEXT
);
CREATE INDEX transfers_of_job ON transfers(key);
CREATE TABLE samples (
  key TEXT NOT NULL, at REAL NOT NULL, wall_s REAL, vmem_kb INTEGER, pss_kb INTEGER, rss_kb INTEGER, swap_kb INTEGER,
  rchar INTEGER, wchar INTEGER, read_bytes INTEGER, write_bytes INTEGER, user_s REAL, system_s REAL,
  processes INTEGER, threads INTEGER, open_files INTEGER, pss_settled INTEGER, workdir_kb INTEGER, throttled_s REAL,
  stalled_cpu_s REAL, stalled_memory_s REAL, stalled_io_s REAL, gpus INTEGER, gpu_memory_kb INTEGER, gpu_percent REAL,
  gpu_memory_percent REAL,
  PRIMARY KEY (key, at)
) WITHOUT ROWID;
CREATE TABLE messages (
  id INTEGER PRIMARY KEY, key TEXT NOT NULL, state TEXT NOT NULL, final INTEGER NOT NULL, body TEXT NOT NULL,
  created REAL NOT NULL, tries INTEGER NOT NULL DEFAULT 0, sent REAL, answered REAL, accepted INTEGER, answer TEXT
);
CREATE INDEX messages_of_job ON messages(key);
CREATE INDEX messages_open ON messages(id) WHERE accepted IS NULL;
CREATE TABLE processes (
  id INTEGER PRIMARY KEY, key TEXT NOT NULL, identity TEXT NOT NULL, container TEXT, started REAL NOT NULL, ended REAL
);
CREATE INDEX processes_alive ON processes(id) WHERE ended IS NULL;
"""

MIGRATIONS: list[tuple[str, str]] = [
    ("0001_first", _FIRST),
    ("0002_event_ranges", EVENT_RANGES),
    ("0003_runs", RUNS),
    ("0004_losses", LOSSES),
    ("0005_plans", PLANS),
]


def migrate(connection: sqlite3.Connection) -> None:
    """Bring the file up to date. Raises `FileHandlingFailure` for a file written by a newer pilot."""
    known = [name for name, _ in MIGRATIONS]
    version = connection.execute("PRAGMA user_version").fetchone()[0]
    if version > len(known):
        raise FileHandlingFailure(
            f"the PilotDB has version {version}, this pilot knows versions up to {len(known)}: use a newer pilot"
        )
    if version == len(known):
        return
    for number, (name, script) in enumerate(MIGRATIONS[version:], version + 1):
        connection.executescript(
            "BEGIN IMMEDIATE;"
            "CREATE TABLE IF NOT EXISTS migrations (name TEXT PRIMARY KEY, applied REAL);"
            f"{script};INSERT INTO migrations VALUES ('{name}', {time.time()});"
            f"PRAGMA user_version = {number};COMMIT;"
        )
