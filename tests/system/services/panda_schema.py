"""The database of a PanDA server, as far as the pilot's calls and what follows from them reach into it.

Tables of jobs, files, tasks and workers get their columns from the server's own classes, so one text serves every
version; the others are listed here. Runs with the Python of the server's environment and prints SQL.
"""

from __future__ import annotations

import json
import sys

SCHEMAS = ("DOMA_PANDA", "DOMA_PANDAARCH", "DOMA_PANDAMETA", "DOMA_DEFT")

# How long a text may be, where the server's real tables say so; a longer one is an error there as here.
WIDTHS = {
    "schedulerID": 128, "pilotID": 200, "modificationHost": 128, "jobStatus": 15, "cpuConsumptionUnit": 128,
    "commandToPilot": 250, "transExitCode": 128, "pilotErrorDiag": 500, "exeErrorDiag": 500, "supErrorDiag": 250,
    "computingElement": 128, "computingSite": 128, "grid": 50, "sourceSite": 36, "destinationSite": 36,
    "pilotTiming": 100, "batchID": 80, "jobMetrics": 500, "jobSubStatus": 80, "cpu_architecture_level": 20,
    "md5sum": 36, "checksum": 36, "scope": 30, "GUID": 64, "nodeID": 80,
}  # fmt: skip
DECIMALS = {"cpuConversion", "memory_leak_x2", "meanCoreCount", "gco2_regional", "gco2_global", "clock_speed"}
_NUMBERS = """
PandaID jobDefinitionID assignedPriority currentPriority attemptNr maxAttempt maxCpuCount maxDiskCount minRamCount
cpuConsumptionTime pilotErrorCode exeErrorCode supErrorCode ddmErrorCode brokerageErrorCode jobDispatcherErrorCode
taskBufferErrorCode nEvents taskID relocationFlag jobExecutionID nInputFiles parentID jobsetID coreCount
nInputDataFiles inputFileBytes nOutputDataFiles outputFileBytes workQueue_ID jediTaskID actualCoreCount reqID maxRSS
maxVMEM maxSWAP maxPSS avgRSS avgVMEM avgSWAP avgPSS maxWalltime eventService failedAttempt hs06sec hs06 totRCHAR
totWCHAR totRBYTES totWBYTES rateRCHAR rateWCHAR rateRBYTES rateWBYTES diskIO memory_leak row_ID fsize datasetID
fileID numberfiles currentfiles MoverID transferStatus workerID nCore nJobs errorCode nativeExitCode keepTrack
startEvent endEvent firstEvent lumiBlockNr outPandaID maxFailure ramCount boundaryID masterID provenanceID nFiles
nFilesToBeUsed nFilesUsed nFilesFinished nFilesFailed nFilesOnHold nEventsToBeUsed nEventsUsed templateID
nFilesWaiting nFilesMissing taskPriority walltime outDiskCount workDiskCount ioIntensity progress failureRate
parent_tid mergeRamCount mergeWalltime numThrottled mergeCoreCount cpuTime cpuEfficiency baseWalltime baseRamCount
memory_leak_core constituent_id job_processID def_min_eventID def_max_eventID processed_upto_eventID objStore_ID
path_convention isOK oldPandaID newPandaID originPandaID numslots zipRow_ID mincore maxcore minrampercore
maxrampercore value queue_id execution_order error_code loss is_jumbo n_logical_cpus n_sockets cores_per_socket
threads_per_core total_memory total_local_disk count vram id space_total space_free space_used space_expired
"""
_TIMES = """
creationTime modificationTime startTime endTime stateChangeTime prodDBUpdateTime creationdate modificationdate
submitTime lastUpdate lastAttemptTime creationDate stateCheckTime stateCheckExpiration frozenTime lockedTime
throttledTime assessmentTime ttcRequested ttcPredicted ttcPredictionDate rescueTime activatedTime queuedTime
actionTime timeStamp expirationTime pilotStartTime pilotEndTime last_update last_seen space_timestamp firstjob
latestjob cachetime
"""
NUMBERS, TIMES = frozenset(_NUMBERS.split()), frozenset(_TIMES.split())


def column(name: str) -> str:
    """A column with the type that its name implies."""
    if name in NUMBERS:
        return f"{name} bigint"
    if name in TIMES:
        return f"{name} timestamp"
    if name in DECIMALS:
        return f"{name} numeric"
    return f"{name} varchar({WIDTHS[name]})" if name in WIDTHS else f"{name} text"


