"""What every container runtime owes the pilot; those that work on this machine are run for real."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from pilot.core.command import Bind, Command, ContainerRequest, Launcher, RegistryLogin
from pilot.core.errors import QueueNotSetUpForContainers
from pilot.core.job import Exit
from pilot.plugins.containers.base import Container, Host
from pilot.plugins.containers.registry import CONTAINERS

#: Plugins that see the host's files, so that the suite can run them without an image.
HOSTED = ("none", "dummy", "bubblewrap")


def host() -> Host:
    env = {name: os.environ[name] for name in ("PATH", "HOME", "XDG_RUNTIME_DIR") if name in os.environ}
    return Host(env=env, python=sys.executable)


def make(name: str) -> Container:
    return CONTAINERS.load(name)(host())


def request_for(plugin: Container, workdir: Path, **more: object) -> ContainerRequest:
    settings: dict[str, object] = {"name": f"t{os.getpid()}-{workdir.name}", "token": f"tok{os.getpid()}"}
    if plugin.traits.image:
        settings["image"] = str(workdir / "image")
    settings["launcher"] = Launcher("true")
    return ContainerRequest(workdir=str(workdir), **{**settings, **more})  # type: ignore[arg-type]


@pytest.fixture(params=CONTAINERS.names())
def plugin(request: pytest.FixtureRequest) -> Container:
    return make(request.param)


def working(name: str) -> Container:
    """This suite runs before any package has been brought; where one is missing, the system tests insist on it."""
    plugin = make(name)
    if missing := plugin.check():
        pytest.skip(missing)
    return plugin


@pytest.fixture(params=HOSTED)
def hosted(request: pytest.FixtureRequest) -> Container:
    return working(request.param)


@pytest.fixture(params=[name for name in HOSTED if CONTAINERS.load(name).traits.isolates])
def isolating(request: pytest.FixtureRequest) -> Container:
    return working(request.param)


@pytest.fixture
def started() -> Iterator[list[subprocess.Popen[bytes]]]:
    processes: list[subprocess.Popen[bytes]] = []
    yield processes
    for process in processes:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        for stream in (process.stdout, process.stderr):
            if stream:
                stream.close()


def start(command: Command) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        command.argv,
        cwd=command.cwd,
        env=command.env,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )


def wait_for(path: Path, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 20
    while not path.exists():
        assert process.poll() is None, process.stderr and process.stderr.read()
        assert time.monotonic() < deadline
        time.sleep(0.01)


def shell(text: str, workdir: Path, **env: str) -> Command:
    return Command(("/bin/sh", "-c", text), str(workdir), {"PATH": "/usr/bin:/bin", **env})


def test_wrapping_twice_gives_the_same_command_and_changes_nothing(plugin: Container, tmp_path: Path) -> None:
    command = shell("exit 0", tmp_path, A="1")
    request = request_for(plugin, tmp_path)
    before = (repr(command), repr(request))
    assert plugin.wrap(command, request) == plugin.wrap(command, request)
    assert (repr(command), repr(request)) == before


def test_the_payloads_own_arguments_come_whole_and_in_order(plugin: Container, tmp_path: Path) -> None:
    argv = ("/bin/sh", "-c", 'echo "a  b" $HOME; # \'', "--", "x y")
    wrapped = plugin.wrap(Command(argv, str(tmp_path), {}), request_for(plugin, tmp_path)).argv
    assert wrapped[-len(argv) :] == argv


def test_no_secret_is_an_argument(plugin: Container, tmp_path: Path) -> None:
    request = request_for(plugin, tmp_path, login=RegistryLogin("me", "pass-word-1", "registry.example"))
    argv = plugin.wrap(shell("true", tmp_path, SECRET="in-the-env-2"), request).argv
    assert not [word for word in argv if "pass-word-1" in word or "in-the-env-2" in word]
    assert "pass-word-1" not in repr(request)


def test_only_allowed_variables_go_inside(plugin: Container, tmp_path: Path) -> None:
    command = shell("true", tmp_path, PANDA_X="1", OTHER="hidden-value-3")
    wrapped = plugin.wrap(command, request_for(plugin, tmp_path, env_names=("PATH", "PANDA_*")))
    assert "hidden-value-3" not in repr(wrapped)


def test_a_runtime_that_needs_an_image_refuses_to_go_without(plugin: Container, tmp_path: Path) -> None:
    if not plugin.traits.image:
        plugin.wrap(shell("true", tmp_path), request_for(plugin, tmp_path, image=""))
        return
    with pytest.raises(QueueNotSetUpForContainers):
        plugin.wrap(shell("true", tmp_path), request_for(plugin, tmp_path, image=""))


def test_a_good_exit_without_a_message_is_no_failure_of_the_runtime(plugin: Container) -> None:
    assert plugin.diagnose(Exit(code=0), "") is None
    assert plugin.diagnose(Exit(code=3), "the payload said something") is None
    assert plugin.diagnose(Exit(signal=9), "") is None


def test_the_check_answers_in_at_most_one_line(plugin: Container) -> None:
    assert len(plugin.check().splitlines()) <= 1


def test_the_exit_code_is_the_payloads_own(
    hosted: Container, tmp_path: Path, started: list[subprocess.Popen[bytes]]
) -> None:
    for code in (0, 7, 255):
        command = hosted.wrap(shell(f"exit {code}", tmp_path), request_for(hosted, tmp_path))
        started.append(start(command))
        assert started[-1].wait(20) == code


def test_the_payload_starts_in_its_directory_and_writes_there(
    hosted: Container, tmp_path: Path, started: list[subprocess.Popen[bytes]]
) -> None:
    below = tmp_path / "sub"
    below.mkdir()
    command = hosted.wrap(shell("pwd > ../where; id -u > who", below), request_for(hosted, tmp_path))
    started.append(start(command))
    assert started[-1].wait(20) == 0, started[-1].stderr and started[-1].stderr.read()
    assert (tmp_path / "where").read_text().strip() == str(below)
    assert int((below / "who").read_text()) == os.getuid()


def test_the_payload_has_its_own_environment_and_not_the_runtimes(
    hosted: Container, tmp_path: Path, started: list[subprocess.Popen[bytes]]
) -> None:
    request = request_for(hosted, tmp_path, host_env={"RUNTIME_ONLY": "1"}, env_names=("PATH", "A*"))
    started.append(start(hosted.wrap(shell("env", tmp_path, A1="one two", B="no"), request)))
    out, err = started[-1].communicate(timeout=20)
    lines = out.decode().splitlines()
    assert "A1=one two" in lines, err
    assert not [line for line in lines if line.startswith(("RUNTIME_ONLY=", "B="))]


def test_a_term_to_the_group_reaches_the_payload_and_its_answer_comes_back(
    hosted: Container, tmp_path: Path, started: list[subprocess.Popen[bytes]]
) -> None:
    text = "trap 'sleep 0.2; exit 9' TERM; touch ready; while :; do sleep 0.05; done"
    started.append(start(hosted.wrap(shell(text, tmp_path), request_for(hosted, tmp_path))))
    wait_for(tmp_path / "ready", started[-1])
    os.killpg(started[-1].pid, signal.SIGTERM)
    assert started[-1].wait(20) == 9


def test_what_runs_is_ours_until_it_is_ended(
    hosted: Container, tmp_path: Path, started: list[subprocess.Popen[bytes]]
) -> None:
    request = request_for(hosted, tmp_path)
    command = hosted.wrap(shell("touch ready; setsid sleep 300 & wait", tmp_path), request)
    started.append(start(command))
    wait_for(tmp_path / "ready", started[-1])
    assert hosted.ours(request.token) == (request.name,)
    assert hosted.ours(request.token + "x") == ()
    hosted.end(request.name + "x")
    assert hosted.ours(request.token) == (request.name,)
    hosted.end(request.name)
    assert started[-1].wait(20) not in (0, None)
    assert hosted.ours(request.token) == ()
    hosted.end(request.name)


def test_an_isolating_runtime_lets_only_the_job_directory_be_written(
    isolating: Container, tmp_path: Path, started: list[subprocess.Popen[bytes]]
) -> None:
    work, beside = tmp_path / "job", tmp_path / "beside"
    work.mkdir()
    beside.mkdir()
    text = f"touch {beside}/bad; touch /usr/bad; touch good; ps ax | wc -l > processes"
    started.append(start(isolating.wrap(shell(text, work), request_for(isolating, work))))
    assert started[-1].wait(20) == 0
    assert not list(beside.iterdir()) and not Path("/usr/bad").exists() and (work / "good").exists()
    assert int((work / "processes").read_text()) < 8


def test_a_bound_directory_is_read_only_unless_told(
    isolating: Container, tmp_path: Path, started: list[subprocess.Popen[bytes]]
) -> None:
    work, kept, free = (tmp_path / name for name in ("job", "kept", "free"))
    for directory in (work, kept, free):
        directory.mkdir()
    (kept / "data").write_text("x")
    binds = (Bind(str(kept), "/var/tmp/in"), Bind(str(free), "/var/tmp/out", writable=True))
    text = "cp /var/tmp/in/data /var/tmp/out/ && ! touch /var/tmp/in/bad"
    started.append(start(isolating.wrap(shell(text, work), request_for(isolating, work, binds=binds))))
    assert started[-1].wait(20) == 0, started[-1].stderr and started[-1].stderr.read()
    assert (free / "data").exists() and not (kept / "bad").exists()


def test_a_bind_without_a_source_is_diagnosed(
    isolating: Container, tmp_path: Path, started: list[subprocess.Popen[bytes]]
) -> None:
    request = request_for(isolating, tmp_path, binds=(Bind(str(tmp_path / "absent"), "/tmp/in"),))
    started.append(start(isolating.wrap(shell("true", tmp_path), request)))
    _, err = started[-1].communicate(timeout=20)
    failure = isolating.diagnose(Exit(code=started[-1].returncode), err.decode())
    assert failure is not None and failure.code == 1308, err
