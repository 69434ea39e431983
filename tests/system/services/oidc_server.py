"""The token issuer's process: PORT CERTIFICATE KEY ISSUER_KEY CLIENT SECRET. Standard library only."""

import base64
import json
import ssl
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs

sys.path.insert(0, str(Path(__file__).resolve().parents[3]))

from tests.system.services.tokens import ALL_OF_STORAGE, ANY_AUDIENCE, minted, public_keys

LIFETIME_S = 600


class Issuer(ThreadingHTTPServer):
    """Knows its own address, its key and its one client."""

    daemon_threads = True

    def __init__(self, port: int, key: str, client: str, secret: str) -> None:
        super().__init__(("127.0.0.1", port), Answer)
        self.oidc = {"issuer": f"https://localhost:{port}", "key": key, "audience": ANY_AUDIENCE}
        self.client = (client, secret)
        self.keys = public_keys(key)


class Answer(BaseHTTPRequestHandler):
    """One request."""

    server: Issuer
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        issuer = self.server.oidc["issuer"]
        if self.path in ("/.well-known/openid-configuration", "/.well-known/oauth-authorization-server"):
            self._say(200, {
                "issuer": issuer, "jwks_uri": f"{issuer}/jwks", "token_endpoint": f"{issuer}/token",
                "grant_types_supported": ["client_credentials"], "response_types_supported": ["token"],
                "subject_types_supported": ["public"], "id_token_signing_alg_values_supported": ["RS256"],
                "token_endpoint_auth_methods_supported": ["client_secret_basic", "client_secret_post"],
            })  # fmt: skip
        elif self.path == "/jwks":
            self._say(200, self.server.keys)
        else:
            self._say(404, {"error": "not_found"})

    def do_POST(self) -> None:
        form = {
            name: values[0]
            for name, values in parse_qs(self.rfile.read(int(self.headers.get("Content-Length", 0))).decode()).items()
        }
        if self.path != "/token":
            self._say(404, {"error": "not_found"})
        elif self._client(form) != self.server.client:
            self._say(401, {"error": "invalid_client"})
        elif form.get("grant_type") != "client_credentials":
            self._say(400, {"error": "unsupported_grant_type"})
        else:
            scope = form.get("scope", ALL_OF_STORAGE)
            token = minted(self.server.oidc, scope, lifetime_s=LIFETIME_S, aud=form.get("audience", ANY_AUDIENCE))
            self._say(200, {"access_token": token, "token_type": "Bearer", "expires_in": LIFETIME_S, "scope": scope})

    def _client(self, form: dict[str, str]) -> tuple[str, str]:
        kind, _, word = self.headers.get("Authorization", "").partition(" ")
        if kind.lower() == "basic":
            name, _, secret = base64.b64decode(word).decode().partition(":")
            return name, secret
        return form.get("client_id", ""), form.get("client_secret", "")

    def _say(self, status: int, body: object) -> None:
        text = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)


def main() -> None:
    """Serves until ended."""
    port, certificate, key, issuer_key, client, secret = sys.argv[1:]
    server = Issuer(int(port), issuer_key, client, secret)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    server.serve_forever()


if __name__ == "__main__":
    main()
