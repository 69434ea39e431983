"""Real jobs in real containers: docker, podman as root and as a user, bubblewrap and squashfuse on an image."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
import pytest

import pilot
from pilot.core.command import Bind, Command, ContainerRequest
from pilot.core.job import Exit
from pilot.plugins.containers import podman
from pilot.plugins.containers.base import Container, Host, oom_note
from pilot.plugins.containers.registry import CONTAINERS
from tests.unit.test_containers_sif import sif

PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
PATIENCE_S = 60


@dataclass
class Runtime:
    """A runtime that works here, an image for it, and the user who runs it."""

    plugin: Container
    image: str
    work: Path
    user: dict[str, Any] = field(default_factory=dict)
    options: tuple[str, ...] = ()
    running: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def request(self, **more: Any) -> ContainerRequest:
        plain = {"name": f"pilot-test-{os.getpid()}", "token": f"tok{os.getpid()}", "inside": "/srv"}
        return ContainerRequest(
            workdir=str(self.work), **{**plain, "image": self.image, "options": self.options, **more}
        )

    def start(self, text: str, env: dict[str, str] | None = None, **more: Any) -> subprocess.Popen[bytes]:
        command = Command(("/bin/sh", "-c", text), str(self.work), {"PATH": PATH, "HOME": "/srv", **(env or {})})
        wrapped = self.plugin.wrap(command, self.request(**more))
        process = subprocess.Popen(
            wrapped.argv,
            cwd=wrapped.cwd,
            env=wrapped.env,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
            **self.user,
        )
        self.running.append(process)
        return process

    def run(self, text: str, env: dict[str, str] | None = None, **more: Any) -> tuple[int, str, str]:
        process = self.start(text, env, **more)
        out, err = process.communicate(timeout=PATIENCE_S)
        return process.returncode, out.decode(), err.decode()

    def start_and_wait(self, text: str, **more: Any) -> subprocess.Popen[bytes]:
        """Start something that touches `ready`, and wait for that."""
        process = self.start(text, **more)
        until(lambda: (self.work / "ready").exists() or process.poll() is not None)
        assert process.poll() is None, process.communicate()
        return process


def until(true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def readable_package(folder: Path) -> str:
    """A copy of the package that any user may read: the checkout may be private to root."""
    copy = folder / "package"
    if not copy.exists():
        shutil.copytree(Path(pilot.__file__).parent, copy / "pilot", ignore=shutil.ignore_patterns("__pycache__"))
    return str(copy)


@pytest.fixture(scope="session")
def sif_image(rootfs: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A SIF as apptainer writes it, with a small root file system: header, descriptors, squashfs."""
    folder = tmp_path_factory.mktemp("sif")
    for name in ("bin", "etc", "proc", "sys", "dev", "tmp", "var/tmp", "usr/bin"):
        (folder / "root" / name).mkdir(parents=True)
    shutil.copy("/bin/busybox", folder / "root" / "bin" / "busybox")
    for name in ("sh", "bash", "id", "cat", "env", "touch", "sleep", "pwd", "ps", "wc", "ls", "dd", "grep", "cp"):
        (folder / "root" / "bin" / name).symlink_to("busybox")
    squash = ["mksquashfs", folder / "root", folder / "fs", "-quiet", "-noappend", "-all-root", "-no-progress"]
    subprocess.run(squash, check=True, stdout=subprocess.DEVNULL)
    image = folder / "image with blank.sif"
    image.write_bytes(sif((0x4004, 65536, 1, 2)).ljust(65536, b"\0") + (folder / "fs").read_bytes())
    return image


@pytest.fixture(params=["docker", "podman", "podman-rootless", "bubblewrap", "sif", "apptainer"])
def runtime(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Runtime]:
    name = request.param
    env, image, user, ids = {"PATH": PATH, "HOME": "/root"}, "", {}, {}
    options: tuple[str, ...] = ()
    work = tmp_path / "job"
    if name == "docker":
        told = request.getfixturevalue("dockerd")
        env, image = {**env, **told["env"]}, told["image"]
    elif name.startswith("podman"):
        told = request.getfixturevalue("podman")
        env, image = {**env, **told["env"]}, told["image"]
        if name == "podman-rootless":
            less = told["rootless"]
            env, work = dict(less["env"]), Path(less["folder"]) / f"job-{tmp_path.name}"
            ids = {"uid": less["uid"], "gid": less["uid"]}
            user = {"user": less["uid"], "group": less["uid"], "extra_groups": []}
            request.getfixturevalue("monkeypatch").setattr(podman, "_ROOT", readable_package(Path(less["folder"])))
    elif name == "apptainer":
        # No package of Debian 12: it comes from a later one. As root it wants to be told of user namespaces.
        told = request.getfixturevalue("apptainer")
        env["PATH"] = f"{told['path']}:{PATH}"
        image, options = told["image"], ("--userns",)
    elif name == "sif":
        image = str(request.getfixturevalue("sif_image"))
    else:
        image = request.getfixturevalue("rootfs")["folder"]
    work.mkdir()
    if user:
        os.chown(work, user["user"], user["group"])
        work.chmod(0o700)
    python = "/usr/bin/python3" if user else sys.executable
    plugin = CONTAINERS.load(name.partition("-")[0])(Host(env=env, python=python, **ids))
    runtime = Runtime(plugin, image, work, user, options)
    if not user:
        assert plugin.check() == ""
    yield runtime
    for process in runtime.running:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
    if not user:
        plugin.end(runtime.request().name)


