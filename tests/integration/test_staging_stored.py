"""What is stored for web servers is shown to them alone; and sources that are elsewhere, for links and moves."""

import base64
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from tests.copytools.s3server import serving_s3
from tests.copytools.webserver import WebServer, serving
from tests.integration.test_staging_cli import pilot

BASIC = "Basic " + base64.b64encode(b"me:p@w").decode()


def place(url: object, **more: object) -> dict[str, object]:
    return {"site_label": "x", "url": str(url), **more}


def fetch(tmp_path: Path, *sources: object, to: str = "", **environment: str) -> tuple[int, str]:
    ends = [source if isinstance(source, dict) else place(source) for source in sources]
    entry = {"type": "transfer", "lfn": "f", "src_urls": ends, "dest_urls": [place(to or f"file://{tmp_path}/got")]}
    env = {"HOME": str(tmp_path), **environment}
    done = pilot("transfer", "-m", 1, cwd=tmp_path, stdin=json.dumps([entry]), **env)
    return done.returncode, done.stdout + done.stderr


def stored(path: Path, section: str, *lines: str, mode: int = 0o600) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join((f"[{section}]", *lines, "")))
    path.chmod(mode)
    return str(path)


@contextmanager
def leading_to(url: str) -> Iterator[str]:
    """A server that sends everybody elsewhere."""

    class Elsewhere(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(302)
            self.send_header("Location", url)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Elsewhere)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.fixture
def server(tmp_path: Path) -> Iterator[WebServer]:
    (tmp_path / "www").mkdir()
    (tmp_path / "www" / "f").write_text("data")
    (tmp_path / "www" / "a").mkdir()
    (tmp_path / "www" / "a" / "f").write_text("data")
    with serving(tmp_path / "www") as made:
        yield made


def shown_to(server: WebServer) -> dict[str, str]:
    headers: dict[str, str] = server.seen[-1][2]
    return {name.lower(): value for name, value in headers.items()}


def test_headers_of_the_file_go_to_their_server(server: WebServer, tmp_path: Path) -> None:
    host = server.url.partition("://")[2]
    for section in (f"http://{host}", host):
        path = stored(tmp_path / "keys", section, "header.X-Api = k")
        assert fetch(tmp_path, f"{server.url}/f", PEGASUS_CREDENTIALS=path)[0] == 0
        assert shown_to(server)["x-api"] == "k"
    path = stored(tmp_path / "keys", "another:1", "header.X-Api = k")
    assert fetch(tmp_path, f"{server.url}/f", PEGASUS_CREDENTIALS=path)[0] == 0
    assert "x-api" not in shown_to(server)


def test_a_user_is_named_by_the_file_of_the_home_or_by_the_url(server: WebServer, tmp_path: Path) -> None:
    host = server.url.partition("://")[2]
    stored(tmp_path / ".pegasus" / "credentials.conf", host, "username = me", "password = p@w")
    assert fetch(tmp_path, f"webdav://{host}/f")[0] == 0
    assert shown_to(server)["authorization"] == BASIC
    code, said = fetch(tmp_path, f"http://me:p%40w@{host}/missing")
    assert code == 1 and "p%40w" not in said and "p@w" not in said
    assert shown_to(server)["authorization"] == BASIC


def test_nothing_stored_follows_to_another_server(server: WebServer, tmp_path: Path) -> None:
    with leading_to(f"{server.url}/f") as host:
        path = stored(tmp_path / "keys", host, "header.X-Api = k", "username = me", "password = p")
        assert fetch(tmp_path, f"http://{host}/f", PEGASUS_CREDENTIALS=path)[0] == 0
    assert "x-api" not in shown_to(server) and "authorization" not in shown_to(server)


def test_a_file_that_others_can_read_is_not_used(server: WebServer, tmp_path: Path) -> None:
    host = server.url.partition("://")[2]
    path = stored(tmp_path / "keys", host, "header.X-Api = k", mode=0o644)
    code, said = fetch(tmp_path, f"{server.url}/f", PEGASUS_CREDENTIALS=path)
    assert code == 1 and "chmod 600" in said and not server.seen


def test_an_address_that_is_none_is_told_without_its_secret(tmp_path: Path) -> None:
    code, said = fetch(tmp_path, "http://me:pa55w0rd@host:port/f")
    assert code == 1 and "no web address" in said and "pa55w0rd" not in said and "ValueError" not in said


@pytest.mark.parametrize("scheme", ["symlink", "moveto"])
def test_a_link_or_a_move_from_elsewhere_is_a_copy(scheme: str, server: WebServer, tmp_path: Path) -> None:
    ends = (place(f"file://{tmp_path}/nope", priority=9), place(f"{server.url}/f", priority=1))
    assert fetch(tmp_path, *ends, to=f"{scheme}://{tmp_path}/got")[0] == 0
    assert (tmp_path / "got").read_text() == "data" and not (tmp_path / "got").is_symlink()
    assert fetch(tmp_path, place(f"{server.url}/f"), to=f"{scheme}://{tmp_path}/two/")[0] == 0
    assert (tmp_path / "two" / "f").read_text() == "data"


def test_slashes_too_many_are_taken_for_one(server: WebServer, tmp_path: Path) -> None:
    assert fetch(tmp_path, f"{server.url}//a///f?u=x://y")[0] == 0
    assert server.seen[-1][1] == "/a/f"
    from pilot.staging.request import read_request

    urls = {"root://h/a//b": "root://h//a/b", "root://h//a": "root://h//a", "s3://u@s//b//k": "s3://u@s/b/k"}
    urls |= {
        "http://h": "http://h",
        "http://h/": "http://h/",
        "gs://b//k/": "gs://b/k/",
        "http://h/a?b//c": "http://h/a?b//c",
    }
    for written, meant in urls.items():
        entry = {"type": "transfer", "src_urls": [place(written)], "dest_urls": [place("/x/y")]}
        (found,) = read_request(json.dumps([entry]).encode(), {}, "/").transfers
        assert found.sources[0].url == meant
        entry = {"type": "transfer", "sources": [written], "targets": ["/x/y"]}
        (found,) = read_request(json.dumps([entry]).encode(), {}, "/").transfers
        assert found.sources[0].url == written, "our own lists are taken as they stand"


def test_a_bucket_that_is_not_there_is_made_for_those_who_name_their_site(tmp_path: Path) -> None:
    with serving_s3(tmp_path / "s3") as server:
        keys = tmp_path / "keys"
        keys.write_text(f"[site]\nendpoint = {server.url}\n[me@site]\naccess_key = AAAAAAAA\nsecret_key = SSSSSSSS\n")
        keys.chmod(0o600)
        (tmp_path / "f").write_text("data")

        def run(*entries: object) -> int:
            env = {"HOME": str(tmp_path), "PEGASUS_CREDENTIALS": str(keys)}
            return pilot("transfer", "-m", 1, cwd=tmp_path, stdin=json.dumps(entries), **env).returncode

        assert run({"type": "mkdir", "target": place("s3://me@site/made/below")}) == 0
        assert (tmp_path / "s3" / "made").is_dir()
        put = {"type": "transfer", "lfn": "f", "src_urls": [place(tmp_path / "f")]}
        assert run({**put, "dest_urls": [place("s3://me@site//new//a/f")]}) == 0
        assert (tmp_path / "s3" / "new" / "a" / "f").read_text() == "data"
        host = server.url.partition("://")[2]
        assert run({**put, "dest_urls": [place(f"s3://{host}/other/a/f")]}) == 1
        assert not (tmp_path / "s3" / "other").exists()
