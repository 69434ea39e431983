"""JSON web tokens signed by the test issuer's key with the openssl program."""

import base64
import json
import subprocess
import time
import uuid
from collections.abc import Mapping
from typing import Any

ANY_AUDIENCE = "https://wlcg.cern.ch/jwt/v1/any"
KEY_ID = "pilot-test"
ALL_OF_STORAGE = "storage.read:/ storage.modify:/"


def minted(oidc: Mapping[str, Any], scope: str = ALL_OF_STORAGE, *, lifetime_s: float = 600, **claims: object) -> str:
    """A token of the WLCG profile from the issuer whose endpoint is given; `claims` replace or add claims. A negative
    lifetime gives an expired token."""
    now = int(time.time())
    body = {
        "wlcg.ver": "1.0",
        "iss": oidc["issuer"],
        "sub": "pilot-test",
        "aud": oidc["audience"],
        "scope": scope,
        "jti": str(uuid.uuid4()),
        "nbf": now - 3600,
        "iat": now - 3600,
        "exp": int(now + lifetime_s),
        **claims,
    }
    return signed(body, oidc["key"])


def signed(body: Mapping[str, object], key: str) -> str:
    """The claims as a compact RS256 token."""
    head = {"alg": "RS256", "typ": "JWT", "kid": KEY_ID}
    text = ".".join(_base64(json.dumps(part).encode()) for part in (head, body))
    made = subprocess.run(
        ["openssl", "dgst", "-sha256", "-sign", key], input=text.encode(), capture_output=True, check=True
    )
    return f"{text}.{_base64(made.stdout)}"


def public_keys(key: str) -> dict[str, list[dict[str, str]]]:
    """The key set a verifier fetches."""
    asked = subprocess.run(
        ["openssl", "rsa", "-in", key, "-noout", "-modulus"], capture_output=True, text=True, check=True
    )
    modulus = bytes.fromhex(asked.stdout.strip().removeprefix("Modulus="))
    exponent = (65537).to_bytes(3, "big")
    return {
        "keys": [
            {"kty": "RSA", "kid": KEY_ID, "use": "sig", "alg": "RS256", "n": _base64(modulus), "e": _base64(exponent)}
        ]
    }


def _base64(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()