def test_a_payload_runs_in_the_image_as_the_pilots_user(runtime: Runtime) -> None:
    code, out, err = runtime.run('pwd; id -u; echo "$A"; echo oops >&2; touch made; exit 7', {"A": "one\ntwo"})
    assert code == 7, err
    assert out.splitlines() == ["/srv", str(runtime.user.get("user", os.getuid())), "one", "two"]
    assert err == "oops\n"
    assert (runtime.work / "made").stat().st_uid == runtime.user.get("user", os.getuid())


def test_the_pilots_own_variables_do_not_come_in(runtime: Runtime) -> None:
    code, out, _ = runtime.run("env", {"SEEN": "yes"}, host_env={"UNSEEN": "1"}, env_names=("PATH", "SEEN"))
    assert code == 0
    names = {line.partition("=")[0] for line in out.splitlines()}
    assert "SEEN" in names
    added = {"PWD", "OLDPWD", "SHLVL", "_", "HOSTNAME", "TERM", "container", "HOME", "PILOT_CONTAINER", "LANG"}
    added |= {"LD_LIBRARY_PATH", "PS1", "PROMPT_COMMAND"}
    own = {name for name in names if name.startswith(("APPTAINER_", "SINGULARITY_"))}
    assert names <= {"PATH", "SEEN"} | added | own, names


def test_only_bound_paths_are_seen_and_written(runtime: Runtime, tmp_path: Path) -> None:
    base = runtime.work.parent
    kept, free = base / f"kept-{tmp_path.name}", base / f"free-{tmp_path.name}"
    for folder in (kept, free):
        folder.mkdir()
        if runtime.user:
            os.chown(folder, runtime.user["user"], runtime.user["group"])
    (kept / "data").write_text("content")
    binds = (Bind(str(kept), "/deep/new/in"), Bind(str(free), "/deep/new/out", writable=True))
    text = f"cp /deep/new/in/data /deep/new/out/ && ! touch /deep/new/in/bad 2>/dev/null && ! ls {kept} 2>/dev/null"
    code, _, err = runtime.run(text, binds=binds)
    assert code == 0, err
    assert (free / "data").read_text() == "content" and not (kept / "bad").exists()


def test_a_term_reaches_all_of_the_payload_and_its_code_comes_back(runtime: Runtime) -> None:
    text = "trap 'sleep 0.3; exit 9' TERM; "
    text += "(trap 'touch child; exit 0' TERM; touch ready; while :; do sleep 0.05; done) & "
    text += "while :; do sleep 0.05; done"
    process = runtime.start_and_wait(text)
    os.killpg(process.pid, signal.SIGTERM)
    assert process.wait(PATIENCE_S) == 9
    assert (runtime.work / "child").exists()
    assert runtime.user or runtime.plugin.ours(runtime.request().token) == ()


def test_a_payload_ended_by_a_signal_counts_as_128_and_its_number(runtime: Runtime) -> None:
    assert runtime.run("kill -9 $$")[0] == 137


def test_much_output_comes_through_whole(runtime: Runtime) -> None:
    code, out, _ = runtime.run("i=0; while [ $i -lt 20000 ]; do echo line $i; i=$((i+1)); done")
    assert code == 0
    assert out.splitlines() == [f"line {number}" for number in range(20000)]


