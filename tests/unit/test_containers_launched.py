"""Containers that an experiment's own script starts, with a stand-in for that script."""

from __future__ import annotations

import subprocess
import tomllib
from pathlib import Path

import msgspec
import pytest

from pilot.core.command import Bind, Command, ContainerRequest, Launcher, RegistryLogin
from pilot.core.errors import QueueNotSetUpForContainers
from pilot.lib import datafiles
from pilot.plugins.containers.base import Host
from pilot.plugins.containers.launched import Launched
from pilot.runtime.containment import rules_of

SETUP = """
printf '%s\\n' "$@" > asked
while [ $# -gt 0 ]; do
  [ "$1" = -r ] && script=$2
  [ "$1" = -s ] && release=$2
  shift
done
bash -c 'source "$0" || exit 64; bash "$1"' "$release" "$script"
"""


@pytest.fixture
def request_for(tmp_path: Path) -> ContainerRequest:
    return ContainerRequest(
        name="n",
        workdir=str(tmp_path),
        image="x86_64-el9",
        token="t",
        launcher=Launcher("true", {"../s.sh": "@payload@"}),
    )


def test_the_lines_of_the_experiment_start_the_payload_and_keep_its_code(tmp_path: Path) -> None:
    """The real rules, with a set-up script that runs what it is told to run, here."""
    rules = rules_of(tomllib.loads(datafiles.text("experiments/atlas.toml"))["container"])
    user = tmp_path / "base" / "user"
    user.mkdir(parents=True)
    (user / "atlasLocalSetup.sh").write_text(SETUP)
    work = tmp_path / "work"
    work.mkdir()
    request = ContainerRequest(
        name="n", workdir=str(work), image="x86_64-el9", token="t", launcher=rules.launcher, binds=(Bind("/data"),)
    )
    request = msgspec.structs.replace(request, login=RegistryLogin("user", "hidden-token", "registry.example"))
    env = {"PATH": "/usr/bin:/bin", "ATLAS_LOCAL_ROOT_BASE": str(tmp_path / "base")}
    line = 'echo "it\'s $TMPDIR $GOT${APPTAINER_DOCKER_PASSWORD-}${SINGULARITY_DOCKER_PASSWORD-}"; exit 7'
    command = Command(("/bin/bash", "-c", line), str(work), env, setup=("export GOT=Athena,25",))
    wrapped = Launched(Host()).wrap(command, request)
    for name, text in wrapped.files.items():
        (work / name).write_text(text)
    done = subprocess.run(wrapped.argv, cwd=wrapped.cwd, env=wrapped.env, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (7, f"it's {work} Athena,25\n"), done.stderr
    asked = (work / "asked").read_text().splitlines()
    assert asked[asked.index("-c") + 1] == "x86_64-el9"
    assert asked[asked.index("-e") + 1] == "-c -i -B /data:/data:ro"
    assert ("-d" in asked) is not Path("/cvmfs/atlas.cern.ch").is_dir()
    assert asked[asked.index("-s") + 1] == f"{work}/my_release_setup.sh"


def test_files_stay_in_the_job_directory(request_for: ContainerRequest) -> None:
    command = Command(("true",), request_for.workdir, {})
    assert list(Launched(Host()).wrap(command, request_for).files) == ["s.sh"]


def test_without_a_launcher_or_a_platform_it_is_refused(request_for: ContainerRequest) -> None:
    command = Command(("true",), request_for.workdir, {})
    for change in ({"launcher": None}, {"image": ""}):
        with pytest.raises(QueueNotSetUpForContainers):
            Launched(Host()).wrap(command, msgspec.structs.replace(request_for, **change))


def test_the_users_arguments_follow_the_options_and_a_login_is_in_the_environment_alone(
    request_for: ContainerRequest,
) -> None:
    request = msgspec.structs.replace(
        request_for,
        launcher=Launcher("start -e @options@ @arguments@"),
        options=("--nv",),
        arguments=("-x", "a b"),
        login=RegistryLogin("user", "hidden-token", "registry.example"),
    )
    wrapped = Launched(Host()).wrap(Command(("true",), request.workdir, {}), request)
    assert "start -e --nv -x 'a b'" in wrapped.argv[2]
    assert wrapped.env["APPTAINER_DOCKER_PASSWORD"] == wrapped.env["SINGULARITY_DOCKER_PASSWORD"] == "hidden-token"
    assert "hidden-token" not in " ".join(wrapped.argv)


def test_a_release_that_cannot_be_set_up_is_no_success(tmp_path: Path) -> None:
    rules = rules_of(tomllib.loads(datafiles.text("experiments/atlas.toml"))["container"])
    request = ContainerRequest(name="n", workdir=str(tmp_path), image="x86_64-el9", launcher=rules.launcher)
    for setup, code in (((), 0), (("true", "(exit 3)"), 3)):
        files = Launched(Host()).wrap(Command(("true",), str(tmp_path), {}, setup=setup), request).files
        assert subprocess.run(["bash", "-c", files["my_release_setup.sh"].replace("return", "exit")]).returncode == code
