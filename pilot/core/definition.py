"""A job as the server described it (protocol.md section 2), read into a `JobDefinition`: both dialects, one reader."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pilot.core.definition_files import log_file, read_inputs, read_outputs, read_write_to_file
from pilot.core.errors import ConversionFailure, NotDefined
from pilot.core.fields import Fields, Slip
from pilot.core.job import JobDefinition, Step
from pilot.core.parameters import Parameters, read_parameters
from pilot.core.secrets import Secrets, split_secrets

__all__ = ["Secrets", "parse", "split_secrets"]

_CLONES = ("runonce", "storeonce")


def parse(raw: Mapping[str, Any]) -> JobDefinition:
    """Read one description. Pure; what is secret in it is not kept.

    Raises `NotDefined` (1311) without a PandaID, `ConversionFailure` (1302) for a value of the wrong kind,
    `NotSameLength` (1312) for positional lists that do not fit, `BadOutputFileName` (1371) and `LfnTooLong` (1190)
    for names. Every message names the key, what is wrong with it and what to do.
    """
    clean, _ = split_secrets(raw)
    return _read(Fields(clean), clean)


def parse_all(raw: Mapping[str, Any], noted: list[Slip]) -> JobDefinition:
    """Read one description as `parse` does, with every mistake added to `noted` instead of the first one raised.

    Values with mistakes are as if they were not there.
    """
    clean, _ = split_secrets(raw)
    return _read(Fields(clean, noted), clean)


def _read(fields: Fields, clean: dict[str, Any]) -> JobDefinition:
    parameters = _parameters(fields)
    platform, _, user_platform = fields.text("cmtConfig").partition("@")
    return JobDefinition(
        job_id=_job_id(fields),
        attempt=fields.amount("attemptNr"),
        task_id=fields.integer("taskID"),
        jobset_id=fields.integer("jobsetID"),
        definition_id=fields.integer("jobDefinitionID"),
        request_id=fields.integer("reqID"),
        name=fields.text("jobName"),
        label=fields.text("prodSourceLabel"),
        processing_type=fields.text("processingType"),
        priority=fields.integer("currentPriority") or 0,
        user=fields.text("prodUserID"),
        inputs=read_inputs(fields),
        outputs=read_outputs(fields),
        log=log_file(fields),
        write_to_file=read_write_to_file(fields),
        platform=platform,
        user_platform=user_platform,
        release=fields.text("swRelease"),
        homepackage=fields.text("homepackage"),
        zip_per_mb=fields.amount("zipPerMB"),
        checkpoint_url=fields.text("sourceURL"),
        scheduler_ip=fields.text("scheduler_ip"),
        session_ip=fields.text("session_ip"),
        raw=clean,
        **_needs(fields),
        **_switches(fields),
        **_command(fields, parameters),
    )


def _parameters(fields: Fields) -> Parameters:
    try:
        return read_parameters(fields.text("jobPars"))
    except ConversionFailure as error:
        fields.slip("jobPars", error)
        return Parameters("")


def _job_id(fields: Fields) -> int:
    number = fields.integer("PandaID")
    if not fields.has("PandaID"):
        fields.slip("PandaID", NotDefined("PandaID is missing: a job needs the number that its server knows it by"))
    elif number is not None and number <= 0:
        wrong = f"PandaID is {number}, expected a number above 0: correct it in the job description"
        fields.slip("PandaID", ConversionFailure(wrong))
    return max(0, number or 0)


def _needs(fields: Fields) -> dict[str, Any]:
    """What the job needs of a node. `nGPU` is no key of a PanDA server: descriptions in files may have it."""
    return {
        "cores": fields.amount("coreCount", 1) or 1,
        "memory_mb": fields.amount("minRamCount"),
        "disk_mb": fields.amount("maxDiskCount"),
        "gpus": fields.amount("nGPU"),
        "max_cpu_s": fields.amount("maxCpuCount"),
        "max_wall_s": fields.amount("maxWalltime"),
        "resource_type": fields.text("resource_type"),
    }


def _switches(fields: Fields) -> dict[str, Any]:
    clone = fields.text("cloneJob").lower()
    if clone and clone not in _CLONES:
        wrong = f"cloneJob is {clone!r}, expected {' or '.join(_CLONES)}: it must not run unguarded"
        fields.slip("cloneJob", ConversionFailure(wrong))
    return {
        "clone": clone,
        "nucleus": fields.text("nucleus"),
        "alt_stageout": fields.flag("altStageOut") if fields.has("altStageOut") else None,
        "log_to_objectstore": fields.flag("putLogToOS"),
        "complete_command": fields.flag("noExecStrCnv"),
        "events_by_position": fields.flag("inFilePosEvtNum"),
        "looping_check": fields.flag("loopingCheck", True),
        "debug": fields.flag("debug"),
        "event_service": fields.flag("eventService"),
        "event_merge": fields.flag("eventServiceMerge"),
        "jumbo": fields.flag("jumbo"),
        "use_prefetcher": fields.flag("usePrefetcher"),
        "hpo": fields.flag("isHPO"),
        "virtual_placement": fields.flag("useVP"),
        "merging_on_site": fields.flag("onSiteMerging"),
        "event_tokens": tuple(fields.names("prodDBlockTokenForOutput")),
    }


def _command(fields: Fields, parameters: Parameters) -> dict[str, Any]:
    """What is run, and in what container. An image in `container_name` is more explicit than one in the options."""
    transformation = fields.text("transformation")
    options = fields.mapping("containerOptions")
    image = fields.text("container_name") or str(options.get("containerImage") or "") or parameters.image
    by_user = transformation.startswith(("http://", "https://"))
    direct = fields.text("transferType").lower() == "direct" or by_user
    return {
        "transformation": transformation,
        "parameters": parameters.text,
        "image": image,
        "container_options": options,
        "direct_access": parameters.access_mode != "copy" and (direct or parameters.access_mode == "direct"),
        "access_mode": parameters.access_mode,
        "queue_overlay": parameters.queue_overlay,
        "storage_overlay": parameters.storage_overlay,
        "zip_map": parameters.zip_map,
        "preprocess": _step(fields, "preprocess"),
        "coprocess": _step(fields, "coprocess"),
        "postprocess": _step(fields, "postprocess"),
    }


def _step(fields: Fields, key: str) -> Step | None:
    step = fields.inside(key)
    if not step.has("command"):
        return None
    return Step(step.text("command"), step.text("args"))
