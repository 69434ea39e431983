"""Options of the PanDA pilot and manners of its server that are rare: own jobs, several addresses, several orders."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pilot.cli import cvmfs
from pilot.cli.panda import panda_settings, settings_for_jobs
from pilot.core.errors import CommunicationFailure, CvmfsNotAlive, NoProxy
from pilot.core.exitcodes import exit_code_of
from pilot.core.queue import QueueData
from pilot.core.settings import Settings
from pilot.core.update import Answer, Command, Node
from pilot.lib.certificate import owner
from pilot.lib.http import Connection, HttpSettings
from pilot.plugins.sources.base import Capacity
from pilot.plugins.sources.dummy import DummySource
from pilot.plugins.sources.panda import PandaSource
from tests.bench import Bench, shell_job
from tests.certificates import Authority
from tests.panda_script import PandaScript
from tests.scripted_server import Scripted, Server

# one's own jobs


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


def test_a_proxy_tells_whose_it_is_without_its_own_parts(authority: Authority) -> None:
    assert owner(str(authority.proxy)) == owner(str(authority.user)) == "/CN=user"
    authority._run(
        "req -x509 -newkey rsa:2048 -nodes -keyout long.key -out long.pem -days 2 "
        "-subj /DC=org/DC=grid/C=CH/O=Lab/OU=Group/CN=Some-One/UID=some"
    )
    assert owner(str(authority.folder / "long.pem")) == "/DC=org/DC=grid/C=CH/O=Lab/OU=Group/CN=Some-One/UID=some"
    with pytest.raises(ValueError, match="holds no certificate"):
        owner(str(authority.folder / "long.key"))


@pytest.mark.parametrize(
    ("dialect", "label", "name"),
    [("v1", "prod_source_label", "prod_user_id"), ("classic", "prodSourceLabel", "prodUserID")],
)
def test_the_label_self_asks_for_user_jobs_of_ones_own(
    authority: Authority, dialect: str, label: str, name: str
) -> None:
    script = PandaScript(dialect)
    server = Server(script)
    chosen = Settings(url=script.url, queue="Q", label="self", dialect=dialect, proxy=str(authority.proxy))
    source = PandaSource(settings_for_jobs(chosen, Node()))
    source.acquire(Capacity(jobs=1))
    asked = script.asked[-1]
    body = asked.json() if dialect == "v1" else asked.form()
    assert (body[label], body[name]) == ("user", "/CN=user")
    source.close()
    server.close()


def test_without_a_name_nobody_elses_jobs_are_asked_for() -> None:
    chosen = Settings(url="http://h", label="self")
    assert panda_settings(chosen, Node()).label == "user"
    with pytest.raises(NoProxy, match="label self"):
        settings_for_jobs(chosen, Node())


# a server with several addresses


@pytest.fixture
def alive() -> Iterator[Scripted]:
    made = Scripted()
    made.routes["/"] = lambda asked: "alive"
    server = Server(made)
    yield made
    server.close()


def named(monkeypatch: pytest.MonkeyPatch, *places: tuple[str, int]) -> None:
    """Have the name `many.example` stand for these addresses."""

    def found(host: str, port: int, *words: Any, **more: Any) -> list[Any]:
        assert host == "many.example"
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", place) for place in places]

    monkeypatch.setattr(socket, "getaddrinfo", found)
    monkeypatch.setattr("random.shuffle", lambda found: None)


def test_an_address_that_takes_no_connection_is_passed_over(monkeypatch: pytest.MonkeyPatch, alive: Scripted) -> None:
    port = int(alive.url.rpartition(":")[2])
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        named(monkeypatch, closed.getsockname(), ("127.0.0.1", port))
        connection = Connection(HttpSettings())
        assert connection.exchange("GET", "http://many.example/").body == b"alive"
        connection.close()


def test_an_address_that_never_answers_is_not_asked_again(monkeypatch: pytest.MonkeyPatch, alive: Scripted) -> None:
    port = int(alive.url.rpartition(":")[2])
    silent = socket.create_server(("127.0.0.1", 0))
    named(monkeypatch, silent.getsockname(), ("127.0.0.1", port))
    connection = Connection(HttpSettings(silence_s=3.0))
    with pytest.raises(CommunicationFailure):
        connection.exchange("GET", "http://many.example/")
    for _ in range(2):
        assert connection.exchange("GET", "http://many.example/").body == b"alive"
        connection.close()
    silent.close()


def test_a_name_without_any_living_address_is_told_as_before(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        named(monkeypatch, closed.getsockname(), closed.getsockname())
        with pytest.raises(CommunicationFailure, match="refused"):
            Connection(HttpSettings()).exchange("GET", "http://many.example/")


# several orders in one answer


def test_all_orders_of_one_answer_are_carried_out(tmp_path: Path) -> None:
    job = shell_job(
        1, "echo deep > other.txt; echo first line; touch ../started; while [ ! -e ../go ]; do sleep 0.05; done"
    )
    source = DummySource([job])
    bench = Bench(tmp_path, source)
    orders = ("debug", "nocleanup", "tail payload.stdout", "ls other.txt", "tail ../../outside")
    commands = tuple(Command(word, rest) for word, _, rest in (order.partition(" ") for order in orders))

    def watch() -> None:
        while not (bench.workdir / "started").exists():
            threading.Event().wait(0.02)
        source.answers.append(Answer(True, commands=commands))
        with source.news:
            source.news.wait_for(lambda: any("[tail payload.stdout]" in u.stdout for u in source.told), 30)
            source.news.wait_for(lambda: any(u.stdout.startswith("[payload.stdout]") for u in source.told), 30)
        (bench.workdir / "go").touch()

    watcher = threading.Thread(target=watch)
    watcher.start()
    assert bench.run(patience_s=80.0, heartbeat=0.2, debug_heartbeat=0.2) == 0
    watcher.join()
    (said,) = {u.stdout for u in source.told if "[tail payload.stdout]" in u.stdout}
    assert said.splitlines()[:4] == ["[tail payload.stdout]", "first line", "[ls other.txt]", "other.txt"]
    assert "neither a known option nor inside the job's directory" in said
    assert any(u.stdout.startswith("[payload.stdout]\nfirst line") for u in source.told), "debug mode"
    assert (bench.directory(1) / "other.txt").exists(), "nocleanup"


# CVMFS


def checked(tmp_path: Path, how: str, **queue: Any) -> None:
    chosen = Settings(experiment="atlas", cvmfs_check=how)
    cvmfs.check_cvmfs(chosen, QueueData("Q", **queue), {"ATLAS_SW_BASE": str(tmp_path)}, limit_s=30.0)


def test_a_repository_that_is_not_there_ends_the_pilot_if_that_is_wanted(tmp_path: Path) -> None:
    with pytest.raises(CvmfsNotAlive, match=r"atlas\.cern\.ch: No such file") as caught:
        checked(tmp_path, "refuse")
    assert exit_code_of(caught.value.code) == 64
    checked(tmp_path, "off")
    checked(tmp_path, "refuse", cvmfs=False)
    for name in cvmfs.repositories("atlas"):
        (tmp_path / name / "repo").mkdir(parents=True)
    checked(tmp_path, "refuse")


def test_one_that_is_empty_or_hangs_is_as_good_as_absent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "empty").mkdir()
    assert cvmfs.look(tmp_path / "empty", 30.0) == f"{tmp_path}/empty is empty"
    stuck = threading.Event()
    monkeypatch.setattr(os, "listdir", lambda place: stuck.wait(30))
    assert "did not answer in 0.05 s" in cvmfs.look(tmp_path, 0.05)
    stuck.set()


def test_otherwise_it_is_a_warning_that_nobody_waits_for(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    checked(tmp_path, "warn")
    for thread in [thread for thread in threading.enumerate() if thread.name == "cvmfs-check"]:
        thread.join(30)
    assert "atlas.cern.ch: No such file or directory: payloads that need it will fail" in caplog.text
