"""What a job's description says about its event ranges."""

from __future__ import annotations

import pytest

from pilot.core.definition import parse
from pilot.engine.eventservice.wishes import version_of


@pytest.mark.parametrize(("more", "version"), [({"prodDBlockTokenForOutput": ""}, 1), ({}, 2)])
def test_fine_grained_jobs_are_those_for_which_the_server_names_no_tokens_of_event_outputs(more, version):
    assert version_of(parse({"PandaID": 7, "eventService": "True", **more})) == version
