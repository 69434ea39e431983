"""The payload's environment, built from nothing: what the pilot itself has in its own never gets there by chance.

Order, later wins: the few names let through from the pilot's environment, the queue's `environ`, the job's variables
(protocol.md section 10), what the caller adds.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from fnmatch import fnmatchcase

import msgspec

from pilot.core.job import JobDefinition

#: Names (or `PREFIX*`) that describe the machine and its user, and nothing of the pilot.
PASSED_ON = (
    "LANG",
    "LANGUAGE",
    "LC_*",
    "USER",
    "LOGNAME",
    "SHELL",
    "HOSTNAME",
    "X509_CERT_DIR",
    "X509_VOMS_DIR",
)
#: The search path of every payload, unless the queue's `environ` or a set-up says otherwise.
DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


class Surroundings(msgspec.Struct, frozen=True):
    """What a job's environment depends on besides its definition.

    `workdir` is the job's directory as the payload sees it; `home` and `tmp` default to it. `cores`, `memory_mb`
    and `gpus` are what was granted (`gpus` None: nobody accounts for them). `environ` is the queue's, `queue` and
    `site` its names. `keep` are further names (or `PREFIX*`) let through from the pilot's environment, `drop`
    names that are not; `add` is put last. `withheld` are names (or `PREFIX*`) that no payload gets, whoever sets them.
    """

    workdir: str
    cores: int = 1
    memory_mb: int = 0
    gpus: tuple[str, ...] | None = None
    home: str = ""
    tmp: str = ""
    queue: str = ""
    site: str = ""
    environ: dict[str, str] = {}
    drop: frozenset[str] = frozenset()
    keep: tuple[str, ...] = ()
    add: dict[str, str] = {}
    withheld: tuple[str, ...] = ()


def payload_environment(base: Mapping[str, str], job: JobDefinition, around: Surroundings) -> dict[str, str]:
    """The whole environment of a payload. `base` is the pilot's own, given so that nothing here reads it."""
    kept = passed_on(base, (*PASSED_ON, *around.keep))
    env = {
        **{name: value for name, value in kept.items() if name not in around.drop},
        **around.environ,
        **job_variables(job, around),
        **around.add,
    }
    return {name: value for name, value in env.items() if not any(fnmatchcase(name, one) for one in around.withheld)}


def passed_on(base: Mapping[str, str], names: Iterable[str]) -> dict[str, str]:
    """Those variables of the pilot that `names` let through, and the machine's own PATH.

    What is on the pilot's own PATH is there for the pilot: a payload that found another Python or another tool for
    that would run on one site and not on the next.
    """
    wanted = tuple(names)
    return {"PATH": DEFAULT_PATH} | {
        key: value for key, value in base.items() if any(fnmatchcase(key, name) for name in wanted)
    }


def job_variables(job: JobDefinition, around: Surroundings) -> dict[str, str]:
    """What a payload may ask its environment about itself."""
    home = around.home or around.workdir
    variables = {
        "TZ": "UTC",
        "HOME": home,
        "TMPDIR": around.tmp or around.workdir,
        "PWD": around.workdir,
        "PandaID": str(job.job_id),
        "PanDA_AttemptNr": str(job.attempt),
        "ATHENA_PROC_NUMBER": str(around.cores),
        "ATHENA_CORE_NUMBER": str(around.cores),
        "PILOT_JOB": job.key,
        "PILOT_WORKDIR": around.workdir,
        "PILOT_CORES": str(around.cores),
    }
    optional = {
        "PanDA_TaskID": job.task_id,
        "PANDA_RESOURCE": around.queue,
        "PILOT_QUEUE": around.queue,
        "PILOT_SITE": around.site,
        "PILOT_MEMORY_MB": around.memory_mb,
    }
    variables.update({name: str(value) for name, value in optional.items() if value})
    if around.gpus is not None:
        visible = ",".join(around.gpus)
        variables.update(CUDA_VISIBLE_DEVICES=visible, ROCR_VISIBLE_DEVICES=visible)
    return variables
