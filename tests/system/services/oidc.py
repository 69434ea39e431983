"""A token issuer: discovery, keys and a token endpoint over TLS, its tokens shaped as the WLCG profile 1.0 says."""

import sys
from pathlib import Path

from tests.system.services import packages, pki, ports
from tests.system.services.ground import Endpoint, Ground
from tests.system.services.process import spawn, wait_until
from tests.system.services.tokens import ANY_AUDIENCE, minted

NEEDS = ("pki",)
PACKAGES = packages.PKI

CLIENT, SECRET = "pilot-test", "pilot-test-secret-of-loopback"


def install(ground: Ground) -> None:
    """Nothing beside the packages."""


def start(ground: Ground) -> Endpoint:
    """The endpoint's `token` may read and write everything for a day; others are made by `tokens.minted(endpoint)` or
    asked for at `token_endpoint` with `client_id` and `client_secret` (grant client_credentials)."""
    folder = ground.folder("oidc")
    trust = ground.endpoint("pki")
    pki.run(folder, "openssl genrsa -out issuer.key 2048")
    (port,) = ports.free()
    issuer = f"https://localhost:{port}"
    server = spawn(
        folder,
        [sys.executable, "-I", Path(__file__).with_name("oidc_server.py"), str(port), trust["host_cert"],
         trust["host_key"], folder / "issuer.key", CLIENT, SECRET],
        name="oidc",
    )  # fmt: skip
    wait_until(folder, lambda: ports.answers(port), "token issuer", server)
    endpoint: Endpoint = {
        "issuer": issuer,
        "token_endpoint": f"{issuer}/token",
        "jwks": f"{issuer}/jwks",
        "key": str(folder / "issuer.key"),
        "audience": ANY_AUDIENCE,
        "client_id": CLIENT,
        "client_secret": SECRET,
        "ca": trust["ca"],
    }
    token = folder / "token"
    token.write_text(minted(endpoint, lifetime_s=86400))
    token.chmod(0o600)
    return {**endpoint, "token_file": str(token)}
