"""The commands that the container runtimes build, case by case."""

from __future__ import annotations

import json
import shlex
from pathlib import Path

import msgspec
import pytest

from pilot.core.command import Bind, Command, ContainerRequest, RegistryLogin
from pilot.core.errors import QueueNotSetUpForContainers
from pilot.core.registrylogins import login_for
from pilot.plugins.containers.apptainer import Apptainer, Singularity
from pilot.plugins.containers.base import Host
from pilot.plugins.containers.bubblewrap import Bubblewrap
from pilot.plugins.containers.docker import Docker
from pilot.plugins.containers.docker_client import ContainerSpec, Mount
from pilot.plugins.containers.inside import INIT_SCRIPT
from pilot.plugins.containers.podman import Podman
from pilot.plugins.containers.podman_stand_in import auth_file
from pilot.plugins.containers.sif import Sif

HOST = Host(env={"PATH": "/usr/bin", "HOME": "/home/grid"}, uid=1000, gid=100, python="python3")
COMMAND = Command(("/bin/bash", "-c", "run it"), "/jobs/1", {"PATH": "/bin", "HOME": "/srv", "A": "1"})
REQUEST = ContainerRequest(
    name="job-1",
    token="tok",
    image="/images/el9.sif",
    workdir="/jobs/1",
    inside="/srv",
    binds=(Bind("/cvmfs"), Bind("/data/in", "/input"), Bind("/scratch", writable=True)),
    options=("--ipc",),
)


def replaced(**changes: object) -> ContainerRequest:
    return msgspec.structs.replace(REQUEST, **changes)


def words(text: str) -> tuple[str, ...]:
    return tuple(shlex.split(text))


def test_apptainer_sees_what_is_bound_and_nothing_of_the_users_home() -> None:
    wrapped = Apptainer(HOST).wrap(COMMAND, REQUEST)
    assert wrapped.argv == words(
        "apptainer --quiet exec --cleanenv --contain --pid --home /jobs/1:/srv "
        "--bind /cvmfs:/cvmfs:ro --bind /data/in:/input:ro "
        "--bind /scratch:/scratch --bind /jobs/1:/srv --pwd /srv --ipc /images/el9.sif /bin/bash -c 'run it'"
    )
    assert wrapped.env == {
        "PATH": "/usr/bin",
        "HOME": "/home/grid",
        "PILOT_CONTAINER": "tok/job-1",
        "APPTAINERENV_PILOT_CONTAINER": "tok/job-1",
        "APPTAINERENV_PATH": "/bin",
        "APPTAINERENV_A": "1",
    }


def test_apptainer_passes_gpus_the_network_and_a_login_on() -> None:
    request = replaced(gpus=("0",), network=False, login=RegistryLogin("me", "pw"), inside="", options=(), binds=())
    wrapped = Apptainer(HOST).wrap(COMMAND, request)
    assert wrapped.argv[:-4] == words(
        "apptainer --quiet exec --cleanenv --contain --pid --no-home "
        "--bind /jobs/1:/jobs/1 --pwd /jobs/1 --nv --net --network none"
    )
    assert (wrapped.env["APPTAINER_DOCKER_USERNAME"], wrapped.env["APPTAINER_DOCKER_PASSWORD"]) == ("me", "pw")


def test_singularity_is_the_same_under_its_own_name() -> None:
    wrapped = Singularity(HOST).wrap(COMMAND, REQUEST)
    assert wrapped.argv[0] == "singularity"
    assert wrapped.env["SINGULARITYENV_A"] == "1"
    assert not [name for name in wrapped.env if name.startswith("APPTAINER")]


def test_apptainer_refuses_a_path_that_it_would_misread() -> None:
    with pytest.raises(QueueNotSetUpForContainers, match="a:b"):
        Apptainer(HOST).wrap(COMMAND, replaced(binds=(Bind("/a:b"),)))