def table(name: str, *columns: str, key: str = "", schema: str = SCHEMAS[0]) -> str:
    """A table; a column whose type is spelt out has a blank in it."""
    words = [item if " " in item else column(item) for item in dict.fromkeys(columns)]
    return f"CREATE TABLE {schema}.{name} ({', '.join([*words, *([f'PRIMARY KEY ({key})'] if key else [])])});"


def of_jobs() -> list[str]:
    """Jobs in each of their states, their files and what belongs to them."""
    from pandaserver.taskbuffer.DatasetSpec import DatasetSpec
    from pandaserver.taskbuffer.FileSpec import FileSpec
    from pandaserver.taskbuffer.JobSpec import JobSpec

    job = (*JobSpec._attributes, "meanCoreCount")
    pairs = ("PandaID bigint NOT NULL", "modificationTime")
    states = ("jobsDefined4", "jobsActive4", "jobsArchived4", "jobsWaiting4")
    return [
        *(table(name, *job, key="PandaID") for name in states),
        table("jobsArchived", *job, key="PandaID", schema="DOMA_PANDAARCH"),
        table("filesTable4", *FileSpec._attributes, "modificationTime timestamp DEFAULT now()", key="row_ID"),
        table("filesTable_ARCH", *FileSpec._attributes, "modificationTime", schema="DOMA_PANDAARCH"),
        table("jobParamsTable", *pairs, "jobParameters text"),
        table("metaTable", *pairs, "metaData text"),
        table("Datasets", *DatasetSpec._attributes, key="vuid"),
        table("jobs_StatusLog", "PandaID", "modificationTime", "jobStatus", "prodSourceLabel", "cloud",
              "computingSite", "modificationHost", "modiftime_extended text"),
        table("Job_Output_Report", "PandaID", "prodSourceLabel", "jobStatus", "attemptNr", "data text", "timeStamp",
              "lockedBy", "lockedTime", key="PandaID, attemptNr"),
        table("jobsDebug", "PandaID", "stdOut", key="PandaID"),
        table("job_stats", "PandaID", "key", "value text"),
        table("Secrets", "owner", "data text", "updated_at timestamp"),
        table("sql_queue", "topic", "PandaID", "execution_order", "jediTaskID", "creationTime", "data text"),
    ]  # fmt: skip


def of_tasks() -> list[str]:
    """What the job's tables refer to of its task, and the event ranges."""
    from pandaserver.taskbuffer.JediDatasetSpec import JediDatasetSpec
    from pandaserver.taskbuffer.JediFileSpec import JediFileSpec
    from pandaserver.taskbuffer.JediTaskSpec import JediTaskSpec

    return [
        table("JEDI_Tasks", *JediTaskSpec.attributes, "realModificationTime timestamp", key="jediTaskID"),
        table("JEDI_Datasets", *JediDatasetSpec._attributes, key="jediTaskID, datasetID"),
        table("JEDI_Dataset_Contents", *JediFileSpec._attributes, "jobsetID", key="jediTaskID, datasetID, fileID"),
        table("JEDI_Events", "jediTaskID", "PandaID", "fileID", "job_processID", "def_min_eventID",
              "def_max_eventID", "processed_upto_eventID", "datasetID", "status smallint", "attemptNr",
              "event_offset bigint", "objStore_ID", "file_not_deleted", "error_code", "path_convention",
              "is_jumbo", "error_diag", "zipRow_ID", "isOK", "loss", "last_update",
              key="jediTaskID, PandaID, fileID, job_processID"),
        table("JEDI_Job_Retry_History", "jediTaskID", "oldPandaID", "newPandaID", "ins_utc_tstamp bigint",
              "relationType", "originPandaID"),
        table("JEDI_Dataset_Locality", "jediTaskID", "datasetID", "rse"),
        table("JEDI_Process_Lock", "vo", "prodSourceLabel", "cloud", "workqueue_id bigint", "resource_type",
              "component", "lockedBy", "lockedTime"),
        table("TASKS_StatusLog", "jediTaskID", "modificationTime", "status", "modificationHost", "attemptNr", "reason"),
        table("task_attributes", "jediTaskID", "attr_name", "attr_value"),
        table("T_TASK", "taskid bigint", "status", "timestamp timestamp", "total_req_jobs bigint",
              "total_done_jobs bigint", "total_events bigint",
              "total_req_events bigint", schema="DOMA_DEFT"),
    ]  # fmt: skip


