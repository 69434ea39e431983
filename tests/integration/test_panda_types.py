"""The memory that a job may use follows from what the server tells of its resource type."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pilot.plugins.sources.base import Capacity
from pilot.plugins.sources.panda import PandaSource
from pilot.plugins.sources.panda_settings import DialectName, PandaSettings
from tests.bench import Bench, shell_job
from tests.panda_script import PandaScript
from tests.scripted_server import Server

SMALL = {"resource_name": "SMALL", "mincore": 1, "maxcore": 1, "minrampercore": 0, "maxrampercore": 40}
PATHS = {"v1": "/api/v1/metaconfig/get_resource_types", "classic": "/server/panda/getResourceTypes"}
#: 150 MB of memory, for as long as anybody takes to see it
PAYLOAD = "import time; hold = b'x' * 150_000_000; time.sleep(40)"


def job(number: int, **more: Any) -> dict[str, Any]:
    return shell_job(number, f"exec python3 -c {shlex.quote(PAYLOAD)}", **more)


@pytest.fixture(params=["v1", "classic"])
def script(request: pytest.FixtureRequest) -> Iterator[PandaScript]:
    made = PandaScript(request.param)
    made.routes[PATHS[request.param]] = lambda asked: (
        {"success": True, "message": "", "data": [SMALL]}
        if request.param == "v1"
        else {"StatusCode": 0, "ResourceTypes": [SMALL]}
    )
    server = Server(made)
    yield made
    server.close()


def source(script: PandaScript) -> PandaSource:
    name = DialectName.V1 if any("/api/" in path for path in script.routes) else DialectName.CLASSIC
    return PandaSource(PandaSettings(url=script.url, queue="Q", dialect=name))


def test_a_job_over_the_memory_of_its_type_at_the_server_is_ended(script: PandaScript, tmp_path: Path) -> None:
    script.jobs = [job(1, resource_type="SMALL")]
    bench = Bench(tmp_path, source(script))  # type: ignore[arg-type]
    assert bench.run(patience_s=60.0, jobs=1, cgroups=False) == 0
    told = {name.lower().replace("_", ""): value for name, value in script.updates[-1].items()}
    assert int(told["piloterrorcode"]) == 1235 and "over the limit of 40 MB" in told["piloterrordiag"]


def test_types_are_asked_for_once_and_only_if_a_job_has_one(script: PandaScript) -> None:
    panda = source(script)
    asked = next(path for path in PATHS.values() if path in script.routes)
    script.jobs = [job(1), job(2, resource_type="SMALL"), job(3, resource_type="SMALL"), job(4, resource_type="BIG")]
    assert panda.acquire(Capacity(jobs=1)).resource_types == {} and asked not in script.paths()
    found = [panda.acquire(Capacity(jobs=1)).resource_types for _ in range(3)]
    assert found[0] == found[2] and found[0]["SMALL"].most_memory_mb == 40
    assert script.paths().count(asked) == 1
    panda.close()


@pytest.mark.parametrize("answer", [(500, "down"), "garbage", {"success": False, "message": "no"}])
def test_a_server_that_does_not_tell_its_types_gives_jobs_all_the_same(script: PandaScript, answer: Any) -> None:
    asked = next(path for path in PATHS.values() if path in script.routes)
    script.routes[asked] = lambda _: answer
    script.jobs = [job(1, resource_type="SMALL"), job(2, resource_type="SMALL")]
    panda = source(script)
    for number in (1, 2):
        acquired = panda.acquire(Capacity(jobs=1))
        assert [given["PandaID"] for given in acquired.jobs] == [number] and acquired.resource_types == {}
    assert script.paths().count(asked) == 1, "not again with every job"
    panda.close()
