import hashlib

import pytest

from pilot.core.errors import BadOutputFileName, FileExists, GetAdMismatch, NoStorage
from pilot.core.job import InputFile, JobDefinition, OutputFile
from pilot.core.storage import Access, StagingSite, Storage
from pilot.core.transfer import Checksum, Direction
from pilot.staging.paths import deterministic_path, url_under
from pilot.staging.plan import plan_stage_in, plan_stage_out

DISK = Storage(
    "SITE_DATADISK",
    site="SITE",
    accesses=(
        Access("root://door//data/", "read_lan"),
        Access("davs://door:443/data", "read_lan"),
        Access("davs://door:443/data", "write_lan"),
    ),
)


def job(*inputs: InputFile, outputs: tuple[OutputFile, ...] = (), log: OutputFile | None = None) -> JobDefinition:
    return JobDefinition(job_id=1, inputs=inputs, outputs=outputs, log=log)


def test_the_path_on_a_deterministic_storage_follows_from_scope_and_name() -> None:
    mark = hashlib.md5(b"user.someone:file.root").hexdigest()
    assert deterministic_path("user.someone", "file.root") == f"user/someone/{mark[:2]}/{mark[2:4]}/file.root"


def test_names_are_quoted_in_web_urls_and_left_alone_in_paths() -> None:
    assert url_under("davs://h/p", "a b#c") == "davs://h/p/a%20b%23c"
    assert url_under("/data/", "a b#c") == "/data/a b#c"
    assert url_under("root://h//p", "a b#c%") == "root://h//p/a b#c%"
    with pytest.raises(BadOutputFileName, match="question mark"):
        url_under("root://h//p", "a?b")


def test_an_input_comes_from_its_own_path_before_anything_else() -> None:
    (transfer,) = plan_stage_in(
        job(InputFile("a b", path="/somewhere/a b", size=3, checksum="ad:1")), "/work", StagingSite(input_dir="/in")
    )
    assert [place.url for place in transfer.sources] == ["file:///somewhere/a%20b"]
    assert [place.url for place in transfer.targets] == ["file:///work/a%20b"]
    assert transfer.direction is Direction.IN
    assert transfer.size == 3
    assert transfer.checksums == (Checksum("adler32", "00000001"),)


def test_an_input_comes_from_the_input_directory_else_from_its_storage_by_every_way() -> None:
    item = InputFile("f", scope="s", rse="SITE_DATADISK")
    (near,) = plan_stage_in(job(item), "/w", StagingSite(input_dir="/in", storages=(DISK,)))
    assert near.sources[0].url == "file:///in/f"
    (far,) = plan_stage_in(job(item), "/w", StagingSite(storages=(DISK,)))
    path = deterministic_path("s", "f")
    assert [place.url for place in far.sources] == [f"root://door//data/{path}", f"davs://door:443/data/{path}"]
    assert {place.rse for place in far.sources} == {"SITE_DATADISK"}


def test_the_same_input_twice_is_fetched_once() -> None:
    item = InputFile("f", path="/in/f")
    assert len(plan_stage_in(job(item, item), "/w", StagingSite())) == 1


def test_an_input_that_nothing_tells_of_is_refused() -> None:
    with pytest.raises(NoStorage, match="f"):
        plan_stage_in(job(InputFile("f", rse="ELSEWHERE")), "/w", StagingSite(storages=(DISK,)))


def test_bad_names_and_bad_checksums_are_refused_before_anything_moves() -> None:
    with pytest.raises(BadOutputFileName):
        plan_stage_in(job(InputFile("../../etc/passwd", path="/x")), "/w", StagingSite())
    with pytest.raises(GetAdMismatch):
        plan_stage_in(job(InputFile("f", path="/x", checksum="ad:123456789")), "/w", StagingSite())


def test_outputs_go_to_the_output_directory_with_the_log_last() -> None:
    log, first = OutputFile("log.tgz"), OutputFile("out.root", scope="s")
    definition = job(outputs=(first,), log=log)
    transfers = plan_stage_out(definition, (log, first), "/w", StagingSite(output_dir="/out"), {"log.tgz": "/tmp/l"})
    assert [t.lfn for t in transfers] == ["out.root", "log.tgz"]
    assert transfers[0].sources[0].url == "file:///w/out.root"
    assert transfers[1].sources[0].url == "file:///tmp/l"
    assert transfers[0].targets[0].url == "file:///out/out.root"
    assert [t.activity for t in transfers] == ["pw", "pl"]


def test_an_output_goes_to_the_storage_of_the_activity() -> None:
    item = OutputFile("o", scope="s", rse="OTHER")
    site = StagingSite(storages=(DISK,), astorages={"write_lan": ("SITE_DATADISK",)})
    (transfer,) = plan_stage_out(job(outputs=(item,)), (item,), "/w", site)
    assert transfer.targets[0].url == "davs://door:443/data/" + deterministic_path("s", "o")
    assert transfer.targets[0].rse == "SITE_DATADISK"


def test_two_outputs_with_one_name_are_refused() -> None:
    item = OutputFile("o")
    with pytest.raises(FileExists) as caught:
        plan_stage_out(job(outputs=(item, item)), (item, item), "/w", StagingSite(output_dir="/out"))
    assert caught.value.code == 1221


def test_an_output_without_storage_is_refused() -> None:
    with pytest.raises(NoStorage):
        plan_stage_out(job(), (OutputFile("o"),), "/w", StagingSite())
