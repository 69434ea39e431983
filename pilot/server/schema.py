"""The database of the job server, as numbered migrations."""

from __future__ import annotations

import sqlite3

from pilot.server.refusal import StoreError

_JOBS = """
CREATE TABLE job (
    pandaid INTEGER PRIMARY KEY,
    task_id INTEGER, jobset_id INTEGER,
    site TEXT, label TEXT NOT NULL, processing_type TEXT, user TEXT, resource_type TEXT,
    priority INTEGER NOT NULL, min_ram_mb INTEGER NOT NULL, max_disk_mb INTEGER NOT NULL, max_wall_s INTEGER,
    attempt INTEGER NOT NULL, status TEXT NOT NULL, sub_status TEXT,
    command TEXT, debug INTEGER NOT NULL DEFAULT 0,
    kill INTEGER NOT NULL DEFAULT 0, softkill INTEGER NOT NULL DEFAULT 0,
    node TEXT, batch_id TEXT, clone TEXT, event_set INTEGER,
    updates INTEGER NOT NULL DEFAULT 0, finals INTEGER NOT NULL DEFAULT 0, late_finals INTEGER NOT NULL DEFAULT 0,
    created REAL NOT NULL, sent REAL, heard REAL, ended REAL,
    facts TEXT NOT NULL DEFAULT '{}', spec TEXT NOT NULL
);
CREATE INDEX job_waiting ON job (priority DESC, pandaid) WHERE status = 'activated';
CREATE INDEX job_jobset ON job (task_id, jobset_id);
CREATE INDEX job_watched ON job (status, heard)
    WHERE status IN ('sent', 'starting', 'running', 'holding', 'transferring');
CREATE TABLE document (pandaid INTEGER NOT NULL, name TEXT NOT NULL, text TEXT NOT NULL,
    PRIMARY KEY (pandaid, name)) WITHOUT ROWID;
CREATE TABLE history (pandaid INTEGER NOT NULL, at REAL NOT NULL, status TEXT NOT NULL, note TEXT NOT NULL);
CREATE INDEX history_job ON history (pandaid);
CREATE TABLE file (pandaid INTEGER NOT NULL, lfn TEXT NOT NULL, role TEXT NOT NULL, status TEXT NOT NULL,
    facts TEXT NOT NULL, PRIMARY KEY (pandaid, lfn)) WITHOUT ROWID;
CREATE TABLE worker (harvester_id TEXT NOT NULL, worker_id INTEGER NOT NULL, status TEXT NOT NULL, node_id TEXT,
    started REAL, ended REAL, PRIMARY KEY (harvester_id, worker_id)) WITHOUT ROWID;
CREATE TABLE worker_job (harvester_id TEXT NOT NULL, worker_id INTEGER NOT NULL, pandaid INTEGER NOT NULL,
    PRIMARY KEY (harvester_id, worker_id, pandaid)) WITHOUT ROWID;
CREATE TABLE node (site TEXT NOT NULL, host TEXT NOT NULL, kind TEXT NOT NULL, at REAL NOT NULL, facts TEXT NOT NULL,
    PRIMARY KEY (site, host, kind)) WITHOUT ROWID;
"""

_EVENTS = """
CREATE TABLE event_set (id INTEGER PRIMARY KEY, task_id INTEGER NOT NULL, jobset_id INTEGER NOT NULL,
    per_range INTEGER NOT NULL, total INTEGER NOT NULL, next INTEGER NOT NULL, max_tries INTEGER NOT NULL,
    UNIQUE (task_id, jobset_id));
CREATE TABLE event_file (file_id INTEGER PRIMARY KEY, set_id INTEGER NOT NULL, lfn TEXT NOT NULL, guid TEXT NOT NULL,
    scope TEXT NOT NULL, events INTEGER NOT NULL, first INTEGER NOT NULL);
CREATE INDEX event_file_set ON event_file (set_id);
CREATE TABLE event_range (set_id INTEGER NOT NULL, number INTEGER NOT NULL, pandaid INTEGER NOT NULL,
    attempt INTEGER NOT NULL, tries INTEGER NOT NULL DEFAULT 0, status INTEGER NOT NULL,
    error INTEGER, dialog TEXT, output INTEGER, PRIMARY KEY (set_id, number)) WITHOUT ROWID;
CREATE INDEX event_range_ready ON event_range (set_id, number) WHERE status = 0;
CREATE INDEX event_range_held ON event_range (pandaid) WHERE status = 1;
CREATE TABLE event_try (set_id INTEGER NOT NULL, number INTEGER NOT NULL, attempt INTEGER NOT NULL,
    pandaid INTEGER NOT NULL, status INTEGER NOT NULL, error INTEGER, dialog TEXT,
    PRIMARY KEY (set_id, number, attempt)) WITHOUT ROWID;
CREATE TABLE event_output (id INTEGER PRIMARY KEY, pandaid INTEGER NOT NULL, facts TEXT NOT NULL);
ALTER TABLE job ADD COLUMN adder_due REAL;
ALTER TABLE job ADD COLUMN told TEXT;
"""

MIGRATIONS: tuple[str, ...] = (_JOBS, _EVENTS)


def migrate(db: sqlite3.Connection) -> None:
    """Bring the file to the newest schema, one transaction for each step. A newer file raises `StoreError`."""
    (version,) = db.execute("PRAGMA user_version").fetchone()
    if version > len(MIGRATIONS):
        raise StoreError(f"the database was made by a newer program (schema {version}, known {len(MIGRATIONS)})")
    for number in range(version, len(MIGRATIONS)):
        db.executescript(f"BEGIN IMMEDIATE; {MIGRATIONS[number]} PRAGMA user_version = {number + 1}; COMMIT;")
