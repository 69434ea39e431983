import msgspec
import pytest

from pilot.core.errors import NoReplicas
from pilot.core.job import InputFile, JobDefinition, OutputFile
from pilot.core.plan import Places
from pilot.core.storage import Access, StagingSite, Storage
from pilot.core.transfer import Attempt, Checksum, Direction, Endpoint, Transfer
from pilot.runtime.remote_inputs import with_turls
from pilot.staging.plan import plan_alternative, plan_stage_in, plan_stage_out
from pilot.staging.replicas import Replica, Resolved, order_replicas, reads_in_place, resolved
from pilot.staging.sitemap import OutputClass, input_places, output_places, parse_map, staging_sites
from pilot.staging.trace import Tracer, trace_of

NEAR = StagingSite(name="HERE", astorages={"read_lan": ("HERE_DISK", "HERE_SCRATCH")}, allow_wan=True)
REPLICAS = (
    Replica("davs://far/a", "FAR_DISK", priority=1),
    Replica("root://far//a", "FAR_DISK", priority=2),
    Replica("gsiftp://here/a", "HERE_SCRATCH", priority=3),
    Replica("root://here//a", "HERE_DISK", priority=4),
    Replica("davs://here/a", "HERE_DISK", priority=5),
    Replica("root://tape//a", "HERE_DISK", kind="TAPE"),
    Replica("magnet://x", "HERE_DISK"),
)


def urls(found: Places | tuple[Endpoint, ...]) -> list[str]:
    places = found.taken if isinstance(found, Places) else found
    ordered = sorted(places, key=lambda place: -place.priority)
    assert list(places) == ordered, "the order is also that of the priorities"
    return [place.url for place in places]


def test_near_replicas_come_first_in_the_queue_s_order_then_far_ones_by_scheme() -> None:
    assert urls(order_replicas(REPLICAS, NEAR)) == [
        "root://here//a",
        "davs://here/a",
        "gsiftp://here/a",
        "root://far//a",
        "davs://far/a",
    ]


def test_a_queue_may_forbid_far_replicas_and_schemes() -> None:
    near_only = StagingSite(astorages=NEAR.astorages, allow_wan=False)
    assert all("far" not in url for url in urls(order_replicas(REPLICAS, near_only)))
    only_davs = StagingSite(astorages=NEAR.astorages, allow_wan=True, schemes={"pr": ("davs",)})
    assert urls(order_replicas(REPLICAS, only_davs)) == ["davs://here/a", "davs://far/a"]


def test_between_equals_the_faster_host_wins() -> None:
    two = (Replica("root://slow//a", "X", priority=1), Replica("root://fast//a", "Y", priority=2))
    assert urls(order_replicas(two, StagingSite()))[0] == "root://slow//a"
    assert urls(order_replicas(two, StagingSite(), speeds={"fast": 1e8, "slow": 1e6}))[0] == "root://fast//a"


def test_reading_in_place_needs_the_queue_s_leave_and_a_fitting_name() -> None:
    site = StagingSite(astorages=NEAR.astorages, direct_access_lan=True)
    assert urls(order_replicas(REPLICAS, site, in_place=True)) == ["root://here//a"]
    direct = JobDefinition(job_id=1, direct_access=True)
    assert reads_in_place(direct, InputFile("AOD.root"), site)
    for name in ("x.tar.gz", "user.lib.tgz", "data.raw.1", "RAW.dat"):
        assert not reads_in_place(direct, InputFile(name), site)
    assert not reads_in_place(direct, InputFile("a", token="local"), site)
    assert not reads_in_place(direct, InputFile("a"), StagingSite())
    assert not reads_in_place(JobDefinition(job_id=1), InputFile("a"), site)
    assert reads_in_place(JobDefinition(job_id=1, access_mode="direct"), InputFile("a"), site)


