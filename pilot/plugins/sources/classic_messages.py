"""The messages of the classic dialect, one type each; the wire names are those of protocol.md 1.4 and 3.1."""

from __future__ import annotations

from typing import Any

import msgspec

from pilot.core.update import JobUpdate, Node
from pilot.plugins.sources import v1_messages, wire


class GetJob(
    msgspec.Struct,
    frozen=True,
    kw_only=True,
    omit_defaults=True,
    rename={
        "site_name": "siteName",
        "prod_source_label": "prodSourceLabel",
        "memory": "mem",
        "disk_space": "diskSpace",
        "computing_element": "computingElement",
        "prod_user_id": "prodUserID",
        "get_proxy_key": "getProxyKey",
        "task_id": "taskID",
        "n_jobs": "nJobs",
        "resource_type": "resourceType",
        "scheduler_id": "schedulerID",
        "job_type": "jobType",
        "via_topic": "viaTopic",
        "working_group": "workingGroup",
        "country_group": "countryGroup",
        "other_country": "allowOtherCountry",
    },
):
    """`getJob`: memory and disk in MB, times in s."""

    site_name: str
    prod_source_label: str | None = None
    timeout: int | None = None
    memory: int | None = None
    disk_space: int | None = None
    node: str | None = None
    computing_element: str | None = None
    prod_user_id: str | None = None
    get_proxy_key: bool | None = None
    task_id: int | None = None
    n_jobs: int | None = None
    resource_type: str | None = None
    harvester_id: str | None = None
    worker_id: int | None = None
    scheduler_id: str | None = None
    job_type: str | None = None
    via_topic: bool | None = None
    remaining_time: int | None = None
    working_group: str | None = None
    country_group: str | None = None
    other_country: bool | None = None


RENAMED = {
    "job_id": "jobId",
    "job_status": "state",
    "attempt_nr": "attemptNr",
    "job_sub_status": "jobSubStatus",
    "site_name": "siteName",
    "scheduler_id": "schedulerID",
    "pilot_id": "pilotID",
    "batch_id": "batchID",
    "start_time": "startTime",
    "end_time": "endTime",
    "core_count": "coreCount",
    "mean_core_count": "meanCoreCount",
    "n_events": "nEvents",
    "n_input_files": "nInputFiles",
    "cpu_consumption_time": "cpuConsumptionTime",
    "cpu_consumption_unit": "cpuConsumptionUnit",
    "cpu_conversion_factor": "cpuConversionFactor",
    "job_metrics": "jobMetrics",
    "meta_data": "metaData",
    "job_output_report": "xml",
    "pilot_timing": "pilotTiming",
    "pilot_log": "pilotLog",
    "trans_exit_code": "transExitCode",
    "exe_error_code": "exeErrorCode",
    "exe_error_diag": "exeErrorDiag",
    "pilot_error_code": "pilotErrorCode",
    "pilot_error_diag": "pilotErrorDiag",
    "corrupted_files": "corruptedFiles",
    **{
        f"{kind}_{name}": f"{kind}{name.upper()}"
        for kinds, names in (
            (("max", "avg"), ("rss", "vmem", "swap", "pss")),
            (("tot", "rate"), ("rchar", "wchar", "rbytes", "wbytes")),
        )
        for kind in kinds
        for name in names
    },
}
_RATES = ("rate_rchar", "rate_wchar", "rate_rbytes", "rate_wbytes")


def update_message(update: JobUpdate, node: Node) -> dict[str, Any]:
    """`updateJob`: all that is known of a job, as in v1 under other names, with three fields more.

    Rates are told in kB/s: this server keeps them as they come, next to totals in kB.
    """
    common = msgspec.to_builtins(v1_messages.update_message(update, node))
    message = {RENAMED.get(name, name): value // 1024 if name in _RATES else value for name, value in common.items()}
    more = {
        "timestamp": wire.zoned(update.at),
        "workdir": update.workdir or None,
        "remainingSpace": update.remaining_disk_mb,
    }
    return message | {name: value for name, value in more.items() if value is not None}
