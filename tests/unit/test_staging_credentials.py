import base64
import os
from pathlib import Path

import pytest

from pilot.core.staging import ToolSettings
from pilot.core.transfer import Endpoint, Transfer
from pilot.lib.certificate import not_after, roles_end, voms_role
from pilot.lib.credentials import BadCredential, check_private, named_file, s3_keys
from pilot.lib.urls import shown
from pilot.staging.credentials import settings_at
from tests.copytools.making import carry

SEED = "[default]\naccess_key = A\nsecret_key = S\nhost_base = s3.host:9000\nuse_https = False\n"
PEGASUS = "[site]\nendpoint = https://s3.site\nregion = eu\n[me@site]\naccess_key = B\nsecret_key = T\n"


def private(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(0o600)
    return path


def test_the_order_is_s3cfg_home_pegasus_aws(tmp_path: Path) -> None:
    home = tmp_path / "home"
    env = {"HOME": str(home), "AWS_ACCESS_KEY_ID": "C", "AWS_SECRET_ACCESS_KEY": "U"}
    found = s3_keys(env)
    assert found and (found.access, found.origin) == ("C", "AWS_ACCESS_KEY_ID")
    private(home / ".pegasus" / "credentials.conf", PEGASUS)
    found = s3_keys(env)
    assert found and (found.access, found.endpoint, found.region) == ("B", "https://s3.site", "eu")
    env["PEGASUS_CREDENTIALS"] = str(private(tmp_path / "p", PEGASUS.replace("= B", "= D")))
    found = s3_keys(env, "me", "site")
    assert found and found.access == "D"
    private(home / ".s3cfg", SEED)
    found = s3_keys(env)
    assert found and (found.access, found.endpoint) == ("A", "http://s3.host:9000")
    env["S3CFG"] = str(private(tmp_path / "s", SEED.replace("= A", "= E")))
    found = s3_keys(env)
    assert found and found.access == "E" and "S3CFG" in found.origin


def test_a_user_of_the_url_is_not_given_the_keys_of_somebody_else(tmp_path: Path) -> None:
    env = {"PEGASUS_CREDENTIALS": str(private(tmp_path / "p", PEGASUS))}
    assert s3_keys(env, "you", "site") is None


def test_a_site_s_own_file_comes_first(tmp_path: Path) -> None:
    env = {"S3CFG": "/general", "S3CFG_my_site": "/own"}
    assert named_file(env, "S3CFG", "my-site") == ("/own", "S3CFG_my_site")
    assert named_file(env, "S3CFG", "other") == ("/general", "S3CFG")
    assert named_file(env, "X509_USER_PROXY", "other") == ("", "")


def test_a_file_that_a_batch_system_put_here_is_found_by_its_last_part(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    private(tmp_path / "keys", SEED)
    assert named_file({"S3CFG": "/submit/host/only/keys"}, "S3CFG") == (str(tmp_path / "keys"), "S3CFG")


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o777])
def test_what_others_can_read_is_refused_and_told_how_to_mend(mode: int, tmp_path: Path) -> None:
    path = private(tmp_path / "s", SEED)
    path.chmod(mode)
    with pytest.raises(BadCredential, match="chmod 600"):
        s3_keys({"S3CFG": str(path)})
    path.chmod(0o400)
    assert check_private(str(path)) == str(path)


def test_a_broken_file_is_named_without_its_content(tmp_path: Path) -> None:
    path = private(tmp_path / "s", "secret_key = topsecret")
    with pytest.raises(BadCredential) as caught:
        s3_keys({"S3CFG": str(path)})
    assert str(path) in str(caught.value) and "topsecret" not in str(caught.value)
    with pytest.raises(BadCredential, match="nowhere"):
        s3_keys({"S3CFG": "/nowhere/s"})


def test_the_printed_form_of_keys_shows_no_secret(tmp_path: Path) -> None:
    assert "'S'" not in repr(s3_keys({"S3CFG": str(private(tmp_path / "s", SEED))}))


@pytest.mark.parametrize(
    ("url", "clean"),
    [
        ("https://u:pw@h/f", "https://u:...@h/f"),
        ("https://h/f?X-Amz-Signature=abc&x=1", "https://h/f?X-Amz-Signature=...&x=1"),
        ("root://h//f?authz=Bearer%20abc", "root://h//f?authz=..."),
        ("https://h/f?sig=abc", "https://h/f?sig=..."),
        ("failed: https://h/f?access_token=abc: 403", "failed: https://h/f?access_token=... 403"),
        ("/plain/path?token=x", "/plain/path?token=x"),
        ("https://h/design?signal=5", "https://h/design?signal=5"),
    ],
)
def test_a_url_is_shown_without_its_secrets(url: str, clean: str) -> None:
    assert shown(url) == clean


