"""Outputs of two jobs with one name, also where the second job comes to another pilot in the same work directory."""

from __future__ import annotations

from tests.pilots import Site, assert_reported_once


def test_the_next_pilot_knows_which_outputs_are_another_job_s(site: Site) -> None:
    first = site.shell("echo first > same.txt", outputs=("same.txt",))
    assert site.run("--jobs", "1") == 0, site.log()
    second = site.shell("echo second > same.txt", outputs=("same.txt",))
    assert site.run("--jobs", "1") == 0, site.log()
    assert (site.outputs / "same.txt").read_text() == "first\n"
    assert (site.outputs / str(second) / "same.txt").read_text() == "second\n"
    assert assert_reported_once(site, first, "finished")["report"]["same.txt"]["surl"].endswith("/outputs/same.txt")
    assert assert_reported_once(site, second, "finished")["report"]["same.txt"]["surl"].endswith(f"/{second}/same.txt")


def test_a_log_of_that_name_is_nobody_s(site: Site) -> None:
    for _ in range(2):
        number = site.shell("true")
        assert site.run("--jobs", "1") == 0, site.log()
        assert assert_reported_once(site, number, "finished")["report"]["job.0.log.tgz"]["surl"].endswith(
            "/outputs/job.0.log.tgz"
        )
