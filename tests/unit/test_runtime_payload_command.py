"""From a definition to what the shell runs."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from pathlib import Path

import msgspec
import pytest

from pilot.core.errors import TransformNotFound
from pilot.core.job import JobDefinition, Step
from pilot.runtime.payload_command import downloaded_name, payload_command, with_input_lists


def job(transformation: str = "", parameters: str = "", **more: object) -> JobDefinition:
    return JobDefinition(1, transformation=transformation, parameters=parameters, **more)  # type: ignore[arg-type]


def run(definition: JobDefinition, cwd: Path, setup: tuple[str, ...] = ()) -> subprocess.CompletedProcess[str]:
    command = payload_command(definition, os.listdir(cwd), setup)
    for name, text in command.files.items():
        (cwd / name).write_text(text)
    return subprocess.run(command.argv, cwd=cwd, capture_output=True, text=True)


def script(path: Path, text: str) -> None:
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)


def test_parameters_mean_what_they_mean_to_a_shell(tmp_path: Path) -> None:
    script(tmp_path / "trf", 'for word in "$@"; do echo "[$word]"; done')
    done = run(job("trf", """--a 'x y' "$((1 + 1))" b\\ c > out"""), tmp_path)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "out").read_text() == "[--a]\n[x y]\n[2]\n[b c]\n"


def test_a_name_on_the_path_and_an_absolute_one_are_found(tmp_path: Path) -> None:
    assert run(job("echo", "hello"), tmp_path).stdout == "hello\n"
    assert run(job("/bin/echo", "hello"), tmp_path).stdout == "hello\n"


def test_a_file_of_the_job_directory_goes_before_one_on_the_path(tmp_path: Path) -> None:
    script(tmp_path / "echo", "printf mine")
    assert run(job("echo", "hello"), tmp_path).stdout == "mine"


def test_a_transformation_with_a_blank_in_its_name_is_one_word(tmp_path: Path) -> None:
    script(tmp_path / "my trf", "echo $1")
    assert run(job("my trf", "1"), tmp_path).stdout == "1\n"


def test_a_downloaded_transformation_is_run_from_the_job_directory(tmp_path: Path) -> None:
    script(tmp_path / "runGen", "echo run $1")
    definition = job("https://server.example/trf/user/runGen?x=1", "1")
    assert downloaded_name(definition.transformation) == "runGen"
    assert run(definition, tmp_path).stdout == "run 1\n"
    assert downloaded_name("/usr/bin/x") == ""


@pytest.mark.parametrize("url", ["https://server.example/", "https://server.example/a/..", "http://h/%2e%2e"])
def test_a_url_that_names_no_file_is_refused(url: str) -> None:
    with pytest.raises(TransformNotFound):
        downloaded_name(url)


@pytest.mark.parametrize(
    ("line", "code"),
    [
        ("exit 7", 7),
        ("sh -c 'exit 9'", 9),
        ("false; sh -c 'exit 3'", 3),
        ("echo a | sh -c 'exit 5'", 5),
        ("A=4 sh -c 'exit $A'", 4),
        ("cd / && sh -c 'exit 6'", 6),
        ("kill -9 $$", -9),
        ("nosuchprogram", 127),
        ("source ./missing", 1),
        ("echo 'unclosed", 2),
        ("(exit 8)", 8),
        ("{ exit 11; }", 11),
    ],
)
def test_the_exit_code_of_a_complete_command_is_exact(line: str, code: int, tmp_path: Path) -> None:
    assert run(job("ignored", line, complete_command=True), tmp_path).returncode == code


def test_a_single_command_replaces_the_shell(tmp_path: Path) -> None:
    assert run(job("cat", "/proc/$$/comm"), tmp_path).stdout == "cat\n"
    assert payload_command(job("a", "b 'c; d' > e")).line.startswith("exec a ")
    assert not payload_command(job("a", "b; c")).line.startswith("exec ")


@pytest.mark.parametrize("line", ["{trf} && echo next", "{trf}"])
def test_a_term_lets_the_running_command_finish_and_keeps_its_code(line: str, tmp_path: Path) -> None:
    script(tmp_path / "trf", "trap 'sleep 0.2; exit 21' TERM; touch ready; while :; do sleep 0.02; done")
    command = payload_command(job("x", line.format(trf="./trf"), complete_command=True))
    process = subprocess.Popen(command.argv, cwd=tmp_path, start_new_session=True, stdout=subprocess.DEVNULL)
    while not (tmp_path / "ready").exists():
        assert process.poll() is None
        time.sleep(0.01)
    os.killpg(process.pid, signal.SIGTERM)
    assert process.wait(20) == 21


def test_nothing_to_run_is_an_error_of_the_definition() -> None:
    for definition in (job(), job("", "--x"), job("trf", "  ", complete_command=True)):
        with pytest.raises(TransformNotFound):
            payload_command(definition)


def test_set_up_lines_go_first_and_their_failure_is_the_end(tmp_path: Path) -> None:
    assert run(job("sh", "-c 'exit $X'"), tmp_path, ("export X=5",)).returncode == 5
    assert run(job("touch", "ran"), tmp_path, ("sh -c 'exit 4'",)).returncode == 4
    assert not (tmp_path / "ran").exists()


def test_an_input_list_becomes_a_file_that_starts_with_its_option() -> None:
    lists = (("tmpin_ds", ("a.root", "b.root")),)
    text, files = with_input_lists("--inputFile=@tmpin_ds --out=x", lists)
    assert (text, files) == ("@tmpin_ds --out=x", {"tmpin_ds": "--inputFile\na.root\nb.root\n"})
    text, files = with_input_lists("'--inputFile=@tmpin_ds'", lists)
    assert text == "@tmpin_ds"
    text, files = with_input_lists("-i @tmpin_ds", lists)
    assert (text, files) == ("-i @tmpin_ds", {"tmpin_ds": "a.root\nb.root\n"})


def test_a_list_of_a_similar_name_is_left_alone() -> None:
    text, _ = with_input_lists("--in=@tmpin_ds2 --in=@tmpin_ds", (("tmpin_ds", ("a",)),))
    assert text == "--in=@tmpin_ds2 @tmpin_ds"


def test_an_input_list_cannot_be_written_outside_the_job_directory() -> None:
    _, files = with_input_lists("x", (("../../etc/cron", ("a",)),))
    assert list(files) == ["cron"]


def test_a_transform_that_starts_its_container_is_told_of_the_image() -> None:
    job = JobDefinition(1, transformation="https://host/trf/runcontainer", parameters="-p x", image="docker://a b:1")
    options = {"containerExec": "never"}
    line = payload_command(msgspec.structs.replace(job, container_options=options)).line
    assert line == "exec ./runcontainer -p x --containerImage='docker://a b:1'"
    plain = msgspec.structs.replace(job, image="")
    assert payload_command(plain).line == "exec ./runcontainer -p x"


def test_what_is_executed_in_the_container_may_be_told_apart() -> None:
    job = JobDefinition(1, transformation="trf.py", parameters="-p x", image="a:1")
    job = msgspec.structs.replace(job, container_options={"containerExec": "sh ./main.sh && touch out"})
    assert payload_command(job).line.endswith("sh ./main.sh && touch out")


def test_what_is_executed_in_the_container_has_the_steps_around_it_in_there_as_well() -> None:
    job = JobDefinition(1, transformation="trf.py", image="a:1", container_options={"containerExec": "sh ./main.sh"})
    line = payload_command(msgspec.structs.replace(job, preprocess=Step("first"), postprocess=Step("last"))).line
    assert line.index("first") < line.index("sh ./main.sh") < line.index("last") and "trf.py" not in line
