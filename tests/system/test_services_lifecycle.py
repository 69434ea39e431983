"""How servers are started, shared, found again and ended."""

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from tests.system.services import lifecycle, ports, process
from tests.system.services.ground import Ground, ServiceFailed, prepared

ESCAPES = "sleep 1000 & setsid sleep 1000 & env -i setsid sleep 1000 & wait"


@pytest.fixture
def ground(tmp_path: Path) -> Ground:
    (tmp_path / "run").mkdir()
    (tmp_path / "cache").mkdir()
    return Ground(cache=tmp_path / "cache", run=tmp_path / "run")


@pytest.fixture
def other_checkout(tmp_path: Path, s3: dict[str, object]) -> Iterator[Ground]:
    """A run folder of its own beside what this checkout keeps, where `s3` stands for what is installed."""
    ground = prepared(tmp_path)
    yield replace(ground, cache=prepared().cache)
    shutil.rmtree(ground.run)
    shutil.rmtree(ground.cache)


def test_every_process_of_a_service_is_ended_also_one_in_another_session_without_the_mark(ground: Ground) -> None:
    folder = ground.make("x")
    leader = process.spawn(folder, ["sh", "-c", ESCAPES])
    process.wait_until(folder, lambda: len(process._kin(folder, [leader])) == 4, "four processes", leader)
    kin = process._kin(folder, [leader])
    process.end(folder)
    assert not [one for one in kin if process.alive(one)]


def test_what_a_killed_leader_left_behind_is_found_by_its_mark(ground: Ground) -> None:
    folder = ground.make("x")
    leader = process.spawn(folder, ["sh", "-c", "setsid sleep 1000 & wait"])
    process.wait_until(folder, lambda: len(process._kin(folder, [leader])) == 2, "two processes", leader)
    (left,) = process._kin(folder, [leader]) - {leader}
    os.kill(leader.pid, signal.SIGKILL)
    assert process.ended(leader, 5) and process.alive(left)
    process.end(folder)
    assert not process.alive(left)


def test_a_process_that_got_a_dead_one_s_number_is_left_alone(ground: Ground) -> None:
    folder, stranger = ground.make("x"), ground.make("y")
    other = process.spawn(stranger, ["sleep", "1000"])
    (folder / "pids.json").write_text(f'[{{"pid": {other.pid}, "birth": {other.birth - 1}, "name": "old"}}]')
    process.end(folder)
    assert process.alive(other)
    process.end(stranger)
    assert not process.alive(other)


def test_a_server_that_ignores_term_is_killed(ground: Ground) -> None:
    folder = ground.make("x")
    deaf = process.spawn(folder, ["sh", "-c", "trap '' TERM; echo deaf; while :; do sleep 1; done"])
    process.wait_until(folder, lambda: "deaf" in process.tail(folder), "trap", deaf)
    process.end(folder, grace_s=0.2)
    assert not process.alive(deaf)


def test_a_server_that_dies_at_its_start_is_told_with_its_last_words(ground: Ground) -> None:
    folder = ground.make("x")
    dead = process.spawn(folder, ["sh", "-c", "echo no such port; sleep 0.2; exit 1"])
    with pytest.raises(ServiceFailed, match="no such port"):
        process.wait_until(folder, lambda: False, "server", dead)


def test_free_ports_are_distinct_and_unused() -> None:
    found = ports.free(20)
    assert len(set(found)) == 20
    assert not any(ports.answers(port) for port in found)


def test_a_checkout_s_run_folder_is_short_and_open_however_the_checkout_lies(tmp_path: Path) -> None:
    base = tmp_path / ("deep" * 20)
    base.mkdir(mode=0o700)
    ground = prepared(base)
    try:
        assert len(str(ground.run)) <= 28
        for folder in (ground.run, ground.cache):
            assert all(parent.stat().st_mode & 0o001 for parent in (folder, *folder.parents))
        assert prepared(base) == ground
    finally:
        ground.run.rmdir()
        ground.cache.rmdir()


def test_needs_come_first_and_once() -> None:
    ordered = lifecycle.with_needs(["rucio", "xrootd_tls"])
    assert ordered.index("pki") < ordered.index("oidc") < ordered.index("xrootd_tls") < ordered.index("rucio")
    assert len(set(ordered)) == len(ordered)


def test_a_service_lives_until_its_last_user_lets_go_and_is_started_again_when_it_died(other_checkout: Ground) -> None:
    ground = other_checkout
    try:
        first, second = lifecycle.Holder(ground), lifecycle.Holder(ground)
        endpoint = lifecycle.up(ground, ["s3"], first)["s3"]
        assert lifecycle.up(ground, ["s3"], second)["s3"] == endpoint
        first.release()
        (server,) = process.leaders(ground.folder("s3"))
        os.kill(server.pid, signal.SIGKILL)
        assert process.ended(server, 5)
        again = lifecycle.up(ground, ["s3"], second)["s3"]
        assert again["instance"] != endpoint["instance"]
        assert ports.answers(again["port"])
        second.release()
        assert not ports.answers(again["port"])
        assert not ground.folder("s3").exists()
    finally:
        lifecycle.down(ground, ["s3"])


USER = """
import sys, pathlib
from tests.system.services import lifecycle
from tests.system.services.ground import Ground
ground = Ground(cache=pathlib.Path(sys.argv[1]), run=pathlib.Path(sys.argv[2]))
lifecycle.up(ground, ["s3"], lifecycle.Holder(ground))
print("up", flush=True)
sys.stdin.read()
"""


def test_the_next_session_ends_what_a_killed_one_left(other_checkout: Ground) -> None:
    ground = other_checkout
    killed = subprocess.Popen(
        [sys.executable, "-c", USER, str(ground.cache), str(ground.run)],
        cwd=Path(__file__).parents[2],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    with killed:
        assert killed.stdout and killed.stdout.readline() == b"up\n"
        killed.kill()
    (left,) = process.leaders(ground.folder("s3"))
    next_one = lifecycle.Holder(ground)
    lifecycle.up(ground, ["s3"], next_one)
    next_one.release()
    assert not process.alive(left)
    assert not ground.folder("s3").exists()


GUARDED = USER.replace(
    "lifecycle.up(",
    "from tests.system.services.guard import guarded\nstay = guarded(ground)\nstay.__enter__()\nlifecycle.up(",
)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_servers_end_with_the_session_that_is_killed_without_another_one(
    other_checkout: Ground, number: signal.Signals
) -> None:
    ground = other_checkout
    killed = subprocess.Popen(
        [sys.executable, "-c", GUARDED, str(ground.cache), str(ground.run)],
        cwd=Path(__file__).parents[2],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    with killed:
        assert killed.stdout and killed.stdout.readline() == b"up\n"
        (server,) = process.leaders(ground.folder("s3"))
        assert process.alive(server)
        killed.send_signal(number)
    assert process.ended(server, 60)
    deadline = time.monotonic() + 60
    while ground.folder("s3").exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not ground.folder("s3").exists()
