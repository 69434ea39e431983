"""What a pilot is told: every setting once, with its meaning, its unit and its default.

The command line, the environment and the configuration files are read in `cli/`; everybody else gets this object.
A field's `help` is what `--help` and the documentation show; `env` is the variable that may set it.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import Any


def setting(default: Any, help: str, *, env: str = "", choices: tuple[str, ...] = ()) -> Any:
    """A field of `Settings` with what a person needs to know of it."""
    return field(default=default, metadata={"help": help, "env": env, "choices": choices})


@dataclass(frozen=True)
class Settings:
    """The settings of `pilot run`. Times in s, sizes in MB, paths as text."""

    source: str = setting(
        "panda", "where jobs come from", env="PILOT_SOURCE", choices=("panda", "harvester", "local", "dummy")
    )
    url: str = setting("", "base URL of the job server", env="PILOT_URL")
    dialect: str = setting("auto", "the server's dialect", env="PILOT_DIALECT", choices=("auto", "v1", "classic"))
    queue: str = setting("local", "PanDA queue", env="PILOT_QUEUE")
    label: str = setting("managed", "which jobs to ask for (prodSourceLabel)", env="PILOT_JOB_LABEL")
    jobs: int = setting(0, "end after this many jobs (0: no limit)", env="PILOT_JOBS")
    slots: str = setting("1", "jobs at once: a number, or auto to fill the node", env="PILOT_SLOTS")
    prefetch_jobs: int = setting(0, "jobs beyond the slots whose inputs are fetched ahead", env="PILOT_PREFETCH_JOBS")
    workdir: str = setting(
        "",
        "where the job directories and the PilotDB live (default: here, or what --scratch finds)",
        env="PILOT_WORKDIR",
    )
    scratch: str = setting(
        "",
        "without --workdir: find one on this node, removed at the end: seed-3.1, pegasus-5, or variables and paths",
        env="PILOT_SCRATCH",
    )
    scratch_need: str = setting(
        "",
        "with --scratch: the room for it, as 2G  [$PEGASUS_WN_TMP_MIN_SPACE in KiB, else 1 GB]",
        env="PILOT_SCRATCH_NEED",
    )
    scratch_best: bool = setting(False, "with --scratch: the best place, not the first that fits")
    local_storage: str = setting(
        "", "where outputs go for which there is no storage (default: storage in the work directory)"
    )
    db: str = setting("", "the PilotDB's file (default: pilot.db in the work directory)", env="PILOT_DB")
    cleanup: str = setting(
        "records",
        "what is left of a job's directory: everything (none), the records and logs (records), nothing (all)",
        env="PILOT_CLEANUP",
        choices=("none", "records", "all"),
    )
    input_dir: str = setting("", "a directory, or its URL, that holds input files by LFN", env="PILOT_INPUT_DIR")
    output_dir: str = setting("", "a directory, or its URL, that takes output files by LFN", env="PILOT_OUTPUT_DIR")
    stage_in_mode: str = setting(
        "copy",
        "how inputs come that are files on this machine",
        env="PILOT_STAGE_IN_MODE",
        choices=("copy", "reflink", "symlink", "hardlink", "move"),
    )
    replicas: str = setting(
        "auto",
        "who tells where inputs lie: Rucio, nobody, or (auto) Rucio if it is here and the queue's tools go by replicas,"
        " and the rule of paths where it is silent",
        env="PILOT_REPLICAS",
        choices=("auto", "rucio", "none"),
    )
    rucio_python: str = setting(
        "", "a Python that has rucio-clients (default: the pilot's own)", env="PILOT_RUCIO_PYTHON"
    )
    source_speeds: str = setting(
        "",
        "file with the measured speeds of sources, for all pilots of a node (default: in the temporary directory; none:"
        " forget them)",
        env="PILOT_SOURCE_SPEEDS",
    )
    staging_site: str = setting(
        "",
        "which staging sites serve which site: site=staging,other=staging,*=staging (default: as the queue says)",
        env="PILOT_STAGING_SITE",
    )
    bypass_staging: bool = setting(
        False, "inputs come through the staging site only if they cannot be had elsewhere", env="PILOT_BYPASS_STAGING"
    )
    transfer_events: str = setting(
        "", "append a JSON line there for each attempt to move a file of a job", env="PILOT_TRANSFER_EVENTS"
    )
    limits: str = setting("", "limits of every payload: memory_mb=2000,processes=100,...", env="PILOT_LIMITS")
    cgroups: bool = setting(True, "give each payload a cgroup of its own where that is allowed", env="PILOT_CGROUPS")
    container: str = setting(
        "auto",
        "the container runtime of every payload; auto: as image and queue demand",
        env="PILOT_CONTAINER",
        choices=("auto", "none", "apptainer", "singularity", "podman", "docker", "bubblewrap", "sif", "dummy"),
    )
    payload_setup: str = setting(
        "", "shell lines run once; what they change in the environment every payload gets", env="PILOT_PAYLOAD_SETUP"
    )
    container_image: str = setting(
        "", "with --container: the image of jobs that name none", env="PILOT_CONTAINER_IMAGE"
    )
    lifetime: int = setting(324_000, "the pilot ends after this many seconds", env="PANDAPILOT_LIFETIME")
    grace: float = setting(30.0, "seconds from a signal to stop until the pilot's end", env="PILOT_GRACE")
    kill_after: float = setting(5.0, "seconds between SIGTERM and SIGKILL to a payload", env="PILOT_KILL_AFTER")
    heartbeat: float = setting(1800.0, "seconds between two heartbeats of a job", env="PILOT_HEARTBEAT")
    debug_heartbeat: float = setting(60.0, "the same for a job in debug mode", env="PILOT_DEBUG_HEARTBEAT")
    monitor_interval: float = setting(1.0, "seconds between two looks at a payload", env="PILOT_MONITOR_INTERVAL")
    wait: float = setting(60.0, "seconds until jobs are asked for again when there were none", env="PILOT_WAIT")
    getjob_requests: int = setting(
        2, "end after this many requests in a row that brought no job (0: keep asking)", env="PILOT_GETJOB_REQUESTS"
    )
    getjob_failures: int = setting(
        10, "end after this many failed requests in a row (0: keep trying)", env="PILOT_GETJOB_FAILURES"
    )
    reruns: int = setting(2, "how often a payload may be run again after the pilot died beside it", env="PILOT_RERUNS")
    event_tell_tries: int = setting(
        20,
        "answers in a row that store no event outcomes until the job fails (0: keep telling)",
        env="PILOT_EVENT_TELL_TRIES",
    )
    disk_patience: float = setting(600.0, "seconds that a full disk is waited for", env="PILOT_DISK_PATIENCE")
    staging_threads: int = setting(
        2, "inputs of how many jobs are brought at once, and outputs of how many sent", env="PILOT_STAGING_THREADS"
    )
    cacert: str = setting("", "file with the certificates that the server's is checked against", env="PILOT_CACERT")
    capath: str = setting("", "directory with such certificates", env="X509_CERT_DIR")
    proxy: str = setting("", "X.509 proxy or certificate with key (PEM)  [$X509_USER_PROXY, /tmp/x509up_u<uid>]")
    token_file: str = setting("", "file with an OIDC token  [$OIDC_AUTH_TOKEN, $PANDA_AUTH_TOKEN]")
    token_origin: str = setting("", "the token's virtual organisation  [$OIDC_AUTH_ORIGIN, $PANDA_AUTH_ORIGIN]")
    proxy_least: int = setting(300, "a credential that lasts less than this many seconds is refused at the start")
    experiment: str = setting("generic", "whose words and rules hold (pilot user)", env="PILOT_EXPERIMENT")
    version_tag: str = setting("PR", "PR, RC, RCM or ALRB: told to the server with the version")
    benchmark: bool = setting(
        False, "tell the server how fast the cores are, if `pilot benchmark` has measured them", env="PILOT_BENCHMARK"
    )
    benchmark_command: str = setting(
        "", "what `pilot benchmark` runs instead of its own", env="PILOT_BENCHMARK_COMMAND"
    )
    benchmark_score: str = setting("json:score", "where that prints its score", env="PILOT_BENCHMARK_SCORE")
    benchmark_reference: float = setting(
        50.0, "the score of a core with cpuConversionFactor 1", env="PILOT_BENCHMARK_REFERENCE"
    )
    server_updates: bool = setting(True, "tell the server of jobs", env="PILOT_SERVER_UPDATES")
    worker_updates: bool = setting(True, "tell the server when this worker starts and ends, and what node it has")
    resource_type: str = setting("", "only jobs of this resource type (SCORE, MCORE, ...)")
    job_type: str = setting("", "user or managed, on queues that take both")
    working_group: str = setting("", "only jobs of this working group (classic dialect)")
    country_group: str = setting("", "only jobs of this country group (classic dialect)")
    other_country: bool = setting(False, "with --country-group: others' jobs too (classic dialect)")
    port: int = setting(0, "port of the job server, when the URL has none")
    queuedata_url: str = setting("", "where queue data comes from, before all other places", env="PILOT_QUEUEDATA_URL")
    storagedata_url: str = setting("", "where storage data comes from", env="PILOT_STORAGEDATA_URL")
    info_pause: float = setting(15.0, "seconds between two rounds over the places of queue data")
    base_urls: str = setting("", "allowed origins of downloaded transforms, with commas", env="PANDA_BASE_URLS")
    stageout_attempts: int = setting(2, "how often a file is tried from each source", env="PILOT_STAGEOUT_ATTEMPTS")
    cvmfs_check: str = setting(
        "warn",
        "what to do when the experiment's CVMFS repositories are not there: nothing (off), a warning, or no jobs",
        env="PILOT_CVMFS_CHECK",
        choices=("off", "warn", "refuse"),
    )
    proxy_check: bool = setting(True, "check the lifetime of the proxy")
    token_renewal: bool = setting(True, "renew the token in time")
    pod: bool = setting(False, "this is a Kubernetes pod: SIGTERM is pre-emption", env="PILOT_POD")
    rucio_traces: bool = setting(False, "tell Rucio of every transfer, at --rucio-host", env="PILOT_USE_RUCIO_TRACES")
    rucio_host: str = setting("", "the URL that takes Rucio traces: https://HOST/traces/", env="PILOT_RUCIO_HOST")
    harvester_id: str = setting("", "the Harvester that submitted this worker", env="HARVESTER_ID")
    worker_id: str = setting("", "the worker's number there", env="HARVESTER_WORKER_ID")
    harvester_workdir: str = setting(
        "", "the access point: the directory shared with Harvester (default: here)", env="HARVESTER_WORKDIR"
    )
    harvester_datadir: str = setting("", "another directory with the job file", env="HARVESTER_DATADIR")
    harvester_submit_mode: str = setting(
        "PULL", "whether jobs are asked for (PULL) or there at the start (PUSH)", choices=("PULL", "PUSH")
    )
    harvester_map: str = setting(
        "OneToOne",
        "how jobs and workers go together: ManyToOne gives each job a sub-directory, OneToMany shares a jumbo job, "
        "with NoJob jobs come from the server at --url",
        choices=("OneToOne", "ManyToOne", "OneToMany", "NoJob"),
    )
    harvester_files: str = setting("", "names of shared files in Harvester's words: jobSpecFile=HPCJobs.json,...")
    harvester_eventstatusdump: str = setting("", "file that lists outputs for Harvester")
    harvester_workerattributes: str = setting("", "file that tells Harvester of a job")
    harvester_url: str = setting("", "Harvester's HTTP front end, instead of files", env="HARVESTER_URL")
    harvester_token: str = setting("", "file with the token for the HTTP front end", env="HARVESTER_TOKEN_FILE")
    harvester_patience: float = setting(
        600.0, "seconds that Harvester may take to bring a job", env="PILOT_HARVESTER_PATIENCE"
    )
    harvester_kill: bool = setting(False, "ask Harvester to end the worker when the pilot has ended")
    scheduler_id: str = setting("", "who scheduled this pilot", env="PANDA_JSID")
    log_url: str = setting("", "where this pilot's log can be read", env="GTAG")
    end_margin: float = setting(
        120.0, "seconds before the end of the batch job at which jobs are stopped", env="PILOT_END_MARGIN"
    )
    least_time: int = setting(
        60, "no job is asked for when less than this many seconds are left", env="PILOT_LEAST_TIME"
    )
    http_timeout: float = setting(120.0, "seconds until a request to the server is given up", env="PILOT_HTTP_TIMEOUT")


def setting_names() -> list[str]:
    """The names of all settings, in the order of their declaration."""
    return [f.name for f in fields(Settings)]
