"""Bad files and full disks with every tool of the registry; the real servers have the same tests in `tests/system`."""

import pytest

from pilot.plugins.copytools.registry import TOOLS, registry
from tests.copytools.suite import base, place  # noqa: F401
from tests.copytools.trouble import *  # noqa: F403

#: Links hold no bytes and a link cannot be wrong about its size; moving is for files of this machine.
COPYING = [name for name in TOOLS if not registry().load(name).ability.blind and name not in ("symlink", "move")]


@pytest.fixture(params=COPYING, scope="module")
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)
