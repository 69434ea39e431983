"""Inputs that a whole job reads where they lie instead of having them copied, and when they are copied after all."""

from __future__ import annotations

from pathlib import Path

from tests.farm import DATA, Farm


def test_an_input_is_read_where_it_lies_and_archives_are_copied(tmp_path: Path) -> None:
    farm = Farm(tmp_path, direct_access_lan=True)
    data, package = farm.store("AOD.root"), farm.store("code.tar.gz")
    files = farm.run("-c 'cat AOD.root > o.txt; ls > seen; test -e code.tar.gz'", "AOD.root", "code.tar.gz")
    assert farm.outcome == "finished", farm.log
    assert files["AOD.root"] == ("remote_io", f"file://{data}")
    assert files["code.tar.gz"][0] == "transferred" and package.exists()
    assert not (farm.directory / "AOD.root").exists(), "nothing was copied"
    assert (farm.directory / "o.txt").read_bytes() == DATA, "the payload was given the place instead of the name"
    assert farm.catalogue() == {"GUID-0": str(data), "GUID-1": str(farm.directory / "code.tar.gz")}


def test_what_the_queue_or_the_job_does_not_allow_is_copied(tmp_path: Path) -> None:
    for number, (queue, job) in enumerate(
        [({}, {}), ({"direct_access_lan": True}, {"transferType": ""}), ({"direct_access_wan": True}, {})]
    ):
        (tmp_path / str(number)).mkdir()
        farm = Farm(tmp_path / str(number), **queue)
        farm.store("AOD.root")
        files = farm.run("-c 'cat AOD.root > o.txt'", "AOD.root", **job)
        assert farm.outcome == "finished", farm.log
        assert files["AOD.root"] == ("transferred", f"file://{farm.directory}/AOD.root")
        assert (farm.directory / "o.txt").read_bytes() == DATA


def test_a_user_may_ask_for_a_copy_in_the_parameters(tmp_path: Path) -> None:
    farm = Farm(tmp_path, direct_access_lan=True)
    farm.store("AOD.root")
    assert farm.run("-c 'cat AOD.root > o.txt' --accessmode=copy", "AOD.root")["AOD.root"][0] == "transferred"


def test_what_cannot_be_opened_where_it_lies_is_tried_as_a_copy_and_told(tmp_path: Path) -> None:
    farm = Farm(tmp_path, direct_access_lan=True)
    files = farm.run("-c true", "AOD.root")
    assert farm.outcome == "failed"
    assert files["AOD.root"][0] == "failed"
    codes = [code for lfn, _, _, code in farm.attempts if lfn == "AOD.root"]
    assert codes == [1361, 1331], "a look at the place, then a copy"


def test_a_payload_in_a_container_reads_this_machine_s_files_in_place_where_they_can_be_bound(tmp_path: Path) -> None:
    options = ["--container", "dummy", "--container-image", "any"]
    for name, state in (("plain", "remote_io"), ("odd:name", "transferred")):
        (tmp_path / name).mkdir()
        farm = Farm(tmp_path / name, direct_access_lan=True)
        farm.store("AOD.root")
        files = farm.run("-c 'cat AOD.root > o.txt'", "AOD.root", options=options)
        assert farm.outcome == "finished", farm.log
        assert files["AOD.root"][0] == state


def test_a_file_below_a_directory_with_a_blank_in_its_name_is_copied(tmp_path: Path) -> None:
    (tmp_path / "two words").mkdir()
    farm = Farm(tmp_path / "two words", direct_access_lan=True)
    farm.store("AOD.root")
    files = farm.run("-c 'cat AOD.root > o.txt'", "AOD.root")
    assert farm.outcome == "finished", farm.log
    assert files["AOD.root"][0] == "transferred"
