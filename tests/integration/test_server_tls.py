"""TLS to servers of the grid."""

import http.server
import ssl
import subprocess
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from pilot.lib.tls import client_context


@pytest.fixture
def old_authority(tmp_path: Path) -> Iterator[tuple[str, Path]]:
    """The URL of a server whose certificate comes from an authority without key usage, and that authority."""
    key = "-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -keyout"
    (tmp_path / "more").write_text("subjectAltName=IP:127.0.0.1")
    for words in (
        f"req -x509 {key} ca.key -subj /CN=Old -days 2 -out ca.pem",
        f"req {key} host.key -subj /CN=127.0.0.1 -out host.csr",
        "x509 -req -in host.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 1 -extfile more -out host.pem",
    ):
        subprocess.run(["openssl", *words.split()], cwd=tmp_path, check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "host.pem", tmp_path / "host.key")
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), http.server.BaseHTTPRequestHandler) as server:
        server.handle_error = lambda request, client: None  # type: ignore[method-assign]
        server.socket = context.wrap_socket(server.socket, server_side=True)
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"https://127.0.0.1:{server.server_address[1]}/", tmp_path / "ca.pem"
        server.shutdown()
        thread.join()


def test_an_authority_without_the_extensions_of_today_is_trusted_if_it_is_named(
    old_authority: tuple[str, Path],
) -> None:
    url, authority = old_authority
    with pytest.raises(urllib.error.HTTPError, match="501") as answered:
        urllib.request.urlopen(url, timeout=20, context=client_context(str(authority)))
    answered.value.close()
    with pytest.raises(urllib.error.URLError, match="CERTIFICATE_VERIFY_FAILED"):
        urllib.request.urlopen(url, timeout=20, context=client_context())
