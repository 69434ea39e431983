"""Which container a job is to have."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from pilot.core.command import Bind, Launcher
from pilot.core.errors import QueueNotSetUpForContainers
from pilot.core.job import JobDefinition
from pilot.core.queue import QueueData
from pilot.runtime.containment import ANY_RUNTIME, Rules, Wanted, read_options, rules_of, wanted

RULES = Rules(image="/images/{runtime}/{arch}-{os}.img", binds=("/cvmfs",), inside="/srv")
QUEUE = QueueData("Q", containers={"pilot": "apptainer"}, container_options="-B /data,/in:/input:ro --contain")
PLATFORM = "x86_64-el9-gcc13-opt"


def job(**more: object) -> JobDefinition:
    return JobDefinition(1, **more)  # type: ignore[arg-type]


def test_an_image_in_the_job_means_a_container() -> None:
    assert wanted(job(image="docker://demo:1"), QUEUE, RULES, "/w") == Wanted(
        "apptainer",
        "docker://demo:1",
        options=("--contain",),
        binds=(Bind("/cvmfs"), Bind("/data", writable=True), Bind("/in", "/input"), Bind("/w", writable=True)),
        inside="/srv",
    )
    assert wanted(job(image="x"), QueueData("Q"), Rules(), "/w") == Wanted("", "x")


def test_a_platform_means_one_only_where_the_queue_has_a_runtime_for_payloads() -> None:
    found = wanted(job(platform=PLATFORM), QUEUE, RULES, "/w")
    assert found is not None and found.image == "/images/apptainer/x86_64-el9.img"
    assert wanted(job(platform=PLATFORM), QueueData("Q", containers={"middleware": "apptainer"}), RULES, "/w") is None
    assert wanted(job(platform=PLATFORM), QUEUE, Rules(), "/w") is None
    assert wanted(job(), QUEUE, RULES, "/w") is None


def test_a_platform_of_the_users_own_is_behind_the_at_sign() -> None:
    found = wanted(job(platform=PLATFORM, user_platform="centos7"), QUEUE, RULES, "/w")
    assert found is not None and found.image == "centos7"


def test_a_transform_that_starts_its_own_container_is_left_alone() -> None:
    assert wanted(job(image="x", transformation="https://host/trf/runcontainer-02"), QUEUE, RULES, "/w") is None


def test_a_users_own_arguments_come_last() -> None:
    asked = job(image="x", container_options={"execArgs": "--nv -B /more"})
    found = wanted(asked, QUEUE, RULES, "/w")
    assert found is not None
    assert (found.options, found.arguments) == (("--contain",), ("--nv",))
    assert found.binds[-1] == Bind("/more", writable=True)
    found = wanted(asked, QUEUE, Rules(launcher=Launcher("start @image@")), "/w")
    assert found is not None and found.arguments == ("--nv", "-B", "/more")


def test_options_that_never_end_are_refused() -> None:
    with pytest.raises(QueueNotSetUpForContainers, match="No closing quotation"):
        wanted(job(image="x"), QueueData("Q", container_options="--env 'A=b"), RULES, "/w")


def test_a_payload_that_works_through_events_has_a_container_for_an_image_alone() -> None:
    assert wanted(job(platform=PLATFORM, event_service=True), QUEUE, RULES, "/w") is None
    assert wanted(job(platform=PLATFORM, event_service=True, image="x"), QUEUE, RULES, "/w") is not None
    assert wanted(job(platform=PLATFORM, event_service=True, event_merge=True), QUEUE, RULES, "/w") is not None


def test_a_queue_of_this_machines_own_has_no_container_for_a_platform() -> None:
    own = QueueData("local", containers={"pilot": ANY_RUNTIME})
    assert wanted(job(platform=PLATFORM), own, RULES, "/w") is None
    found = wanted(job(image="x"), own, RULES, "/w")
    assert found is not None and found.runtime == ANY_RUNTIME


def test_an_experiments_launcher_takes_the_platform_as_it_is() -> None:
    rules = Rules(launcher=Launcher("start @image@"))
    found = wanted(job(platform=PLATFORM), QUEUE, rules, "/w")
    assert found is not None and (found.runtime, found.image) == ("launcher", PLATFORM)
    podman = QueueData("Q", containers={"pilot": "podman"})
    found = wanted(job(image="x"), podman, rules, "/w")
    assert found is not None and (found.runtime, found.launcher) == ("podman", None)


@pytest.mark.parametrize(
    ("text", "options", "binds"),
    [
        ("", (), ()),
        ("/a,/b:/c", (), (Bind("/a", writable=True), Bind("/b", "/c", writable=True))),
        ("-B ${workdir} --contain", ("--contain",), ()),
        ("--bind=/a:/a:ro -c -i", ("-c", "-i"), (Bind("/a"),)),
        ("--env 'A=b c'", ("--env", "A=b c"), ()),
    ],
)
def test_options_are_told_from_binds(text: str, options: tuple[str, ...], binds: tuple[Bind, ...]) -> None:
    assert read_options(text, "/w") == (options, binds)


def test_rules_with_a_wrong_key_are_refused() -> None:
    with pytest.raises(ValueError, match="bindss"):
        rules_of({"bindss": []})


def test_the_rules_that_come_with_the_program_are_understood() -> None:
    for path in (Path(__file__).parents[2] / "configs" / "experiments").glob("*.toml"):
        rules_of(tomllib.loads(path.read_text()).get("container", {}))
