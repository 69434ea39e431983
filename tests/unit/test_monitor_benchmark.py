"""The CPU benchmark: measured by real processes, kept for the boot, never believed from a stranger's file."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest
from click.testing import CliRunner

from pilot.cli.here import look_around
from pilot.cli.main import cli
from pilot.core.errors import GeneralError
from pilot.core.settings import Settings
from pilot.engine import benchmark
from pilot.lib.procfs import Proc
from pilot.lib.program import own_command, own_environment
from pilot.lib.whirl import whirl


def run(*args: str) -> dict[str, object]:
    done = CliRunner().invoke(cli, ["benchmark", "--json", *args])
    assert done.exit_code == 0, done.output
    answer = json.loads(done.stdout)
    assert isinstance(answer, dict)
    return answer


def test_the_whirl_gives_a_rate_that_does_not_depend_on_its_length() -> None:
    short, long = whirl(0.05), whirl(0.2)
    assert short > 0 and 0.3 < short / long < 3


def test_the_node_is_measured_once_and_remembered_until_told_otherwise(tmp_path: Path) -> None:
    cache = str(tmp_path / "cache.json")
    first = run("--seconds", "0.05", "--copies", "2", "--cache", cache)
    assert (first["what"], first["copies"], first["cached"]) == ("whirl", 2, False)
    assert first["score"] == pytest.approx(50.0 * float(str(first["factor"])))
    again = run("--cache", cache, "--reference", "25")
    assert again["cached"] is True and again["score"] == first["score"]
    assert again["factor"] == pytest.approx(2 * float(str(first["factor"])))
    assert run("--seconds", "0.05", "--copies", "1", "--cache", cache, "--fresh")["cached"] is False


def test_another_command_is_run_and_its_score_found(tmp_path: Path) -> None:
    suite = f"{sys.executable} -c 'import json; print(json.dumps(dict(a=dict(hs23=17.5))))'"
    answer = run("--command", suite, "--score", "json:a.hs23", "--cache", str(tmp_path / "c"))
    assert (answer["score"], answer["what"]) == (17.5, suite)
    assert run("--command", suite, "--cache", str(tmp_path / "c"))["cached"] is True


def test_the_configuration_names_the_benchmark_and_the_command_line_wins(tmp_path: Path) -> None:
    file = tmp_path / "site.toml"
    suite = f"{sys.executable} -c 'print(\"HS06 = 30.0\")'"
    words = [f"benchmark_command = {json.dumps(suite)}", r"benchmark_score = 'HS06 = ([\d.]+)'"]
    file.write_text("\n".join(["[pilot]", *words, "benchmark_reference = 15.0"]))
    answer = run("--config", str(file), "--cache", str(tmp_path / "c"))
    assert (answer["what"], answer["score"], answer["factor"]) == (suite, 30.0, 2.0)
    other = run("--config", str(file), "--cache", str(tmp_path / "c"), "--reference", "30")
    assert (other["cached"], other["factor"]) == (True, 1.0)


def test_two_that_start_at_once_measure_once(tmp_path: Path) -> None:
    count, script = tmp_path / "runs", tmp_path / "suite.sh"
    script.write_text(f"echo run >> {count}; sleep 1; echo 'score 4'")
    line = own_command("benchmark", "--json", "--command", f"sh {script}", "--score", r"score (\d)", "--cache")
    started = [
        subprocess.Popen([*line, str(tmp_path / "c")], env=own_environment(), stdout=subprocess.PIPE) for _ in range(2)
    ]
    answers = [json.loads(one.communicate(timeout=60)[0]) for one in started]
    assert sorted(answer["cached"] for answer in answers) == [False, True]
    assert count.read_text() == "run\n"


@pytest.mark.parametrize(
    ("suite", "told"),
    [
        ("false", "ended with 1"),
        ("/no/such/suite", "could not be run"),
        ("'unclosed", "could not be run"),
        ("echo nothing", "no score was found by 'json:score'"),
    ],
)
def test_a_benchmark_that_fails_is_told_in_one_line(tmp_path: Path, suite: str, told: str) -> None:
    with pytest.raises(GeneralError, match=told) as caught:
        benchmark.measure_command(suite, "json:score", 10.0, 1.0, {"PATH": os.defpath}, Proc())
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("output", "pattern", "score"),
    [
        ("HS06 = 12.5 per core", r"HS06 = ([\d.]+)", 12.5),
        ('{"score": 3}', "json:score", 3.0),
        ('{"score": "3.5"}', "json:score", 3.5),
        ("HS06 = 0", r"HS06 = ([\d.]+)", None),
        ("HS06 = 5", "HS06 = 5", None),
        ("HS06 = x", "HS06 = (.)", None),
        ("[1]", "json:score", None),
        ('{"score": -1}', "json:score", None),
        ('{"score": "inf"}', "json:score", None),
    ],
)
def test_a_score_is_a_positive_number_or_an_error(output: str, pattern: str, score: float | None) -> None:
    if score is not None:
        assert benchmark.find_score(output, pattern) == score
        return
    with pytest.raises(GeneralError, match="no score was found"):
        benchmark.find_score(output, pattern)


def test_a_result_of_another_boot_host_command_or_user_is_not_believed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    proc, cache = Proc(), tmp_path / "cache.json"
    mine = benchmark.Result("whirl", 20.0, 1.0, 1, 1.0, 0.0, os.uname().nodename, proc.boot_id())
    assert benchmark.keep(cache, mine) and benchmark.cached(cache, "whirl", proc) == mine
    assert cache.stat().st_mode & 0o077 == 0
    assert benchmark.cached(cache, "another", proc) is None
    for change in ({"boot": "another"}, {"host": "another"}):
        benchmark.keep(cache, msgspec.structs.replace(mine, **change))
        assert benchmark.cached(cache, "whirl", proc) is None
    benchmark.keep(cache, mine)
    (tmp_path / "link").symlink_to(cache)
    assert benchmark.cached(tmp_path / "link", "whirl", proc) is None
    cache.write_text("half a")
    assert benchmark.cached(cache, "whirl", proc) is None
    benchmark.keep(cache, mine)
    monkeypatch.setattr(os, "getuid", lambda: 12345)
    assert benchmark.cached(cache, "whirl", proc) is None


def test_a_pilot_tells_the_speed_of_its_cores_only_if_it_shall(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    asked, unasked = Settings(benchmark=True), Settings()
    assert look_around(asked, tmp_path, {}).node.cpu_factor == 1.0
    mine = benchmark.Result("suite x", 60.0, 1.23456, 1, 1.0, 0.0, os.uname().nodename, Proc().boot_id())
    assert benchmark.keep(benchmark.cache_file(), mine)
    here = look_around(asked, tmp_path, {})
    assert (here.node.cpu_factor, here.metrics) == (1.235, {"benchmark": "60.00"})
    here = look_around(unasked, tmp_path, {})
    assert (here.node.cpu_factor, here.metrics) == (1.0, {})


def test_a_cache_that_cannot_be_written_costs_the_cache_only(tmp_path: Path) -> None:
    result = benchmark.Result("whirl", 20.0, 1.0, 1, 1.0, 0.0, "h", "b")
    assert not benchmark.keep(tmp_path / "no" / "dir", result)
    (tmp_path / "taken").mkdir()
    assert not benchmark.keep(tmp_path / "taken", result)
    assert [p.name for p in tmp_path.iterdir()] == ["taken"]


def test_the_result_is_told_in_job_metrics() -> None:
    result = benchmark.Result("whirl", 20.123, 1.0, 1, 1.0, 0.0, "h", "b")
    assert result.metrics() == {"whirl": "20.12"}
    assert msgspec.structs.replace(result, what="hepscore --x").metrics() == {"benchmark": "20.12"}
