"""A whole pilot whose payload runs in a sandbox with linked inputs."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from pilot.plugins.containers.base import Host
from pilot.plugins.containers.bubblewrap import Bubblewrap
from tests.pilots import Site, assert_reported_once


def test_a_sandboxed_payload_reads_a_linked_input_and_writes_its_directory_alone(site: Site) -> None:
    missing = Bubblewrap(Host(env=dict(os.environ))).check()
    if missing:
        assert os.environ.get("CI") != "true", missing
        pytest.skip(missing)
    source = site.input("in.txt", "data for the sandbox\n")
    beside = site.folder / "beside"
    script = f'cat in.txt > out.txt; touch "{beside}"; touch /usr/bad && exit 5; [ "$HOME" = "$PWD" ] || exit 6'
    number = site.shell(script, outputs=("out.txt",), inputs={"in.txt": source})
    code = site.run("--container", "bubblewrap", "--stage-in-mode", "symlink", "--input-dir", site.inputs, seconds=60)
    assert code == 0, site.log()
    assert_reported_once(site, number, "finished")
    assert not beside.exists() and not Path("/usr/bad").exists()
    assert [path.read_text() for path in site.outputs.rglob("out.txt")] == ["data for the sandbox\n"]