def test_bubblewrap_shows_the_host_read_only_and_the_job_directory() -> None:
    request = replaced(image="", inside="", binds=(Bind("/data/in", "/input"),), options=(), network=False)
    assert Bubblewrap(HOST).wrap(COMMAND, request).argv == words(
        "unshare --user --map-root-user --mount --pid --ipc --fork --kill-child --mount-proc --net -- "
        "bwrap --ro-bind / / --unshare-user --uid 1000 --gid 100 --cap-drop ALL --dev /dev --bind /proc /proc "
        "--tmpfs /tmp --tmpfs /var/tmp --ro-bind /data/in /input --bind /jobs/1 /jobs/1 --remount-ro / "
        "--chdir /jobs/1 -- /bin/bash -c 'run it'"
    )


def test_what_the_dynamic_linker_obeys_reaches_the_payload_alone() -> None:
    command = msgspec.structs.replace(COMMAND, env={"LD_LIBRARY_PATH": "/opt/lib", "A": "1"})
    wrapped = Bubblewrap(HOST).wrap(command, replaced(image="", options=()))
    assert "LD_LIBRARY_PATH" not in wrapped.env
    place = wrapped.argv.index("LD_LIBRARY_PATH")
    assert wrapped.argv[place - 1 : place + 2] == ("--setenv", "LD_LIBRARY_PATH", "/opt/lib")


def test_gpus_are_shown_by_their_device_files() -> None:
    argv = Bubblewrap(HOST).wrap(COMMAND, replaced(image="", gpus=("2",))).argv
    assert "/dev/nvidia2" in argv and "/dev/nvidia0" not in argv and "/dev/nvidiactl" in argv
    argv = Bubblewrap(HOST).wrap(COMMAND, replaced(image="", gpus=("GPU-8f2c",))).argv
    assert {"/dev/nvidia0", "/dev/nvidia15"} <= set(argv)
    assert "/dev/nvidiactl" not in Bubblewrap(HOST).wrap(COMMAND, replaced(image="")).argv


def test_a_payload_cannot_start_outside_its_job_directory() -> None:
    below = msgspec.structs.replace(COMMAND, cwd="/jobs/1/sub")
    argv = Bubblewrap(HOST).wrap(below, replaced(image="")).argv
    assert argv[argv.index("--chdir") + 1] == "/srv/sub"
    beside = msgspec.structs.replace(COMMAND, cwd="/jobs/10")
    for plugin in (Apptainer(HOST), Bubblewrap(HOST), Sif(HOST), Docker(HOST), Podman(HOST)):
        with pytest.raises(QueueNotSetUpForContainers, match="/jobs/10"):
            plugin.wrap(beside, replaced(options=()))


def test_the_docker_stand_in_is_told_everything_but_secrets() -> None:
    request = replaced(
        image="docker://registry.example/demo@sha256:0123", options=(), cpus=(3, 1), memory_mb=512, processes=64,
        gpus=("0",), login=RegistryLogin("me", "pw-4", "registry.example"),
    )  # fmt: skip
    wrapped = Docker(HOST).wrap(COMMAND, request)
    spec = msgspec.json.decode(wrapped.argv[5], type=ContainerSpec)
    assert spec == ContainerSpec(
        name="job-1",
        token="tok",
        image="registry.example/demo@sha256:0123",
        user="1000:100",
        workdir="/srv",
        mounts=(
            Mount("/cvmfs", "/cvmfs", False),
            Mount("/data/in", "/input", False),
            Mount("/scratch", "/scratch", True),
            Mount("/jobs/1", "/srv", True),
        ),
        cpus="1,3",
        gpus=("0",),
        memory_mb=512,
        processes=64,
        note="/srv/.oom-job-1",
    )
    assert wrapped.argv[6:] == ("--", *COMMAND.argv)
    assert wrapped.env["PILOT_INSIDE_PATH"] == "/bin" and wrapped.env["PATH"] == "/usr/bin"
    assert wrapped.env["PILOT_REGISTRY_PASSWORD"] == "pw-4"