def test_the_next_pilot_finds_and_ends_what_a_killed_one_left(runtime: Runtime) -> None:
    if runtime.user:
        pytest.skip("the suite itself asks as root")
    process = runtime.start_and_wait("trap '' TERM; touch ready; while :; do touch alive; sleep 0.05; done")
    request = runtime.request()
    if runtime.plugin.traits.daemon:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    assert runtime.plugin.ours(request.token) == (request.name,)
    first = runtime.plugin.pid(request.name)
    assert (first is not None) is runtime.plugin.traits.daemon
    runtime.plugin.end(request.name)
    assert runtime.plugin.ours(request.token) == ()
    until(lambda: first is None or not Path(f"/proc/{first}").exists())
    (runtime.work / "alive").unlink(missing_ok=True)
    time.sleep(0.3)
    assert not (runtime.work / "alive").exists()
    process.wait(PATIENCE_S)


def test_no_network_means_none(runtime: Runtime) -> None:
    code, out, err = runtime.run("cat /proc/net/dev", network=False)
    assert code == 0, err
    assert {line.split(":")[0].strip() for line in out.splitlines()[2:]} <= {"lo"}


def test_an_image_that_is_not_there_is_told_by_its_number(runtime: Runtime) -> None:
    image = f"{runtime.image}-absent" if runtime.image.startswith("/") else "localhost/absent:1"
    code, _, err = runtime.run("true", image=image)
    failure = runtime.plugin.diagnose(Exit(code=code), err)
    assert failure is not None and failure.code == 1360, err


def test_a_bind_without_a_source_is_told_by_its_number(runtime: Runtime) -> None:
    code, _, err = runtime.run("true", binds=(Bind(f"{runtime.work}/absent", "/in"),))
    failure = runtime.plugin.diagnose(Exit(code=code), err)
    assert failure is not None and failure.code == 1308, err


def test_a_memory_limit_ends_the_payload_that_breaks_it(runtime: Runtime) -> None:
    if not runtime.plugin.traits.memory or runtime.user:
        pytest.skip("the limit is the cgroup's of the job")
    text = "dd if=/dev/zero of=/dev/null bs=200M count=1; code=$?; exit $code"
    code, _, err = runtime.run(text, memory_mb=64)
    assert code == 137, err
    note = runtime.work / oom_note(runtime.request())
    assert int(note.read_text()) > 0
    note.unlink()
    assert runtime.run(text, memory_mb=400)[0] == 0
    assert not note.exists()


def test_a_cpu_set_is_kept(runtime: Runtime) -> None:
    if not runtime.plugin.traits.cpus or runtime.user:
        pytest.skip("the set is inherited from the pilot's child")
    code, out, err = runtime.run("grep Cpus_allowed_list /proc/self/status", cpus=(0,))
    assert code == 0, err
    assert out.split() == ["Cpus_allowed_list:", "0"]


def test_shares_of_cpu_time_and_a_bound_for_processes_are_kept(runtime: Runtime) -> None:
    if not runtime.plugin.traits.cpus or runtime.user:
        pytest.skip("they are the cgroup's of the job")
    text = "cat /sys/fs/cgroup/cpu/cpu.cfs_quota_us /sys/fs/cgroup/pids/pids.max"
    if not Path("/sys/fs/cgroup/cpu/cpu.cfs_quota_us").exists() and not Path("/sys/fs/cgroup/pids").exists():
        text = "cat /sys/fs/cgroup/cpu.max /sys/fs/cgroup/pids.max"
    code, out, err = runtime.run(text, cores=0.5, processes=77)
    assert code == 0, err
    assert out.split()[0] == "50000" and out.split()[-1] == "77"


def mounted_without_daemons() -> list[str]:
    """What is mounted on this machine, but for what the daemons of docker and podman mount whenever they like."""
    lines = Path("/proc/self/mountinfo").read_text().splitlines()
    return [line for line in lines if not any(word in line for word in ("docker", "podman", "containers", "netns"))]


def test_nothing_is_left_mounted_or_running(runtime: Runtime) -> None:
    before = mounted_without_daemons()
    process = runtime.start_and_wait("touch ready; sleep 300")
    if not runtime.plugin.traits.daemon:
        process.kill()
        process.wait()
        until(lambda: runtime.plugin.ours(runtime.request().token) == ())
        until(lambda: mounted_without_daemons() == before)


def test_no_argument_of_any_process_holds_a_variables_value(runtime: Runtime) -> None:
    secret = f"hidden{os.getpid()}value"
    process = runtime.start("touch ready; sleep 300", {"SECRET_TOKEN": secret})
    until(lambda: (runtime.work / "ready").exists() or process.poll() is not None)
    seen = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                seen.append((entry / "cmdline").read_bytes())
            except OSError:
                continue
    assert not [line for line in seen if secret.encode() in line]
    assert msgspec.structs.asdict(runtime.request())["login"] is None