def test_the_end_of_a_certificate_is_read(tmp_path: Path) -> None:
    import ssl

    path = Path(ssl.get_default_verify_paths().cafile or "")
    if not path.is_file():
        pytest.skip("no certificates on this machine")
    assert not_after(str(path)) > 1_500_000_000
    (tmp_path / "junk").write_bytes(os.urandom(100))
    with pytest.raises(ValueError, match="no certificate"):
        not_after(str(tmp_path / "junk"))
    (tmp_path / "cut").write_text("-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n")
    with pytest.raises(ValueError, match="cannot be read"):
        not_after(str(tmp_path / "cut"))


def test_a_site_s_own_credentials_come_before_the_general_ones(tmp_path: Path) -> None:
    general = ToolSettings(
        environment={
            "X509_USER_PROXY": "/general",
            "X509_USER_PROXY_usc_hpc": str(tmp_path / "own"),
            "BEARER_TOKEN_FILE": "/general-token",
            "BEARER_TOKEN_ligo": "secret",
            "S3CFG_cloud": str(tmp_path / "keys"),
        },
        proxy_file="/general",
        token_file="/general-token",
    )
    assert settings_at(general, "") is general
    assert settings_at(general, "elsewhere") is general
    own = settings_at(general, "usc-hpc")
    assert (own.proxy_file, own.environment["X509_USER_PROXY"]) == (str(tmp_path / "own"), str(tmp_path / "own"))
    assert own.token_file == "/general-token"
    token = settings_at(general, "ligo")
    assert (token.token_file, token.environment["BEARER_TOKEN"]) == ("", "secret")
    assert "BEARER_TOKEN_FILE" not in token.environment
    assert settings_at(general, "cloud").environment["S3CFG"] == str(tmp_path / "keys")


@pytest.mark.parametrize("end", ["source", "target"])
def test_a_proxy_that_others_can_read_is_shown_to_nobody(end: str, tmp_path: Path) -> None:
    proxy = tmp_path / "proxy"
    proxy.write_text("secret")
    proxy.chmod(0o644)
    tools = ToolSettings(environment={"X509_USER_PROXY_far": str(proxy)})
    here, far = Endpoint(str(tmp_path / "f")), Endpoint("davs://127.0.0.1:1/f", site="far")
    ends = {"sources": (far,), "targets": (here,)} if end == "source" else {"sources": (here,), "targets": (far,)}
    (tmp_path / "f").write_bytes(b"x")
    (outcome,) = carry([Transfer("f", **ends)], tools)
    assert outcome.failure is not None and outcome.failure.code == 1364, outcome.failure
    assert "chmod 600" in outcome.failure.message and not outcome.attempts


def test_a_refusal_here_is_not_blamed_on_an_old_proxy(tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(b"x")
    (tmp_path / "o").write_bytes(b"x")
    tools = ToolSettings(proxy_file=str(tmp_path / "nothing"))
    (outcome,) = carry(
        [Transfer("f", (Endpoint(f"{tmp_path}/f"),), (Endpoint(f"{tmp_path}/o"),))], tools, overwrite=False
    )
    assert outcome.failure is not None and outcome.failure.code == 1221


def attested(path: Path, *attributes: bytes, life: bytes = b"") -> str:
    """A file with two certificates, the second with these octet strings in it, as a delegated proxy's issuer has."""
    strings = b"".join(
        b"\x04" + (b"\x81" if len(a) > 127 else b"") + bytes([len(a)]) + a + b"\x30\x05" for a in attributes
    )
    blocks = [base64.encodebytes(der).decode() for der in (b"\x30\x00", b"\x30\x10" + life + strings)]
    path.write_text("".join(f"-----BEGIN CERTIFICATE-----\n{b}-----END CERTIFICATE-----\n" for b in blocks))
    return str(path)


LONG = b"/vo/" + b"g" * 150 + b"/Role=production"


@pytest.mark.parametrize(
    ("attributes", "role"),
    [
        ((b"/atlas/Role=production/Capability=NULL", b"/atlas/Role=NULL"), "atlas:/atlas/Role=production"),
        ((b"/atlas/Role=production",), "atlas:/atlas/Role=production"),
        ((b"/atlas/usatlas/Role=pilot",), "atlas:/atlas/usatlas/Role=pilot"),
        ((LONG,), f"vo:{LONG.decode()}"),
        ((b"/atlas/Role=NULL/Capability=NULL", b"/atlas/Role=production"), "atlas:/atlas/Role=production"),
        ((b"/atlas/Role=NULL/Capability=NULL",), ""),
        ((b"/atlas", b"/atlas/Role=production"), "atlas:/atlas/Role=production"),
        ((), ""),
    ],
)
def test_the_first_role_that_a_proxy_claims_is_known(tmp_path: Path, attributes: tuple[bytes, ...], role: str) -> None:
    assert voms_role(attested(tmp_path / "proxy", *attributes)) == role


def test_the_end_of_the_roles_is_known_where_a_proxy_has_any(tmp_path: Path) -> None:
    life = b"\x18\x0f20260101000000Z\x18\x0f20300102030405Z"
    assert roles_end(attested(tmp_path / "proxy", life=life)) == 1893553445.0
    assert roles_end(attested(tmp_path / "proxy")) is None