def test_docker_refuses_options_of_another_runtime() -> None:
    with pytest.raises(QueueNotSetUpForContainers, match="--ipc"):
        Docker(HOST).wrap(COMMAND, REQUEST)


def test_podman_names_the_variables_and_keeps_their_values_in_the_environment() -> None:
    request = replaced(
        image="docker://localhost/demo:1", options=("--shm-size=1g",), cpus=(0, 2), memory_mb=64, processes=9, binds=()
    )
    wrapped = Podman(HOST).wrap(COMMAND, request)
    assert wrapped.argv[:4] == ("python3", "-I", "-S", "-c")
    assert wrapped.argv[6:] == (
        *words(
            "podman run --rm --preserve-fds 1 --name job-1 --entrypoint '[]' "
            "--security-opt label=disable --label pilot.token=tok "
            "--label pilot.name=job-1 --memory 64m --memory-swap 64m --pids-limit 9 --cpuset-cpus 0,2 "
            "--env PATH=/bin --env HOME=/srv --env A --network host --workdir /srv --userns keep-id "
            "--mount type=bind,source=/jobs/1,target=/srv --shm-size=1g localhost/demo:1"
        ),
        "/bin/sh", "-c", INIT_SCRIPT, "init", "/srv/.oom-job-1", *COMMAND.argv,
    )  # fmt: skip
    assert wrapped.env == {"A": "1", "PATH": "/usr/bin", "HOME": "/home/grid"}


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("docker://demo:1", "{hub}/library/demo:1"),
        ("docker://group/demo", "{hub}/group/demo"),
        ("docker://registry.example/demo:1", "registry.example/demo:1"),
        ("docker://localhost/demo", "localhost/demo"),
        ("docker://127.0.0.1:5000/demo:1", "127.0.0.1:5000/demo:1"),
        ("demo:1", "demo:1"),
    ],
)
def test_a_short_name_is_looked_for_where_docker_looks_for_it(name: str, meant: str) -> None:
    """Whatever this machine's registries.conf says; names without a scheme may be those of images that lie here."""
    argv = Podman(HOST).wrap(COMMAND, replaced(image=name, options=())).argv
    hub = next(login.registry for login in [login_for("a", [RegistryLogin("me", "pw")])] if login)
    assert meant.format(hub=hub) in argv


def test_podman_takes_a_directory_as_a_root_file_system_with_an_overlay() -> None:
    argv = Podman(HOST).wrap(COMMAND, replaced(image="/images/el9", options=())).argv
    assert argv[argv.index("--rootfs") + 1] == "/images/el9:O"


def test_a_path_with_a_comma_is_one_field_of_a_mount() -> None:
    argv = Podman(HOST).wrap(COMMAND, replaced(options=(), binds=(Bind("/a,b", "/c"),))).argv
    assert 'type=bind,"source=/a,b",target=/c,readonly' in argv


def test_a_registry_login_of_podman_becomes_an_auth_file() -> None:
    request = replaced(image="registry.example:5000/x:1", options=(), login=RegistryLogin("me", "pw"))
    wrapped = Podman(HOST).wrap(COMMAND, request)
    assert wrapped.env["PILOT_REGISTRY"] == "registry.example:5000"
    assert wrapped.argv[6:8] == ("podman", "run")
    assert json.loads(auth_file("me", "pw", "r")) == {"auths": {"r": {"auth": "bWU6cHc="}}}


def test_the_sif_start_is_told_the_image_and_replaces_the_offset() -> None:
    argv = Sif(HOST).wrap(COMMAND, replaced(options=())).argv
    assert argv[:4] == ("python3", "-I", "-S", "-c")
    assert argv[6] == "/images/el9.sif"
    assert argv.count("@offset@") == 1
    assert Path(argv[5], "pilot", "plugins").is_dir()
