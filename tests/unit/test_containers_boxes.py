"""Which box a job gets."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest

from pilot.core.command import Bind, Command, ContainerRequest, Launcher, RegistryLogin
from pilot.core.definition import parse
from pilot.core.errors import QueueNotSetUpForContainers
from pilot.core.job import JobDefinition
from pilot.core.queue import QueueData
from pilot.core.usage import Usage
from pilot.engine.boxes import Box, Boxes
from pilot.engine.environments import Environments
from pilot.engine.surroundings import surroundings
from pilot.lib.cgroup import Bounds
from pilot.plugins.containers.base import Container, Host, oom_note
from pilot.plugins.containers.registry import CONTAINERS
from pilot.runtime.containment import ANY_RUNTIME, Rules
from pilot.runtime.environment import DEFAULT_PATH
from pilot.runtime.experiment import Variables
from pilot.runtime.slots import Grant

QUEUE = QueueData("Q", containers={"pilot": "apptainer"}, container_options="-B /data:/input:ro --contain")

OWN = QueueData("local", containers={"pilot": ANY_RUNTIME})


def load(name: str) -> Container:
    return CONTAINERS.load(name)(Host(env={"PATH": "/nowhere"}, socket="unix:///nowhere/docker.sock"))


def box(
    definition: JobDefinition, queue: QueueData = QUEUE, boxes: Boxes | None = None, folder: str = "/w"
) -> Box | None:
    return (boxes or Boxes(load)).box_of(
        definition, queue, "n", folder, "t", None, Bounds(memory_mb=512, cores=2.0, processes=99)
    )


def test_a_job_without_an_image_runs_in_none() -> None:
    assert box(JobDefinition(1)) is None


def test_the_queues_runtime_its_options_and_its_binds_are_used() -> None:
    found = box(JobDefinition(1, image="x.sif"))
    assert found is not None and found.runtime == "apptainer"
    assert (found.request.options, found.request.binds) == (("--contain",), (Bind("/data", "/input"),))
    assert found.request.memory_mb == 0


def test_an_image_without_any_runtime_is_told_with_all_that_is_missing() -> None:
    with pytest.raises(QueueNotSetUpForContainers, match=r"apptainer is not installed.*podman.*docker"):
        box(JobDefinition(1, image="x.sif"), OWN)
    with pytest.raises(QueueNotSetUpForContainers, match="no container_type"):
        box(JobDefinition(1, image="x.sif"), QueueData("Q"))


def test_a_runtime_chosen_for_every_job_leaves_out_the_options_of_another() -> None:
    found = box(JobDefinition(1, image="demo:1"), boxes=Boxes(load, "podman"))
    assert found is not None and (found.runtime, found.request.options) == ("podman", ())
    assert (found.request.memory_mb, found.request.cores, found.request.processes) == (512, 2.0, 99)
    found = box(JobDefinition(1), QueueData("Q"), Boxes(load, "bubblewrap"))
    assert found is not None and (found.runtime, found.request.image) == ("bubblewrap", "")
    assert box(JobDefinition(1, image="x"), boxes=Boxes(load, "none")) is None


def test_gpus_are_named_as_the_payload_sees_them() -> None:
    run = SimpleNamespace(grant=Grant("1.1", 1, gpus=("3", "GPU-b")), definition=JobDefinition(1), directory=Path("/w"))
    here = SimpleNamespace(facts=SimpleNamespace(gpus=("any",)))
    means = SimpleNamespace(queue_for=lambda job: QUEUE, here=here, environments=Environments(), variables=Variables())
    for runtime, wanted in {
        "docker": ("0", "GPU-b"),
        "podman": ("0", "GPU-b"),
        "bubblewrap": ("0", "GPU-b"),
        "apptainer": ("3", "GPU-b"),
    }.items():
        run.box = box(JobDefinition(1, image="x"), OWN, Boxes(load, runtime))
        assert surroundings(means, run).gpus == wanted  # type: ignore[arg-type]
    run.box = None
    assert surroundings(means, run).gpus == ("3", "GPU-b")  # type: ignore[arg-type]


def test_a_platform_goes_to_the_experiments_launcher() -> None:
    boxes = Boxes(load, rules=Rules(launcher=Launcher("start @image@"), inside="/srv"))
    found = box(JobDefinition(1, platform="x86_64-el9-gcc13-opt"), boxes=boxes)
    assert found is not None and found.runtime == "launcher"
    assert found.request.launcher is not None and found.request.work_inside == "/srv"


@pytest.mark.parametrize(
    ("behind_the_at", "image"),
    [
        ("", "/images/x86_64-el9.img"),
        ("x86_64-centos7", "/images/x86_64-centos7.img"),
        ("docker://some.org/user:1", "docker://some.org/user:1"),
    ],
)
def test_what_a_user_puts_behind_the_at_of_a_platform_is_the_container(behind_the_at: str, image: str) -> None:
    job = parse({"PandaID": 1, "cmtConfig": f"x86_64-el9-gcc13-opt@{behind_the_at}".rstrip("@")})
    by_rules = box(job, boxes=Boxes(load, rules=Rules(image="/images/{arch}-{os}.img")))
    assert by_rules is not None and by_rules.request.image == image
    launched = box(job, boxes=Boxes(load, rules=Rules(launcher=Launcher("start @image@"))))
    assert launched is not None and launched.runtime == "launcher"
    assert launched.request.image == (behind_the_at or "x86_64-el9-gcc13-opt")
    assert box(job, QueueData("Q")) is None, "a queue without a runtime for payloads runs them in none"


def test_what_links_in_the_job_directory_point_to_is_seen_inside(tmp_path: Path) -> None:
    outside, job = tmp_path / "storage" / "in.root", tmp_path / "job"
    outside.parent.mkdir()
    outside.write_text("x")
    job.mkdir()
    (job / "in.root").symlink_to(outside)
    (job / "own").symlink_to(job / "in.root")
    (job / "gone").symlink_to(tmp_path / "gone")
    found = box(JobDefinition(1), QueueData("Q"), Boxes(load, "bubblewrap"), str(job))
    assert found is not None
    argv = found.wrap(Command(("true",), str(job), {}), [str(outside), "/read/in place"]).argv
    assert argv[argv.index(str(outside)) - 1] == "--ro-bind"
    at = argv.index("/read/in place")
    assert argv[at - 1 : at + 2] == ("--ro-bind", "/read/in place", "/read/in place")
    assert argv.count(str(outside)) == 2 and str(tmp_path / "gone") not in argv


def test_a_jobs_own_login_goes_before_the_sites() -> None:
    site = (RegistryLogin("site", "site-token", "registry.example"),)
    own = (RegistryLogin("user", "user-token", "registry.example/group"),)
    boxes = Boxes(load, "docker", logins=site)

    def login(image: str, logins: tuple[RegistryLogin, ...] = own) -> str:
        found = boxes.box_of(JobDefinition(1, image=image), OWN, "n", "/w", "t", None, logins=logins)
        assert found is not None
        return found.request.login.username if found.request.login else ""

    assert login("registry.example/group/tool") == "user"
    assert login("registry.example/tool") == "site"
    assert login("elsewhere.example/tool") == ""
    wrapped = boxes.box_of(JobDefinition(1, image="registry.example/a"), OWN, "n", "/w", "t", None)
    assert wrapped is not None
    command = wrapped.wrap(Command(("true",), "/w", {}))
    assert "site-token" in command.env.values() and "site-token" not in " ".join(command.argv)


@pytest.mark.parametrize("runtime", sorted(CONTAINERS.names()))
def test_the_search_path_of_an_image_is_its_own_unless_somebody_set_another(runtime: str) -> None:
    def path(told: str) -> str | None:
        seen: list[dict[str, str]] = []

        class Spy:
            traits = load(runtime).traits

            def wrap(self, command: Command, request: ContainerRequest) -> Command:
                seen.append(dict(command.env))
                return command

        request = ContainerRequest(name="n", workdir="/w", token="t", image="i")
        Box(runtime, cast(Container, Spy()), request).wrap(Command(("true",), "/w", {"PATH": told, "A": "1"}))
        assert seen[0]["A"] == "1"
        return seen[0].get("PATH")

    brings_its_own = runtime in ("apptainer", "singularity", "docker", "podman")
    assert path(DEFAULT_PATH) == (None if brings_its_own else DEFAULT_PATH)
    assert path("/opt/tool/bin:" + DEFAULT_PATH) == "/opt/tool/bin:" + DEFAULT_PATH


@pytest.mark.parametrize(("noted", "kills"), [(None, 1), ("3\n", 3), ("0\n", 1), ("many", 1)])
def test_what_was_ended_inside_for_lack_of_memory_counts_once(tmp_path: Path, noted: str | None, kills: int) -> None:
    found = box(JobDefinition(1, image="a"), folder=str(tmp_path))
    assert found is not None
    note = tmp_path / oom_note(found.request)
    if noted is not None:
        note.write_text(noted)
    assert found.counted(Usage(oom_kills=1)).oom_kills == kills
    assert not note.exists()