def of_sites() -> list[str]:
    """Queues, storage, workers, shares, users."""
    from pandaserver.taskbuffer.WorkerSpec import WorkerSpec

    return [
        table("schedconfig_json", "panda_queue", "data jsonb", "last_update", key="panda_queue"),
        table("panda_site", "panda_site_name", "site_name", "default_ddm_endpoint", "storage_site_name", "is_local"),
        table("site", "site_name", "role"),
        table("ddm_endpoint", "ddm_endpoint_name", "site_name", "ddm_spacetoken_name", "space_total", "space_free",
              "space_used", "is_tape", "type", "blacklisted", "space_expired", "space_timestamp", "blacklisted_read",
              "blacklisted_write", "detailed_status jsonb"),
        table("panda_ddm_relation", "panda_site_name", "ddm_endpoint_name", "roles", "is_local", "order_read bigint",
              "order_write bigint", "default_read", "default_write", "scope"),
        table("Harvester_Slots", "pandaQueueName", "gshare", "resourcetype", "numslots", "modificationTime",
              "expirationTime"),
        table("Harvester_Workers", *WorkerSpec._attributes, "pilotStartTime", "pilotEndTime", "pilotStatus",
              "pilotNodeID text", "minRamCount", key="harvesterID, workerID"),
        table("Harvester_Rel_Jobs_Workers", "harvesterID", "workerID", "PandaID", "lastUpdate"),
        table("Harvester_Instances", "harvester_ID text", "owner", "hostName", "lastUpdate", "startTime", "sw_version",
              "commit_stamp", "description"),
        table("worker_node", "site", "host_name", "panda_queue", "cpu_model", "cpu_model_normalized", "n_logical_cpus",
              "n_sockets", "cores_per_socket", "threads_per_core", "cpu_architecture", "cpu_architecture_level",
              "clock_speed", "total_memory", "total_local_disk", "last_seen", key="site, host_name"),
        table("worker_node_queue", "site", "host_name", "panda_queue", "last_seen",
              key="site, host_name, panda_queue"),
        table("worker_node_gpus", "site", "host_name", "vendor", "model", "count", "vram", "architecture", "framework",
              "framework_version", "driver_version", "last_seen", key="site, host_name, vendor, model"),
        table("worker_node_map", "atlas_site", "worker_node", "cpu_type", "last_seen", "cores bigint",
              "architecture_level"),
        table("cpu_benchmarks", "cpu_type", "cpu_type_normalized", "smt_enabled", "sockets bigint",
              "cores_per_socket", "ncores bigint", "site", "score_per_core numeric", "timestamp timestamp", "source"),
        table("resource_types", "resource_name", "mincore", "maxcore", "minrampercore", "maxrampercore",
              key="resource_name"),
        table("global_shares", "name", "value", "parent", "prodsourcelabel", "workinggroup", "campaign",
              "processingtype", "vo", "queue_id", "throttled", "transpath", "rtype"),
        table("JEDI_Work_Queue", "queue_id", "queue_name", "queue_type", "VO", "status", "partitionID bigint",
              "stretchable bigint", "queue_share bigint", "queue_order bigint", "criteria", "variables",
              "queue_function"),
        table("JOBS_SHARE_STATS", "ts timestamp", "gshare", "computingsite", "jobstatus", "njobs", "hs bigint",
              "vo", "workqueue_id bigint", "resource_type"),
        table("config", "app", "component", "key", "value text", "value_json jsonb", "type", "vo", "descr"),
        table("retryactions", "retryaction_id bigint", "retry_action", "active", "retry_description"),
        table("retryerrors", "retryerror_id bigint", "errorsource", "errorcode bigint", "active", "retryaction bigint",
              "errordiag", "parameters text", "architecture", "release", "workqueue_id bigint", "description",
              "expiration_date timestamp"),
        table("error_classification", "id", "error_source", "error_code", "error_diag", "description", "error_class",
              "active", "reg_date timestamp"),
        table("users", "id bigint", "name", "dn", "email", "gridpref", "status", "njobs bigint", "njobsa bigint",
              "njobs1 bigint",
              "njobs7 bigint", "njobs30 bigint", "cpua1 numeric", "cpua7 numeric", "cpua30 numeric", "quotaa1 bigint",
              "quotaa7 bigint", "quotaa30 bigint", "cpup1 numeric",
              "cpup7 numeric", "cpup30 numeric", "lastmod timestamp", "firstjob", "latestjob", "pagecache",
              "cachetime", "ncurrent bigint", "jobid bigint", "vo", "jobsetID", schema="DOMA_PANDAMETA"),
        table("siteData", "site", "flag", "hours bigint", "getJob bigint", "updateJob bigint", "lastmod timestamp",
              "lastStart timestamp", schema="DOMA_PANDAMETA"),
        table("PANDALOG", "bintime timestamp", "name", "module", "type", "pid bigint", "loglevel bigint", "levelname",
              "time timestamp", "filename", "message varchar(4000)"),
        table("CARBON_REGION_EMISSIONS", "region", "timestamp timestamp", "value"),
        table("gridpref", "name", "parameter", schema="DOMA_PANDAMETA"),
        table("proxykey", "id", "dn", "credname", "created timestamp", "expires timestamp", "origin", "myproxy",
              schema="DOMA_PANDAMETA"),
    ]  # fmt: skip


