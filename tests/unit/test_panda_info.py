"""Queue and storage records: how they are read and merged."""

from __future__ import annotations

from typing import Any

import pytest

from pilot.core.definition import parse
from pilot.core.errors import PandaQueueNotActive, PandaQueueNotOnline, QueuedataNotOk
from pilot.core.exitcodes import exit_code_of
from pilot.core.queue import QueueData
from pilot.info.read_queue import merge, pick, read_environ, read_flags, read_queue
from pilot.info.read_storage import read_storages, staging_site
from pilot.info.service import check_usable

RECORD: dict[str, Any] = {
    "nickname": "SITE_Q",
    "panda_resource": "SITE",
    "atlas_site": "TOWN",
    "state": "ACTIVE",
    "status": "online",
    "type": "unified",
    "corecount": "8",
    "maxrss": 16000,
    "maxwdir": 20000,
    "maxtime": 172800,
    "timefloor": 30,
    "copytools": {"rucio": {"setup": "/x/setup.sh"}, "gfal": None},
    "acopytools": {"pr": ["rucio"], "pw": ["rucio", "gfal"]},
    "acopytools_schemas": {"pr": ["root", "davs"], "pw": {"rucio": ["davs"], "gfal": ["srm", "davs"]}},
    "astorages": {"read_lan": ["A_DATADISK"], "write_lan": ["A_DATADISK", "B_DATADISK"]},
    "container_type": "apptainer:pilot;bash:middleware",
    "container_options": "-B /cvmfs",
    "environ": "A=1 export B='two words';C=3",
    "catchall": "HPC_HPC, nopenfiles=4,logging=logstash;http://h:1,remoteio_test=false",
    "direct_access_lan": True,
    "allow_wan": "True",
    "params": {
        "pilot_rss_grace": 50,
        "job_maxwalltime": "true",
        "allow_altstageout": False,
        "pilot_walltime_grace": 10,
    },
}


def test_a_record_is_read_under_plain_names_and_units() -> None:
    queue = read_queue(RECORD, "SITE_Q")
    assert (queue.name, queue.resource, queue.site, queue.cores) == ("SITE_Q", "SITE", "TOWN", 8)
    assert (queue.max_memory_mb, queue.max_time_s, queue.time_floor_s) == (16000, 172800, 1800)
    assert queue.containers == {"pilot": "apptainer", "middleware": "bash"}
    assert queue.environ == {"A": "1", "B": "two words", "C": "3"}
    assert queue.schemes == {"pr": ("root", "davs"), "pw": ("davs", "srm")}
    assert queue.tool_settings == {"rucio": {"setup": "/x/setup.sh"}, "gfal": {}}
    assert (queue.allow_wan, queue.direct_access_lan, queue.allow_alternative) == (True, True, False)
    assert (queue.memory_factor, queue.workdir_limit_mb) == (1.5, 24000)
    assert (queue.wall_limit_s(), queue.wall_limit_s(1000)) == (190080, 1100)
    assert queue.has("HPC_HPC") and not queue.has("remoteio_test") and queue.flags["nopenfiles"] == "4"


def test_a_queue_of_which_nothing_is_known_has_no_limits() -> None:
    queue = read_queue({}, "Q")
    assert (queue.name, queue.resource, queue.max_input_mb, queue.wall_limit_s()) == ("Q", "Q", -1, 0)
    assert check_usable(queue) == ""


def test_tools_without_activities_serve_all_of_them() -> None:
    assert read_queue({"copytools": {"mv": {"setup": ""}}}, "Q").copytools == {"default": ("mv",)}


def test_old_container_options_in_the_catch_all_count() -> None:
    queue = read_queue({"catchall": "x,singularity_options='-B /a,/b --nv', nopenfiles=2"}, "Q")
    assert queue.container_options == "-B /a,/b --nv"


def test_flags_and_variables_take_quotes() -> None:
    assert read_flags('a="x,y",b , c = d') == {"a": "x,y", "b": "true", "c": "d"}
    assert read_environ("") == {}


@pytest.mark.parametrize(
    ("change", "words"), [({"maxrss": "much"}, "maxrss"), ({"params": {"pilot_rss_grace": "x"}}, "pilot_rss_grace"),
                          ({"copytools": "mv"}, "copytools"), ({"allow_wan": "maybe"}, "allow_wan")]
)  # fmt: skip
def test_a_bad_value_is_named_and_ends_with_exit_code_72(change: dict[str, Any], words: str) -> None:
    with pytest.raises(QueuedataNotOk, match=words) as caught:
        read_queue({**RECORD, **change}, "SITE_Q")
    assert "SITE_Q" in str(caught.value) and exit_code_of(caught.value.code) == 72


