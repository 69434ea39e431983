"""Where files may come from and go to by queue data of every form: full, sparse, odd and wrong."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from pilot.core.errors import InputsTooLarge, NoLocalSpace, NonDeterministicStorage, NoReplicas, NoStorage
from pilot.core.job import InputFile, JobDefinition, OutputFile
from pilot.core.storage import StagingSite
from pilot.core.transfer import Direction, Endpoint, Transfer
from pilot.info.read_queue import read_queue
from pilot.info.read_storage import read_storages, staging_site
from pilot.staging.inplace import plan_in_place
from pilot.staging.paths import deterministic_path
from pilot.staging.places import places_of_input, places_of_output
from pilot.staging.plan import plan_alternative, plan_stage_in, plan_stage_out, read_tools, write_tools
from pilot.staging.replicas import Replica, Resolved, order_replicas
from pilot.staging.room import check_room
from pilot.staging.toolbox import Toolbox
from tests.copytools.making import transferer

PATH = deterministic_path("s", "f")


def storage(name: str, **arprotocols: Any) -> dict[str, Any]:
    ways = {activity: [{"id": 1, "endpoint": e, "path": "/p"} for e in ends] for activity, ends in arprotocols.items()}
    return {"name": name, "site": name.partition("_")[0], "arprotocols": ways}


STORAGES = {
    "A_DISK": storage("A_DISK", read_lan=["root://a"], read_wan=["root://a-far"], write_lan=["srm://a", "davs://a"]),
    "B_DISK": storage("B_DISK", read_lan=["root://b"], read_wan=["davs://b-far"], write_wan=["davs://b"]),
    "C_TAPE": {**storage("C_TAPE", read_lan=["root://c"], write_lan=["root://c"]), "is_deterministic": False},
    "EMPTY": {"name": "EMPTY", "arprotocols": []},
    "OLD": storage("OLD", w=["davs://old-w"], r=["root://old-r"]),
}


def site_of(**record: Any) -> StagingSite:
    return staging_site(read_queue({"nickname": "Q", **record}, "Q"), read_storages(STORAGES))


def urls(places: tuple[Endpoint, ...]) -> list[str]:
    return [place.url.removesuffix(PATH) for place in places]


@pytest.mark.parametrize("nothing", [None, {}, [], "", {"read_lan": []}, {"read_lan": None}, {"read_lan": ""}])
def test_without_a_list_the_job_s_own_storage_is_near(nothing: Any) -> None:
    site, item = site_of(astorages=nothing, direct_access_lan=True), InputFile("f", "s", rse="A_DISK")
    assert urls(places_of_input(item, "f", site).taken) == ["root://a//p/"]
    here, there = Replica("root://a//x", "A_DISK"), Replica("root://far//x", "FAR")
    assert [p.url for p in order_replicas((there, here), site, item=item).taken] == ["root://a//x", "root://far//x"]
    direct = JobDefinition(job_id=1, direct_access=True, inputs=(item,))
    planned = plan_in_place(direct, site, {}, {"s:f": Resolved((there, here))})
    assert [p.url for p in planned["f"]] == ["root://a//x"]


def test_the_queue_s_list_goes_before_a_far_storage_of_the_job_and_after_a_near_one() -> None:
    site = site_of(astorages={"read_lan": ["A_DISK", "OLD"]})
    assert urls(places_of_input(InputFile("f", "s", rse="B_DISK"), "f", site).taken) == [
        "root://a//p/",
        "root://old-r//p/",
        "davs://b-far/p/",
    ]
    assert urls(places_of_input(InputFile("f", "s", rse="OLD"), "f", site).taken)[0] == "root://old-r//p/"


def test_storages_that_cannot_serve_are_passed_over_each_with_its_reason() -> None:
    site = site_of(astorages={"read_lan": ["UNHEARD_OF", "C_TAPE", "EMPTY", "A_DISK"]})
    found = places_of_input(InputFile("f", "s"), "f", site)
    assert urls(found.taken) == ["root://a//p/"]
    assert [(left.rse, left.why.split(":")[0]) for left in found.left_out] == [
        ("UNHEARD_OF", "nothing is known of this storage"),
        ("C_TAPE", "not deterministic"),
        ("EMPTY", "it has no protocol"),
    ]
    with pytest.raises(NoStorage, match="UNHEARD_OF"):
        plan_stage_in(JobDefinition(job_id=1, inputs=(InputFile("f", "s", rse="UNHEARD_OF"),)), "/w", site_of())


def test_a_path_that_no_rule_tells_has_an_error_of_its_own_both_ways() -> None:
    site = site_of(astorages={"read_lan": ["C_TAPE"], "write_lan": ["C_TAPE"]})
    with pytest.raises(NonDeterministicStorage, match="C_TAPE"):
        plan_stage_in(JobDefinition(job_id=1, inputs=(InputFile("f", "s"),)), "/w", site)
    with pytest.raises(NonDeterministicStorage, match="C_TAPE"):
        plan_stage_out(JobDefinition(job_id=1), (OutputFile("f", "s"),), "/w", site)


@pytest.mark.parametrize(
    "schemes", [{"pr": ["davs"]}, {"read_lan": "DAVS://"}, {"default": {"gfal": "davs", "x": None}}]
)
def test_the_queue_s_schemes_hold_for_paths_by_rule_as_well(schemes: Any) -> None:
    site = site_of(acopytools_schemas=schemes, astorages={"read_lan": ["A_DISK"]})
    found = places_of_input(InputFile("f", "s", rse="B_DISK"), "f", site)
    assert urls(found.taken) == ["davs://b-far/p/"]
    assert [(left.rse, left.why) for left in found.left_out] == [("A_DISK", "the queue's schemes are davs")]


def test_an_output_goes_by_the_first_protocol_that_the_queue_s_schemes_and_tools_reach() -> None:
    item, toolbox = OutputFile("f", "s", rse="A_DISK"), transferer().toolbox
    lists = {"write_lan": ["A_DISK"]}
    for record in ({"acopytools_schemas": {"pw": ["davs"]}}, {"acopytools": {"pw": ["http"]}}):
        site = site_of(astorages=lists, **record)
        (sent,) = plan_stage_out(JobDefinition(job_id=1), (item,), "/w", site, movable=toolbox.sends)
        assert urls(sent.targets) == ["davs://a/p/"], record
    by_any = plan_stage_out(JobDefinition(job_id=1), (item,), "/w", site_of(astorages=lists), movable=toolbox.sends)
    assert urls(by_any[0].targets) == ["srm://a/p/"]
    nobody = site_of(astorages=lists, acopytools={"pw": ["symlink"]})
    (sent,) = plan_stage_out(JobDefinition(job_id=1), (item,), "/w", nobody, movable=toolbox.sends)
    assert urls(sent.targets) == ["srm://a/p/"], "the transfer tells why"


def test_an_output_is_never_written_by_a_protocol_for_reading() -> None:
    site = site_of(astorages={"w": ["OLD"]})
    assert urls(places_of_output(OutputFile("f", "s"), site, ("write_lan", "w")).taken) == ["davs://old-w/p/"]


def test_an_output_s_storage_that_nobody_knows_gives_way_to_the_next_of_the_list() -> None:
    site = site_of(astorages={"write_lan": ["UNHEARD_OF", "B_DISK", "A_DISK"]})
    for rse in ("UNHEARD_OF", "ELSEWHERE", ""):
        found = places_of_output(OutputFile("f", "s", rse=rse), site, ("write_lan",))
        assert found.taken[0].rse == "B_DISK", rse
    assert places_of_output(OutputFile("f", "s", rse="A_DISK"), site, ("write_lan",)).taken[0].rse == "A_DISK"
    assert places_of_output(OutputFile("f", "s", rse="OLD"), site_of(), ("write_lan",)).taken[0].rse == "OLD"


def test_the_log_has_second_choices_after_those_of_its_own_list() -> None:
    lists = {"pl": ["OLD"], "write_lan": ["A_DISK", "B_DISK"]}
    site = site_of(astorages=lists, params={"allow_altstageout": True})
    job = JobDefinition(job_id=1, log=OutputFile("f", "s"))
    sent = plan_stage_out(job, (OutputFile("f", "s"),), "/w", site)
    assert sent[0].targets[0].rse == "OLD"
    assert plan_alternative(sent, job, site, "OLD")[0].targets[0].rse == "A_DISK"


@pytest.mark.parametrize("nucleus", ["B_DISK", "B"])
def test_a_nucleus_is_passed_over_by_the_name_of_its_storage_or_of_its_site(nucleus: str) -> None:
    site = site_of(astorages={"write_lan": ["A_DISK", "B_DISK", "OLD"]}, params={"allow_altstageout": True})
    job = JobDefinition(job_id=1, nucleus=nucleus, outputs=(OutputFile("f", "s"),))
    sent = plan_stage_out(job, job.outputs, "/w", site)
    assert plan_alternative(sent, job, site, "A_DISK")[0].targets[0].rse == "OLD"
    first = plan_stage_out(job, (OutputFile("f", "s", rse="B_DISK"),), "/w", site)
    assert plan_alternative(first, job, site, "B_DISK")[0].targets[0].rse == "OLD"


def test_libraries_come_from_far_where_the_queue_lets_them() -> None:
    far = (Replica("root://far//x", "FAR"),)
    for catchall, name, comes in (("", "u.lib.tgz", False), ("allow_wan_for_lib", "u.lib.tgz", True),
                                  ("allow_wan_for_lib", "u.root", False)):  # fmt: skip
        site = site_of(astorages={"read_lan": ["A_DISK"]}, catchall=catchall)
        assert bool(order_replicas(far, site, item=InputFile(name)).taken) is comes


def test_why_no_replica_may_be_used_is_told() -> None:
    site = site_of(astorages={"read_lan": ["A_DISK"]}, allow_lan=False)
    known = Resolved(
        (Replica("root://far//x", "FAR"), Replica("root://a//x", "A_DISK"), Replica("root://t//x", "T", "TAPE"))
    )
    with pytest.raises(NoReplicas, match="allow_wan; near, and the queue's allow_lan is false; on tape"):
        plan_stage_in(JobDefinition(job_id=1, inputs=(InputFile("f", "s"),)), "/w", site, {"s:f": known})


@pytest.mark.parametrize(
    ("record", "reads", "writes", "logs"),
    [
        ({"copytools": {"lsm": {"setup": ""}, "gfal": None}}, ("lsm", "gfal"), ("lsm", "gfal"), ("lsm", "gfal")),
        ({"copytools": ["xrdcp"]}, ("xrdcp",), ("xrdcp",), ("xrdcp",)),
        ({"copytools": [], "acopytools": []}, (), (), ()),
        ({"copytools": {"gfal": {}}, "acopytools": {"pr": ["rucio"]}}, ("rucio",), ("gfal",), ("gfal",)),
        ({"acopytools": {"pr": "rucio,gfal", "pw": ["gfal"], "pl": []}}, ("rucio", "gfal"), ("gfal",), ("gfal",)),
        ({"acopytools": {"read_lan": ["gfal"], "write_lan": ["lsm"], "pl": ["http"]}}, ("gfal",), ("lsm",), ("http",)),
        ({"acopytools": {"default": ["gfal", None, "gfal"]}}, ("gfal",), ("gfal",), ("gfal",)),
        ({"copytools": {"mv": {"setup": ""}}}, ("symlink",), ("move",), ("move",)),
    ],
)  # fmt: skip
def test_tools_by_activity(record: dict[str, Any], reads: Any, writes: Any, logs: Any) -> None:
    site, job = site_of(**record), JobDefinition(job_id=1)
    assert (read_tools(job, site), write_tools(job, site, False), write_tools(job, site, True)) == (reads, writes, logs)


def test_users_on_unified_queues_have_tools_of_their_own_where_the_queue_says_so() -> None:
    site = site_of(type="unified", acopytools={"read_lan_analysis": ["gfal"], "pr": ["rucio"]})
    assert read_tools(JobDefinition(job_id=1, label="user"), site) == ("gfal",)
    assert read_tools(JobDefinition(job_id=1, label="managed"), site) == ("rucio",)


def test_a_tool_that_nobody_knows_gives_way_to_the_next_one() -> None:
    toolbox: Toolbox = transferer().toolbox
    assert toolbox.name_for("root://h//f", "/f", "unheard-of xrdcp") == "xrootd"


def transfer(size: int, source: str = "root://h//f", tool: str = "xrdcp") -> Transfer:
    return Transfer("f", (Endpoint(source),), (Endpoint("/w/f"),), Direction.IN, size=size, copytool=tool)


@pytest.mark.parametrize(
    ("record", "limit"),
    [({}, -1), ({"maxinputsize": -1, "maxwdir": 5}, -1), ({"maxinputsize": 10}, 10), ({"maxinputsize": "NULL"}, -1),
     ({"maxinputsize": 10, "maxwdir": "5"}, 5), ({"maxinputsize": 0, "maxwdir": 5}, 5), ({"maxinputsize": 0}, 0)],
)  # fmt: skip
def test_inputs_are_bounded_by_the_queue_and_by_its_work_directories(record: dict[str, Any], limit: int) -> None:
    assert site_of(**record).max_input_mb == limit


def test_inputs_that_are_too_large_together_or_for_the_disk_are_refused(tmp_path: Path) -> None:
    mb = 1 << 20
    check_room([transfer(5 * mb), transfer(5 * mb)], StagingSite(max_input_mb=10), str(tmp_path))
    with pytest.raises(InputsTooLarge, match="10 MB"):
        check_room([transfer(5 * mb), transfer(5 * mb + 1)], StagingSite(max_input_mb=10), str(tmp_path))
    check_room([transfer(50 * mb, "file:///d/f", "symlink")], StagingSite(max_input_mb=10), str(tmp_path))
    with pytest.raises(NoLocalSpace):
        check_room([transfer(1 << 60)], StagingSite(max_input_mb=0), str(tmp_path))
    check_room([transfer(1 << 60)], StagingSite(max_input_mb=-1), str(tmp_path))
