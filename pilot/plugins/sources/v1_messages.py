"""The messages of the v1 dialect, one type each: field names and types are the server's, nothing else is sent."""

from __future__ import annotations

from typing import Any

import msgspec

from pilot.core.update import JobUpdate, Node
from pilot.core.usage import Usage
from pilot.plugins.sources import wire


class AcquireJobs(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """`pilot/acquire_jobs` (protocol.md 1.4). `get_proxy_key` is declared a text by the server and used as a flag.

    `target_architecture` (`{"gpus": [...]}`, an empty list for no GPU) is known to servers from 1.0.4 on alone.
    """

    site_name: str
    n_jobs: int
    prod_source_label: str | None = None
    timeout: int | None = None
    memory: int | None = None
    disk_space: int | None = None
    node: str | None = None
    computing_element: str | None = None
    prod_user_id: str | None = None
    get_proxy_key: str | None = None
    task_id: int | None = None
    resource_type: str | None = None
    harvester_id: str | None = None
    worker_id: int | None = None
    scheduler_id: str | None = None
    job_type: str | None = None
    via_topic: bool | None = None
    remaining_time: int | None = None
    target_architecture: dict[str, Any] | None = None


class UpdateJob(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """`pilot/update_job` (protocol.md 3.1): memory in kB, I/O in bytes, rates in bytes/s."""

    job_id: int
    job_status: str
    attempt_nr: int | None = None
    job_sub_status: str | None = None
    site_name: str | None = None
    node: str | None = None
    scheduler_id: str | None = None
    pilot_id: str | None = None
    batch_id: str | None = None
    start_time: str | None = None
    end_time: str | None = None
    core_count: int | None = None
    mean_core_count: int | None = None
    n_events: int | None = None
    n_input_files: int | None = None
    cpu_consumption_time: int | None = None
    cpu_consumption_unit: str | None = None
    cpu_conversion_factor: float | None = None
    cpu_architecture_level: str | None = None
    max_rss: int | None = None
    max_vmem: int | None = None
    max_swap: int | None = None
    max_pss: int | None = None
    avg_rss: int | None = None
    avg_vmem: int | None = None
    avg_swap: int | None = None
    avg_pss: int | None = None
    tot_rchar: int | None = None
    tot_wchar: int | None = None
    tot_rbytes: int | None = None
    tot_wbytes: int | None = None
    rate_rchar: int | None = None
    rate_wchar: int | None = None
    rate_rbytes: int | None = None
    rate_wbytes: int | None = None
    job_metrics: str | None = None
    meta_data: str | None = None
    job_output_report: str | None = None
    pilot_timing: str | None = None
    pilot_log: str | None = None
    stdout: str | None = None
    trans_exit_code: int | None = None
    exe_error_code: int | None = None
    exe_error_diag: str | None = None
    pilot_error_code: int | None = None
    pilot_error_diag: str | None = None
    corrupted_files: str | None = None
    grid: str | None = None
    source_site: str | None = None
    destination_site: str | None = None


class WorkerStatus(msgspec.Struct, frozen=True, omit_defaults=True):
    """`pilot/update_worker_status` (protocol.md 1.7); the server declares no types here."""

    worker_id: str
    harvester_id: str
    status: str
    node_id: str | None = None


class WorkerNode(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """`pilot/update_worker_node`: clock in MHz, memory in MB, disk in GB."""

    site: str
    host_name: str
    cpu_model: str
    panda_queue: str | None = None
    n_logical_cpus: int | None = None
    n_sockets: int | None = None
    cores_per_socket: int | None = None
    threads_per_core: int | None = None
    cpu_architecture: str | None = None
    cpu_architecture_level: str | None = None
    clock_speed: float | None = None
    total_memory: int | None = None
    total_local_disk: int | None = None


class WorkerGpu(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """`pilot/update_worker_node_gpu`: memory in MB."""

    site: str
    host_name: str
    vendor: str
    model: str
    count: int
    vram: int | None = None
    architecture: str | None = None
    framework: str | None = None
    framework_version: str | None = None
    driver_version: str | None = None


def update_message(update: JobUpdate, node: Node) -> UpdateJob:
    """All that is known of a job, in the server's names, types and limits."""
    facts: dict[str, Any] = {
        "job_id": update.job_id,
        "job_status": str(update.state),
        "attempt_nr": update.attempt,
        "job_sub_status": wire.cut(update.substate, 80),
        "start_time": wire.when(update.started),
        "end_time": wire.when(update.ended),
        "core_count": update.cores,
        "mean_core_count": None if update.mean_cores is None else round(update.mean_cores),
        "n_events": update.events,
        "n_input_files": update.input_files,
        "job_metrics": wire.metrics(update.metrics),
        "meta_data": wire.document(update.metadata),
        "pilot_timing": wire.timing(update.timing_s),
        "pilot_log": wire.tail(update.log_excerpt, wire.LOG_LIMIT),
        "stdout": wire.tail(update.stdout, wire.STDOUT_LIMIT),
        "corrupted_files": ",".join(update.corrupted_files),
        **_of_node(node),
        **_of_usage(update.usage),
        **_of_outcome(update),
    }
    return UpdateJob(**{name: value for name, value in facts.items() if value not in (None, "")})


def _of_node(node: Node) -> dict[str, Any]:
    return {
        "site_name": node.queue,
        "node": wire.cut(node.host, 128),
        "scheduler_id": node.scheduler_id,
        "pilot_id": wire.cut(node.pilot_id, 200),
        "batch_id": wire.cut(node.batch_id, 80),
        "cpu_consumption_unit": wire.cut(node.cpu_unit, 128),
        "cpu_conversion_factor": float(node.cpu_factor),
        "cpu_architecture_level": wire.cut(node.cpu_level, 20),
        "grid": wire.cut(node.grid, 50),
        "source_site": wire.cut(node.source_site, 36),
        "destination_site": wire.cut(node.destination_site, 36),
    }


def _of_usage(usage: Usage | None) -> dict[str, Any]:
    if usage is None:
        return {}
    memory = {
        f"{kind}_{name}": int(getattr(usage, f"{kind}_{name}_kb"))
        for kind in ("max", "avg")
        for name in ("rss", "vmem", "swap", "pss")
    }
    totals = {
        "rchar": usage.rchar,
        "wchar": usage.wchar,
        "rbytes": usage.read_bytes,
        "wbytes": usage.write_bytes,
    }
    return {
        "cpu_consumption_time": wire.cpu_seconds(usage.cpu_s),
        **memory,
        **{f"tot_{name}": wire.byte_count(value) for name, value in totals.items()},
        **{f"rate_{name}": wire.rate(value, usage.wall_s) for name, value in totals.items()},
    }


def _of_outcome(update: JobUpdate) -> dict[str, Any]:
    """Exit codes, errors and the output report, which only a final word may carry."""
    error, payload = update.error, update.payload_error
    # Numbers below 1000 belong to payloads: as the pilot's own they mean an unknown failure of the transform.
    code = None if error is None else error.code if error.code >= 1000 else 1315
    return {
        "trans_exit_code": update.payload_exit,
        "pilot_error_code": -code if code and update.recoverable else code,
        "pilot_error_diag": wire.cut_at_blank(error.message, wire.DIAG_LIMIT) if error else None,
        "exe_error_code": payload[0] if payload else None,
        "exe_error_diag": wire.cut_at_blank(payload[1], wire.DIAG_LIMIT) if payload else None,
        "job_output_report": wire.output_report(update.report)
        if update.report is not None and update.state.final
        else None,
    }
