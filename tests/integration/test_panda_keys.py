"""Keys of an object store come from the job server, reach the copy tool, and are nowhere else."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from pilot.core.errors import CommunicationFailure, RequestRefused
from pilot.core.storage import Access, Storage
from pilot.lib.keyring import KeyRing
from pilot.lib.program import own_command, own_environment
from pilot.lib.redact import Redactor
from tests.bench import shell_job
from tests.copytools.s3server import S3Handler, serving_s3
from tests.panda_script import PandaScript
from tests.scripted_server import Server

ACCESS, SECRET = "planted-access-1a2b3c", "planted-secret-4d5e6f"
NAMES = {"access_key": "os.public", "secret_key": "os.private"}
BUCKET = "bucket/outputs"


class Signed(S3Handler):
    """Notes by whose key each request was signed."""

    def split(self) -> tuple[str, Path]:
        found = super().split()
        signer = parse_qs(urlsplit(self.path).query).get("X-Amz-Credential", [""])[0].partition("/")[0]
        self.server.seen.append(("signed", signer, {}))
        return found


@pytest.fixture(params=["v1", "classic"])
def script(request: pytest.FixtureRequest) -> Iterator[PandaScript]:
    made = PandaScript(request.param)
    if request.param == "v1":
        keys = {"public_key": ACCESS, "private_key": SECRET}
        made.routes["/api/v1/creds/get_key_pair"] = lambda asked: {"success": True, "message": "", "data": keys}
    else:
        keys = {"publicKey": ACCESS, "privateKey": SECRET}
        made.routes["/server/panda/getKeyPair"] = lambda asked: {"StatusCode": 0, **keys}
    server = Server(made)
    yield made
    server.close()


def run_pilot(script: PandaScript, tmp_path: Path, store: str) -> subprocess.CompletedProcess[bytes]:
    """One pilot of a queue whose outputs go to an object store."""
    protocols = [{"id": 7, "endpoint": store.replace("http://", "s3://"), "path": f"/{BUCKET}"}]
    record = {
        "type": "OS_ES", "arprotocols": {"write_lan": protocols}, "rprotocols": {"7": {"settings": NAMES}},
    }  # fmt: skip
    queue = {"nickname": "Q", "copytools": {"objectstore": {}}, "astorages": {"write_lan": ["OS"]}}
    (tmp_path / "queue.json").write_text(json.dumps(queue))
    (tmp_path / "storages.json").write_text(json.dumps({"OS": record}))
    words = ["--url", script.url, "--queue", "Q", "--jobs", "1", "--workdir", str(tmp_path / "work"), "--wait", "0.1"]
    words += ["--queuedata-url", str(tmp_path / "queue.json"), "--storagedata-url", str(tmp_path / "storages.json")]
    clean = {key: value for key, value in own_environment().items() if not key.startswith(("AWS_", "S3"))}
    return subprocess.run(
        [*own_command("run", *words), "--cleanup", "none", "--log-level", "debug", "--stageout-attempts", "1"],
        env={**clean, "HOME": str(tmp_path)}, capture_output=True, timeout=90, check=False,
    )  # fmt: skip


def test_outputs_go_to_an_object_store_with_the_keys_of_the_server_and_nobody_sees_them(
    script: PandaScript, tmp_path: Path
) -> None:
    (tmp_path / "s3" / "bucket").mkdir(parents=True)
    script.jobs = [shell_job(1, "env > out.txt; tr '\\0' ' ' < /proc/$PPID/environ >> out.txt", outputs=("out.txt",))]
    with serving_s3(tmp_path / "s3", Signed) as store:
        done = run_pilot(script, tmp_path, store.url)
        signers = {path for verb, path, _ in store.seen if verb == "signed"}
    assert done.returncode == 0, done.stderr
    assert signers == {ACCESS}
    stored = [path for path in (tmp_path / "s3").rglob("*") if path.is_file()]
    assert {path.name for path in stored} == {"out.txt", "job.1.log.tgz"}
    asked = [request for request in script.asked if "key_pair" in request.path or "KeyPair" in request.path]
    assert len(asked) == 1, "once for all files"
    everything = {str(path): path.read_bytes() for path in (tmp_path / "work").rglob("*") if path.is_file()}
    everything |= {"stderr": done.stderr, "stdout": done.stdout, "told": json.dumps(script.updates).encode()}
    everything |= {str(path): path.read_bytes() for path in stored}
    assert any(name.endswith("pilot.db") for name in everything)
    for name, content in everything.items():
        assert ACCESS.encode() not in content and SECRET.encode() not in content, name
    assert b"got the key pair os.public" in done.stderr


def test_a_server_that_does_not_give_the_keys_fails_the_output_with_a_reason(
    script: PandaScript, tmp_path: Path
) -> None:
    for path in [path for path in script.routes if "eyPair" in path or "key_pair" in path]:
        script.routes[path] = lambda asked: (403, "forbidden")
    script.jobs = [shell_job(1, "echo > out.txt", outputs=("out.txt",))]
    (tmp_path / "s3" / "bucket").mkdir(parents=True)
    with serving_s3(tmp_path / "s3") as store:
        assert run_pilot(script, tmp_path, store.url).returncode == 0
    told = {name.lower().replace("_", ""): value for name, value in script.updates[-1].items()}
    assert "no key pair" in told["piloterrordiag"] and (told.get("state") or told.get("jobstatus")) == "failed"


def storage(prefix: str, **settings: str) -> Storage:
    return Storage("OS", accesses=(Access(prefix, settings={**NAMES, **settings}),))


def test_the_longest_prefix_tells_the_keys_and_keys_are_fetched_once() -> None:
    fetched: list[tuple[str, str]] = []

    def fetch(public: str, private: str) -> tuple[str, str]:
        fetched.append((public, private))
        return f"key-of-{public}", "private-key"

    redactor = Redactor()
    ring = KeyRing(fetch, redactor.add)
    ring.know([storage("s3://host:9000/b/"), storage("s3://host:9000/b/deep", access_key="d", is_secure="true")])
    assert ring.keys("host:9000/bc/file") is None and ring.keys("other/b/file") is None and not fetched
    plain = ring.keys("host:9000/b/file")
    deep = [ring.keys("host:9000/b/deep/file") for _ in range(2)][-1]
    assert plain is not None and deep is not None
    assert (plain.access, plain.endpoint) == ("key-of-os.public", "")
    assert (deep.access, deep.endpoint) == ("key-of-d", "https://host:9000")
    assert fetched == [("os.public", "os.private"), ("d", "os.private")]
    assert redactor.scrub("private-key key-of-d") == "[secret] [secret]"


def test_a_ring_that_got_no_keys_asks_again_with_the_next_file() -> None:
    answers: list[Any] = [CommunicationFailure("down"), RequestRefused("no"), ("access-key", "secret-key")]

    def fetch(public: str, private: str) -> tuple[str, str]:
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    ring = KeyRing(fetch, lambda values: None)
    ring.know([storage("s3://h:1/b")])
    with pytest.raises(CommunicationFailure):
        ring.keys("h:1/b/f")
    with pytest.raises(RequestRefused):
        ring.keys("h:1/b/f")
    found = ring.keys("h:1/b/f")
    assert found is not None and found.secret == "secret-key" and "secret-key" not in repr(found)
