"""The limits of a payload: the job's, the queue's, and what the pilot was told."""

from __future__ import annotations

import pytest

from pilot.core.job import JobDefinition, OutputFile
from pilot.core.queue import QueueData
from pilot.engine.bounds import limits_of, parse_limits

JOB = JobDefinition(job_id=1, log=OutputFile(lfn="log"))


def test_what_the_pilot_was_told_wins_and_nothing_takes_a_limit_away() -> None:
    usual = limits_of(JOB, QueueData(name="Q"), 100_000)
    assert usual.looping_s and usual.stdout_mb and usual.output_mb and usual.memory_grace != 1.0
    own = parse_limits("looping_s=0, stdout_mb=7,memory_grace=1")
    told = limits_of(JOB, QueueData(name="Q"), 100_000, own)
    assert (told.looping_s, told.stdout_mb, told.memory_grace) == (0, 7, 1.0)
    assert told.output_mb == usual.output_mb


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("proceses=1", "did you mean 'processes'"),
        ("cpu_s=fast", "cpu_s is 'fast', expected a number"),
        ("cpu_s=-1", "cpu_s is '-1', expected a number"),
        ("memory_grace=nan", "memory_grace is 'nan', expected a number"),
        ("cpu_s", "cpu_s is '', expected a number"),
    ],
)
def test_a_wrong_limit_is_named(text: str, told: str) -> None:
    with pytest.raises(ValueError, match=told):
        parse_limits(text)
