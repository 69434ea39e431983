"""Who we are and whom we trust: certificates, proxies and keys over real TLS; what the server gives us."""

from __future__ import annotations

import json
import ssl
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import pytest

from pilot.core.credentials import Kind
from pilot.core.errors import CommunicationFailure, PilotError, RequestRefused, ServerNotTrusted
from pilot.core.update import Node
from pilot.lib.certificate import not_after
from pilot.lib.redact import Redactor
from pilot.plugins.sources.base import Capacity
from pilot.plugins.sources.panda import PandaSource
from pilot.plugins.sources.panda_credentials import CredentialWatch, Kept, PandaCredentials
from pilot.plugins.sources.panda_server import PandaServer
from pilot.plugins.sources.panda_settings import DialectName, PandaSettings
from pilot.plugins.sources.panda_types import PandaTypes
from pilot.plugins.sources.panda_worker import PandaWorker
from tests.certificates import Authority
from tests.panda_script import PandaScript
from tests.scripted_server import Scripted, Server

JOB = {"PandaID": 101}
Make = Callable[[PandaSettings], PandaWorker]


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("pki"))


@pytest.fixture
def secure(authority: Authority) -> Iterator[PandaScript]:
    """A v1 server over TLS that lets nobody in without a certificate or proxy of the authority."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(authority.host)
    context.load_verify_locations(authority.ca)
    context.verify_mode = ssl.CERT_REQUIRED
    context.verify_flags |= ssl.VERIFY_ALLOW_PROXY_CERTS
    script = PandaScript("v1", [JOB])
    server = Server(script, context)
    yield script
    server.close()


def ask(script: PandaScript, **settings: Any) -> int:
    panda = PandaSource(PandaSettings(url=script.url, queue="Q", answer_s=5.0, **settings))
    try:
        return len(panda.acquire(Capacity(jobs=1)).jobs)
    finally:
        panda.close()


@pytest.mark.parametrize("name", ["user", "proxy"])
def test_a_certificate_and_a_proxy_open_the_door(secure: PandaScript, authority: Authority, name: str) -> None:
    assert ask(secure, ca_file=str(authority.ca), proxy=str(getattr(authority, name))) == 1


def test_a_directory_of_authorities_is_trusted(secure: PandaScript, authority: Authority) -> None:
    assert ask(secure, ca_path=str(authority.hashed()), proxy=str(authority.proxy)) == 1


def test_a_proxy_named_as_authority_is_who_we_are(secure: PandaScript, authority: Authority) -> None:
    assert ask(secure, ca_file=str(authority.proxy), ca_path=str(authority.hashed())) == 1


def test_a_server_that_nobody_vouches_for_is_not_spoken_to(secure: PandaScript, authority: Authority) -> None:
    with pytest.raises(ServerNotTrusted, match="--cacert") as caught:
        ask(secure, proxy=str(authority.proxy))
    assert not caught.value.retry and secure.asked == []


def test_a_server_under_another_name_is_not_spoken_to(secure: PandaScript, authority: Authority) -> None:
    secure.url = secure.url.replace("127.0.0.1", "localhost")
    with pytest.raises(ServerNotTrusted):
        ask(secure, ca_file=str(authority.ca), proxy=str(authority.proxy))


def test_without_a_certificate_the_door_stays_shut(secure: PandaScript, authority: Authority) -> None:
    with pytest.raises(CommunicationFailure):
        ask(secure, ca_file=str(authority.ca))


def test_files_that_are_no_certificates_are_named(secure: PandaScript, authority: Authority, tmp_path: Path) -> None:
    (tmp_path / "x.pem").write_text("nothing")
    with pytest.raises(PilotError, match=r"x\.pem"):
        ask(secure, ca_file=str(authority.ca), proxy=str(tmp_path / "x.pem"))
    with pytest.raises(PilotError, match=r"x\.pem"):
        ask(secure, ca_file=str(tmp_path / "x.pem"), proxy=str(authority.proxy))


def test_a_proxy_that_was_renewed_on_disk_is_used_from_the_next_request_on(
    secure: PandaScript, authority: Authority, tmp_path: Path
) -> None:
    mine = tmp_path / "proxy"
    mine.write_text(authority.proxy.read_text())
    panda = PandaSource(PandaSettings(url=secure.url, queue="Q", ca_file=str(authority.ca), proxy=str(mine)))
    panda.acquire(Capacity(jobs=1))
    mine.write_text("no proxy any more")
    with pytest.raises(RequestRefused):
        panda.acquire(Capacity(jobs=1))
    mine.write_text(authority.user.read_text())
    panda.acquire(Capacity(jobs=1))
    assert len({request.client for request in secure.asked}) == 2
    panda.close()


def test_the_life_of_a_proxy_is_watched_and_a_new_one_is_fetched(authority: Authority, tmp_path: Path) -> None:
    fresh = authority.make_proxy("fresh")
    watch = CredentialWatch(
        [Kept(Kind.PROXY, authority.proxy, tmp_path / "own", fresh.read_text)], Redactor()
    )  # fmt: skip
    watch.begin(least_s=3600)
    assert 80_000 < not_after(str(tmp_path / "own")) - time.time() <= 86_400
    assert watch.look().renewed == ()


@pytest.fixture
def plain() -> Iterator[Scripted]:
    script = Scripted()
    server = Server(script)
    yield script
    server.close()


def good(data: Any) -> dict[str, Any]:
    return {"success": True, "message": "", "data": data}


def test_a_server_that_does_not_know_of_hardware_is_told_of_it_but_once(plain: Scripted) -> None:
    def acquire(asked: Any) -> dict[str, Any]:
        if "target_architecture" in json.loads(asked.body):
            words = "Argument error: got an unexpected keyword argument 'target_architecture'"
            return {"success": False, "message": words, "data": None}
        return {"success": False, "message": "No jobs in PanDA", "data": None}

    plain.routes["/api/v1/pilot/acquire_jobs"] = acquire
    panda = PandaSource(PandaSettings(url=plain.url, queue="Q", dialect=DialectName.V1, gpus=({"vendor": "NVIDIA"},)))
    for _ in range(2):
        assert panda.acquire(Capacity(jobs=1, gpus=1)).jobs == ()
    bodies = [json.loads(asked.body) for asked in plain.asked]
    assert [body.get("target_architecture") for body in bodies] == [{"gpus": [{"vendor": "NVIDIA"}]}, None, None]
    panda.close()


@pytest.fixture
def worker() -> Iterator[Make]:
    """Makes workers and closes them in the end."""
    with ExitStack() as stack:
        yield lambda settings: stack.enter_context(closing(PandaWorker(settings)))


def settings(script: Scripted, dialect: DialectName, **node: Any) -> PandaSettings:
    return PandaSettings(url=script.url, queue="Q", dialect=dialect, node=Node(host="wn", queue="Q", **node))


@pytest.mark.parametrize("key", ["user_proxy", "userProxy"])
def test_a_v1_server_gives_proxies_tokens_and_keys(plain: Scripted, key: str) -> None:
    creds = "/api/v1/creds/"
    plain.routes |= {
        f"{creds}get_proxy": lambda asked: good({key: "PEM"}),
        f"{creds}get_access_token": lambda asked: good({key: "TOKEN"}),
        f"{creds}get_key_pair": lambda asked: good({"public_key": "PUB", "private_key": "PRIV"}),
        f"{creds}get_token_key": lambda asked: good({"tokenKey": "TK"}),
    }
    server = PandaCredentials(settings(plain, DialectName.V1))
    assert server.proxy(role="atlas") == "PEM"
    assert server.access_token("abc") == "TOKEN"
    assert plain.asked[-1].query == {"client_name": ["pilot_server"], "token_key": ["abc"]}
    assert server.key_pair("a", "b") == ("PUB", "PRIV")
    assert plain.asked[-1].query == {"public_key_name": ["a"], "private_key_name": ["b"]}
    assert server.token_key() == "TK"
    server.close()


def test_a_classic_server_gives_them_under_its_names(plain: Scripted) -> None:
    base = "/server/panda/"
    plain.routes |= {
        f"{base}getProxy": lambda asked: {"StatusCode": 0, "userProxy": "PEM"},
        f"{base}getKeyPair": lambda asked: "StatusCode=0&publicKey=PUB&privateKey=PRIV",
        f"{base}get_access_token": lambda asked: {"StatusCode": 90, "errorDialog": "try later"},
    }
    server = PandaCredentials(settings(plain, DialectName.CLASSIC))
    assert server.proxy() == "PEM" and server.key_pair("a", "b") == ("PUB", "PRIV")
    assert plain.asked[-1].form() == {"publicKeyName": "a", "privateKeyName": "b"}
    with pytest.raises(CommunicationFailure, match="try later"):
        server.access_token("k")
    server.close()


def test_an_answer_without_the_credential_is_refused_and_shows_nothing(plain: Scripted) -> None:
    plain.routes["/api/v1/creds/get_key_pair"] = lambda asked: good({"public_key": "PUB-secret"})
    server = PandaCredentials(settings(plain, DialectName.V1))
    with pytest.raises(RequestRefused, match="private_key") as caught:
        server.key_pair("a", "b")
    assert "PUB-secret" not in str(caught.value)
    server.close()


def test_a_worker_is_told_of_only_when_it_is_known(worker: Make, plain: Scripted) -> None:
    plain.routes["/api/v1/pilot/update_worker_status"] = lambda asked: good(None)
    known = worker(settings(plain, DialectName.V1, harvester_id="h", worker_id=5))
    assert known.started() and known.finished()
    assert plain.asked[-1].json() == {"worker_id": "5", "harvester_id": "h", "status": "finished", "node_id": "wn"}
    assert not worker(settings(plain, DialectName.V1)).started()
    assert len(plain.asked) == 2
    plain.routes["/server/panda/updateWorkerPilotStatus"] = lambda asked: "StatusCode=0"
    worker(settings(plain, DialectName.CLASSIC, harvester_id="h", worker_id=5)).started()
    assert plain.asked[-1].form() == {
        "workerID": "5", "harvesterID": "h", "status": "started", "site": "Q", "node_id": "wn",
    }  # fmt: skip


def test_the_node_and_its_gpus_are_told_in_v1_and_left_to_metadata_before(worker: Make, plain: Scripted) -> None:
    plain.routes["/api/v1/pilot/update_worker_node"] = lambda asked: good(None)
    plain.routes["/api/v1/pilot/update_worker_node_gpu"] = lambda asked: good(None)
    facts = {"site": "S", "host_name": "h", "cpu_model": "M", "clock_speed": 2000.0}
    gpu = {"site": "S", "host_name": "h", "vendor": "NVIDIA", "model": "H200", "count": 2}
    assert worker(settings(plain, DialectName.V1)).node(facts, [gpu])
    assert [asked.json() for asked in plain.asked] == [facts, gpu]
    assert not worker(settings(plain, DialectName.CLASSIC)).node(facts, [gpu])


def test_resource_types_come_from_both_dialects(worker: Make, plain: Scripted) -> None:
    record = {"resource_name": "SCORE", "mincore": 1, "maxcore": 1, "maxrampercore": 2000}
    plain.routes["/api/v1/metaconfig/get_resource_types"] = lambda asked: good([record])
    plain.routes["/server/panda/getResourceTypes"] = lambda asked: {"StatusCode": 0, "ResourceTypes": [record]}
    for dialect in (DialectName.V1, DialectName.CLASSIC):
        server = PandaServer(settings(plain, dialect))
        assert PandaTypes(server).fetch()["SCORE"].most_memory_mb == 2000
        server.close()
