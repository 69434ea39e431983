"""In which batch job this pilot runs, what it was granted, and when it ends. Pure: texts in, facts out."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

import msgspec

#: Reads a small file or URL; None when it is not there.
Read = Callable[[str], str | None]


class BatchJob(msgspec.Struct, frozen=True, omit_defaults=True):
    """The batch job. `kind` is the PanDA pilot's word for the system (protocol.md 3.1), empty outside of any.

    Zero means: not told. `ends_at` is epoch s.
    """

    kind: str = ""
    id: str = ""
    cores: int = 0
    memory_mb: int = 0
    gpus: int = 0
    ends_at: float | None = None


class Features(msgspec.Struct, frozen=True, omit_defaults=True):
    """What MACHINEFEATURES and JOBFEATURES tell (WLCG job features): `hs06` is of the cores of this job."""

    cores: int = 0
    memory_mb: int = 0
    ends_at: float | None = None
    hs06: float | None = None


#: variable that holds the id -> system; the first that is set counts. Slurm's own comes first: its emulation of
#: other systems sets theirs as well.
_IDS: tuple[tuple[str, str], ...] = (
    ("SLURM_JOB_ID", "SLURM"),
    ("QSUB_REQNAME", "BQS"),
    ("BQSCLUSTER", "BQS"),
    ("PBS_JOBID", "Torque"),
    ("LSB_JOBID", "LSF"),
    ("JOB_ID", "Grid Engine"),
    ("clusterid", "Condor"),
    ("K8S_JOB_ID", "Kubernetes"),
)
_TIME = re.compile(r"(?:(\d+)-)?(?:(\d+):)?(\d+):(\d+)")


def detect(environ: Mapping[str, str], read: Read) -> BatchJob:
    """The batch job that the environment speaks of."""
    for variable, kind in _IDS:
        if number := environ.get(variable, ""):
            return _granted(kind, number, environ)
    if path := environ.get("_CONDOR_JOB_AD", ""):
        ad = class_ad(read(path) or "")
        if number := ad.get("GlobalJobId", ""):
            return BatchJob("Condor", number, _int(ad.get("CpusProvisioned")), _int(ad.get("MemoryProvisioned")))
    return BatchJob()


def _granted(kind: str, number: str, environ: Mapping[str, str]) -> BatchJob:
    """What some systems tell in the environment. Memory: Slurm in MB; LSF and PBS do not tell it reliably."""
    if kind == "SLURM":
        end = _int(environ.get("SLURM_JOB_END_TIME"))
        cores = _int(environ.get("SLURM_CPUS_ON_NODE"))
        per_cpu = _int(environ.get("SLURM_MEM_PER_CPU")) * cores
        gpus = environ.get("SLURM_GPUS_ON_NODE", "")
        memory_mb = _int(environ.get("SLURM_MEM_PER_NODE")) or per_cpu
        return BatchJob(kind, number, cores, memory_mb, _int(gpus.rpartition(":")[2]), float(end) if end else None)
    cores_in = {"Torque": "PBS_NP", "LSF": "LSB_DJOB_NUMPROC", "Grid Engine": "NSLOTS"}
    return BatchJob(kind, number, _int(environ.get(cores_in.get(kind, ""), "")))


def time_left_argv(job: BatchJob) -> list[str] | None:
    """The command that asks the system for the time left to the job; None for systems without a limit to ask for."""
    commands = {
        "SLURM": ["squeue", "--noheader", "--format=%L", f"--jobs={job.id}"],
        "Torque": ["qstat", "-f", job.id],
        "LSF": ["bjobs", "-noheader", "-o", "time_left", job.id],
    }
    return commands.get(job.kind)


def parse_time_left(kind: str, text: str) -> int | None:
    """The seconds left, out of what that command printed; None for no limit or no sense."""
    if kind == "Torque":
        limit = re.search(r"Resource_List\.walltime = (\S+)", text)
        used = re.search(r"resources_used\.walltime = (\S+)", text)
        total = clock(limit[1]) if limit else None
        return None if total is None else max(0, total - ((clock(used[1]) if used else 0) or 0))
    if kind == "LSF":
        found = re.match(r"\s*(\d+):(\d+)\s*[LEX]?\s*$", text)
        return int(found[1]) * 3600 + int(found[2]) * 60 if found else None
    return clock(text.strip().splitlines()[0]) if text.strip() else None


def clock(text: str) -> int | None:
    """`[D-][HH:]MM:SS` as seconds; None for anything else (`UNLIMITED`, `INVALID`, `NOT_SET`)."""
    found = _TIME.fullmatch(text.strip())
    if found is None:
        return None
    days, hours, minutes, seconds = (int(part or 0) for part in found.groups())
    return ((days * 24 + hours) * 60 + minutes) * 60 + seconds


def features(environ: Mapping[str, str], read: Read) -> Features:
    """What the machine and job features tell, whether they are directories or URLs."""

    def fact(where: str, name: str) -> float | None:
        root = environ.get(where, "").rstrip("/")
        text = (read(f"{root}/{name}") if root else None) or ""
        try:
            return float(text.strip())
        except ValueError:
            return None

    start, limit = fact("JOBFEATURES", "jobstart_secs"), fact("JOBFEATURES", "wall_limit_secs")
    ends = [fact("MACHINEFEATURES", "shutdowntime"), fact("JOBFEATURES", "shutdowntime_job")]
    ends.append(start + limit if start and limit else None)
    cores, total = fact("JOBFEATURES", "allocated_cpu"), fact("MACHINEFEATURES", "total_cpu")
    machine = fact("MACHINEFEATURES", "hs06")
    job = fact("JOBFEATURES", "hs06_job")
    memory = fact("JOBFEATURES", "max_rss_bytes")
    if job is None and machine and total:
        job = machine * (cores or 1) / total
    return Features(
        cores=int(cores or 0),
        memory_mb=int((memory or 0) / 1024**2),
        ends_at=min((end for end in ends if end), default=None),
        hs06=job,
    )


def pilot_id(log_url: str, kind: str, version_tag: str, version: str) -> str:
    """`pilotID` as the monitor reads it: log link, batch type (left out when unknown), tag and version."""
    return "|".join(part for part in (log_url or "unknown", kind, version_tag or "PR", version) if part)


def class_ad(text: str) -> dict[str, str]:
    """The attributes of an HTCondor job or machine ad in its long form, texts without their quotes."""
    pairs = (line.partition(" = ") for line in text.splitlines())
    return {name.strip(): value.strip().strip('"') for name, equals, value in pairs if equals}


def _int(text: str | None) -> int:
    """Leading digits as a number; 0 for none."""
    found = re.match(r"\s*(\d+)", text or "")
    return int(found[1]) if found else 0