DOCUMENTS = [RECORD, {"SITE_Q": RECORD, "OTHER": {}}, [{"nickname": "OTHER"}, RECORD]]


@pytest.mark.parametrize("document", DOCUMENTS)
def test_a_queue_is_found_in_every_form_of_document(document: Any) -> None:
    assert pick(document, "SITE_Q")["panda_resource"] == "SITE"


@pytest.mark.parametrize("document", [{"error": "busy"}, {"OTHER": {"x": 1}}, [], None, 3, "x"])
def test_a_document_without_the_queue_is_refused(document: Any) -> None:
    with pytest.raises(QueuedataNotOk):
        pick(document, "SITE_Q")


def test_the_main_record_wins_over_details_and_overlays_over_both() -> None:
    merged = merge(
        {"maxrss": 1, "maxtime": 5, "params": {"a": 1, "b": 1}},
        {"maxrss": 2, "maxtime": None, "params": {"b": 2}},
        {"maxrss": 3},
    )
    assert merged == {"maxrss": 3, "maxtime": 5, "params": {"a": 1, "b": 2}}


def test_a_queue_that_must_not_be_used_ends_the_pilot_with_its_code() -> None:
    for change, error, code in (
        ({"state": "DISABLED"}, PandaQueueNotActive, 78),
        ({"status": "offline"}, PandaQueueNotOnline, 83),
    ):
        with pytest.raises(error, match="SITE_Q") as caught:
            check_usable(read_queue({**RECORD, **change}, "SITE_Q"))
        assert exit_code_of(caught.value.code) == code
    assert check_usable(QueueData("Q", status="test")) == "test"
    assert check_usable(QueueData("Q", status="brokeroff")) == ""


STORAGES: dict[str, Any] = {
    "A_DATADISK": {
        "id": 1,
        "name": "A_DATADISK",
        "type": "DATADISK",
        "state": "ACTIVE",
        "site": "TOWN",
        "is_deterministic": True,
        "arprotocols": {
            "read_lan": [{"id": 7, "endpoint": "root://se:1094", "path": "/data/", "flavour": "XROOTD"}],
            "write_wan": [{"id": 8, "endpoint": "davs://se:443/", "path": "/data/"}],
        },
        "rprotocols": {"7": {"settings": {"access_key": "NAME", "is_secure": True}}},
        "resource": {"bucket_id": 99},
    },
    "T_TAPE": {"type": "DATATAPE", "arprotocols": {"r": [{"endpoint": "root://t", "path": "p"}]}},
    "OTHER": {"type": "DATADISK"},
}


def test_a_storage_is_read_with_its_ways() -> None:
    disk, tape = read_storages(STORAGES, frozenset({"A_DATADISK", "T_TAPE"}))
    assert [(a.prefix, a.activity) for a in disk.accesses] == [
        ("root://se:1094//data/", "read_lan"),
        ("davs://se:443/data/", "write_wan"),
    ]
    assert disk.accesses[0].settings == {"access_key": "NAME", "is_secure": "True"}
    assert (disk.bucket, disk.site, tape.tape, disk.tape) == ("99", "TOWN", True, False)
    assert tape.accesses[0].prefix == "root://t//p"


def test_a_job_may_change_single_keys_of_a_storage() -> None:
    (disk,) = read_storages(STORAGES, frozenset({"OTHER"}), {"OTHER": {"state": "DISABLED"}})
    assert disk.state == "DISABLED"


def test_storage_data_that_is_none_is_refused() -> None:
    for document in ({"error": "x"}, 3, None):
        with pytest.raises(QueuedataNotOk):
            read_storages(document)


def test_staging_gets_its_part() -> None:
    queue = read_queue(RECORD, "SITE_Q")
    site = staging_site(queue, read_storages(STORAGES, frozenset({"A_DATADISK"})))
    assert site.storages_for("write_lan") == ("A_DATADISK", "B_DATADISK")
    assert site.tools_for("pw") == ("rucio", "gfal") and site.storage("A_DATADISK") is not None


def test_a_jobs_overlay_reaches_the_queue() -> None:
    job = parse({"PandaID": 1, "jobPars": "--overwriteQueueData={'maxtime': 60}"})
    assert read_queue(merge(RECORD, {}, job.queue_overlay), "Q").max_time_s == 60
