"""The contract of the room of copy tools, over its registry: a tool's recipe lies in `tests/copytools/places`."""

import pytest

from pilot.plugins.copytools.registry import TOOLS, by_scheme, registry
from tests.copytools.suite import *  # noqa: F403

#: A tool that sees nothing of what it makes can promise nothing of it.
SEEING = [name for name in TOOLS if not registry().load(name).ability.blind]


@pytest.fixture(params=SEEING, scope="module")
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def test_a_scheme_has_one_first_choice() -> None:
    schemes = [scheme for entry in TOOLS.values() for scheme in entry.first.split()]
    assert len(schemes) == len(set(schemes)) == len(by_scheme())


def test_a_tool_states_its_ability_as_data(name: str) -> None:
    ability = registry().load(name).ability
    assert ability.get or ability.put
    assert ability.parallel >= 1 and ability.batch >= 1