SEQUENCES = (
    "JOBSDEFINED4_PANDAID_SEQ", "FILESTABLE4_ROW_ID_SEQ", "JEDI_DATASET_CONT_FILEID_SEQ", "JEDI_DATASETS_ID_SEQ",
    "DATASETS_VUID_SEQ", "SUBCOUNTER_SUBID_SEQ", "PRODSYS2_TASK_ID_SEQ",
)  # fmt: skip


def rows(queue: str, endpoint: str) -> list[str]:
    """One queue with one storage element, the resource types and one share."""
    facts = {
        "siteid": queue, "nickname": queue, "status": "online", "type": "unified", "cloud": "WORLD", "corecount": 4,
        "maxrss": 16000, "minrss": 0, "maxtime": 86400, "maxwdir": 20000, "corepower": 10, "resource_type": "GRID",
        "capability": "ucore", "workflow": "pull", "jobseed": "std", "vo_name": "testvo", "pledgedcpu": 0,
        "atlas_site": "SITE",
    }  # fmt: skip
    types = (("SCORE", 1, 1, 0, 2000), ("SCORE_HIMEM", 1, 1, 2001, "NULL"), ("MCORE", 2, "NULL", 0, 2000),
             ("MCORE_HIMEM", 2, "NULL", 2001, "NULL"))  # fmt: skip
    return [
        f"INSERT INTO DOMA_PANDA.schedconfig_json VALUES ('{queue}', '{json.dumps(facts)}', now());",
        f"INSERT INTO DOMA_PANDA.panda_site VALUES ('{queue}', 'SITE', '{endpoint}', 'SITE', 'Y');",
        "INSERT INTO DOMA_PANDA.site VALUES ('SITE', 'nucleus');",
        "INSERT INTO DOMA_PANDA.ddm_endpoint (ddm_endpoint_name, site_name, ddm_spacetoken_name, is_tape, type,"
        f" detailed_status) VALUES ('{endpoint}', 'SITE', 'DATADISK', 'N', 'DATADISK', '{{}}');",
        *(
            f"INSERT INTO DOMA_PANDA.panda_ddm_relation VALUES ('{queue}', '{endpoint}', '{role}', 'Y', 1, 1, 'Y', 'Y',"
            " 'default');"
            for role in ("read_lan", "write_lan")
        ),
        *(
            f"INSERT INTO DOMA_PANDA.resource_types VALUES ('{name}', {', '.join(map(str, numbers))});"
            for name, *numbers in types
        ),
        "INSERT INTO DOMA_PANDA.global_shares (name, value, queue_id) VALUES ('Test', 100, 9000);",
        # Who bears the test certificate, or the token, may have key pairs, proxies and token keys.
        "INSERT INTO DOMA_PANDAMETA.users (id, name, gridpref)"
        " VALUES (0, 'Test User', 'kpt'), (1, 'Pilot Of Tests', 'kpt');",
        "INSERT INTO DOMA_PANDAMETA.proxykey (id, dn, credname, expires)"
        " VALUES (0, 'pilot_server', 'key-of-the-pilot', now() + interval '2 days');",
    ]


def script(queue: str, endpoint: str) -> str:
    """Everything, in the order in which it is to be run."""
    parts = [f"CREATE SCHEMA {name};" for name in SCHEMAS]
    parts += [*of_jobs(), *of_tasks(), *of_sites()]
    parts += [f"CREATE SEQUENCE DOMA_PANDA.{name} START 1001;" for name in SEQUENCES]
    parts += [f"CREATE SEQUENCE {schema}.USERS_ID_SEQ;" for schema in ("DOMA_PANDAMETA",)]
    return "\n".join([*parts, *rows(queue, endpoint)])


if __name__ == "__main__":
    print(script(*sys.argv[1:]))