def test_what_the_catalogue_tells_fills_what_the_job_does_not() -> None:
    told = resolved(
        {
            "size": 7,
            "sums": {"adler32": "1A"},
            "places": [{"pfn": "root://here//a", "rse": "HERE_DISK", "type": "DISK"}],
        }
    )
    definition = JobDefinition(job_id=1, inputs=(InputFile("a", scope="s"),))
    (transfer,) = plan_stage_in(definition, "/w", NEAR, {"s:a": told})
    assert transfer.size == 7
    assert transfer.checksums == (Checksum("adler32", "0000001a"),)
    assert urls(transfer.sources) == ["root://here//a"]
    with pytest.raises(NoReplicas):
        plan_stage_in(definition, "/w", NEAR, {"s:a": Resolved((Replica("root://t//a", "HERE_DISK", kind="TAPE"),))})


def test_the_next_storage_of_the_ring_takes_what_the_first_did_not() -> None:
    def disk(name: str) -> Storage:
        return Storage(name, accesses=(Access(f"root://{name.lower()}//data/"),))

    site = StagingSite(
        storages=(disk("A"), disk("B"), disk("C")), astorages={"write_lan": ("A", "B", "C")}, allow_alternative=True
    )
    item = OutputFile("o", scope="s", rse="A")
    definition = JobDefinition(job_id=1, outputs=(item,), nucleus="B")
    sent = plan_stage_out(definition, (item,), "/w", site)
    assert sent[0].targets[0].rse == "A"
    assert [t.targets[0].rse for t in plan_alternative(sent, definition, site, "A")] == ["C"]
    assert [t.targets[0].rse for t in plan_alternative(sent, definition, site, "C")] == ["A"]
    forbidden = StagingSite(storages=site.storages, astorages=site.astorages, allow_alternative=False)
    assert plan_alternative(sent, definition, forbidden, "A") == ()
    undecided = StagingSite(storages=site.storages, astorages=site.astorages)
    assert plan_alternative(sent, definition, undecided, "A") == ()
    asked = JobDefinition(job_id=1, outputs=(item,), alt_stageout=True)
    assert [t.targets[0].rse for t in plan_alternative(sent, asked, undecided, "A")] == ["B"]


def test_the_staging_map_is_read_exactly_as_it_is_written() -> None:
    site_map = parse_map("nebraska=firefly_srm,osg=firefly_srm,*=local")
    assert site_map == (("nebraska", ("firefly_srm",)), ("osg", ("firefly_srm",)), ("*", ("local",)))
    assert staging_sites(site_map, "nebraska") == ("firefly_srm",)
    assert staging_sites(site_map, "elsewhere") == ("local",)
    assert staging_sites(parse_map("a=b"), "c") == ()
    assert staging_sites(parse_map("everything"), "c") == ("everything",)


def test_the_staging_map_knows_patterns_and_falls_back_in_order() -> None:
    site_map = parse_map(" *=last , osg-*=near|far, osg-1 = own, osg-1=second")
    assert staging_sites(site_map, "osg-1") == ("own", "second")
    assert staging_sites(site_map, "osg-2") == ("near", "far")
    assert staging_sites(site_map, "x") == ("last",)


@pytest.mark.parametrize("text", ["a=b,c", "=b", "a=", "a=b=c", "a=b|"])
def test_a_bad_entry_of_the_staging_map_is_named(text: str) -> None:
    with pytest.raises(ValueError, match="is not compute=staging"):
        parse_map(text)


def test_the_four_classes_of_outputs_go_to_their_places() -> None:
    staging, final = Endpoint("root://staging//o"), Endpoint("root://final//o")

    def places(kind: OutputClass, transfer: bool) -> tuple[Endpoint, ...]:
        return output_places(kind, transfer, staging, final)

    assert places(OutputClass.PURE, True) == (final,)
    assert places(OutputClass.PURE, False) == (staging,)
    assert places(OutputClass.INTERMEDIATE, True) == (staging, final)
    assert places(OutputClass.INTERMEDIATE, False) == (staging,)


