"""`pilot benchmark`: how fast this node's cores are."""

from __future__ import annotations

import os
from pathlib import Path

import click
import msgspec

from pilot.cli.place import json_option, print_json
from pilot.cli.settings import load
from pilot.engine import benchmark
from pilot.lib.procfs import Proc
from pilot.lib.program import own_environment


@click.command(name="benchmark")
@click.option("--seconds", type=click.FloatRange(0.05, 600), default=2.0, help="CPU time that each copy takes  [2]")
@click.option("--copies", type=click.IntRange(1), default=None, help="cores measured at once  [all that we may use]")
@click.option("--command", "suite", default=None, help="run this benchmark instead of the project's own")
@click.option(
    "--score",
    default=None,
    help="where its score is: a regular expression with one group, or json:a.b.c  [json:score]",
)
@click.option("--patience", type=click.FloatRange(1), default=3600.0, help="seconds that it may take  [3600]")
@click.option("--reference", type=click.FloatRange(1e-6), default=None, help="score of a core with factor 1  [50]")
@click.option(
    "--config",
    "files",
    multiple=True,
    type=click.Path(path_type=Path),
    help="a configuration file: benchmark_command, benchmark_score, benchmark_reference  [repeatable]",
)
@click.option("--cache", type=click.Path(path_type=Path), default=None, help="file that keeps the result")
@click.option("--fresh", is_flag=True, help="measure again")
@json_option
def command(
    seconds: float,
    copies: int | None,
    suite: str | None,
    score: str | None,
    patience: float,
    reference: float | None,
    files: tuple[Path, ...],
    cache: Path | None,
    fresh: bool,
    as_json: bool,
) -> None:
    """Measure this node's cores, once a boot; later calls, and those at the same time, answer from the cache."""
    proc, file = Proc(), cache or benchmark.cache_file()
    settings = load({"benchmark_command": suite, "benchmark_score": score, "benchmark_reference": reference}, files)
    suite, reference = settings.benchmark_command, settings.benchmark_reference
    with benchmark.alone(file, patience):
        result = None if fresh else benchmark.cached(file, suite or "whirl", proc)
        kept = known = result is not None
        if result is None:
            env = own_environment()
            count = copies or len(os.sched_getaffinity(0))
            if suite:
                pattern = settings.benchmark_score
                result = benchmark.measure_command(suite, pattern, patience, reference, env, proc)
            else:
                result = benchmark.measure_whirl(seconds, count, reference, env, proc)
            kept = benchmark.keep(file, result)
    result = msgspec.structs.replace(result, factor=result.score / reference)
    if as_json:
        print_json(msgspec.to_builtins(result) | {"cached": known})
        return
    of = f"{result.copies} cores at once" if result.copies > 1 else "one core"
    click.echo(f"{result.what}: {result.score:.2f} per core ({of}, {result.cpu_model or 'unknown processor'})")
    when = "measured earlier in this boot" if known else f"took {result.seconds:.1f} s"
    where = f"kept in {file}" if kept else f"not kept: {file} cannot be written"
    click.echo(f"cpuConversionFactor {result.factor:.3f}; {when}, {where}")
