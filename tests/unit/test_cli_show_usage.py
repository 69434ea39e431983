"""What `pilot show` tells of the memory that a job used."""

from __future__ import annotations

import pytest

from pilot.cli import show


@pytest.mark.parametrize(("bound", "words"), [(True, "PSS at most 9.4 MiB,"), (False, "PSS 9.4 MiB,")])
def test_a_pss_that_is_only_a_bound_is_told_as_one(bound: bool, words: str) -> None:
    usage = {"max_pss_kb": 9626, "max_rss_kb": 9626} | ({"pss_at_most": True} if bound else {})
    assert words in show._usage({"facts": {"usage": usage}})