def test_inputs_pass_the_staging_site_by_only_when_told() -> None:
    staging, own = (Endpoint("root://staging//i"),), (Endpoint("root://origin//i"),)
    assert input_places(staging, own, bypass=True) == (*own, *staging)
    assert input_places(staging, own, bypass=False) == (*staging, *own)


FIELDS = """
eventType eventVersion protocol clientState localSite remoteSite timeStart catStart relativeStart transferStart
validateStart timeEnd dataset scope version duid filename guid filesize usr appid hostname ip suspicious usrdn url
stateReason uuid taskid pq
"""


def test_a_trace_has_all_fields_and_no_secret() -> None:
    attempt = Attempt("f", Direction.IN, "http", "https://u:pw@h/f?token=abc", "/w/f", 100.0, 2.0, 10, 0.5, "A")
    transfer = Transfer("f", (), (), Direction.IN, scope="s", guid="1-2-3", dataset="ds")
    trace = trace_of(Tracer("pilot+none", user_dn="/CN=me", job_id=5), attempt, transfer)
    assert trace is not None
    assert sorted(trace) == sorted(FIELDS.split())
    assert trace["eventType"] == "get_sm" and trace["clientState"] == "DONE"
    assert trace["guid"] == "123" and trace["timeEnd"] == 102.0 and trace["validateStart"] == 101.5
    assert "pw" not in trace["url"] and "abc" not in trace["url"]


def test_a_file_that_is_read_in_place_is_traced_as_found() -> None:
    from pilot.core.errors import RemoteFileCouldNotBeOpened

    attempt = Attempt("f", Direction.IN, "xrootd", "root://h//f", "root://h//f", 1.0, 1.0, rse="A", in_place=True)
    lost = msgspec.structs.replace(attempt, failure=RemoteFileCouldNotBeOpened("x").failure())
    traces = [trace_of(Tracer("p"), tried, Transfer("f", (), ())) for tried in (attempt, lost)]
    assert [trace and trace["clientState"] for trace in traces] == ["FOUND_ROOT", "FAILED_REMOTE_OPEN"]


def test_a_failed_upload_of_a_user_is_told_as_such() -> None:
    from pilot.core.errors import PutAdMismatch

    failure = PutAdMismatch("x").failure()
    attempt = Attempt("f", Direction.OUT, "rucio", "/w/f", "rucio://A/s:f", 1.0, 1.0, rse="A", failure=failure)
    trace = trace_of(Tracer("p", user_job=True), attempt, Transfer("f", (), (), Direction.OUT))
    assert trace and (trace["eventType"], trace["clientState"]) == ("put_sm_a", "AD_MISMATCH")


def test_a_trace_without_a_storage_is_not_sent() -> None:
    attempt = Attempt("f", Direction.IN, "copy", "/a", "/b", 1.0, 1.0)
    assert trace_of(Tracer("p"), attempt, Transfer("f", (), ())) is None


def test_names_are_replaced_by_urls_where_they_are_words_of_their_own() -> None:
    job = JobDefinition(
        job_id=1,
        parameters="--in=a.root,a.root.1 -x my-a.root 'b.root' s/a.root",
        write_to_file=(("list", ("a.root", "c")),),
        inputs=(InputFile("a.root", guid="G"),),
    )
    made = with_turls(job, {"a.root": "root://h//a.root", "b.root": "file:///d/b.root"}, "--guids [@guids@]")
    assert made.parameters == "--in=root://h//a.root,a.root.1 -x my-a.root '/d/b.root' s/a.root"
    assert made.write_to_file == (("list", ("root://h//a.root", "c")),)
    user = msgspec.structs.replace(job, transformation="https://h/run", parameters="a.root")
    assert with_turls(user, {"a.root": "root://h//a.root"}, "--guids @guids@").parameters == "a.root --guids ['G']"
    assert with_turls(job, {}) is job
