"""Credentials that end soon are renewed by real PanDA servers, out of the folder where a server keeps new ones."""

from __future__ import annotations

import hashlib
import ssl
import subprocess
from pathlib import Path

import pytest
from msgspec.structs import replace

from pilot.core.errors import PilotError
from pilot.plugins.sources.panda_credentials import PandaCredentials
from pilot.plugins.sources.panda_settings import DialectName, PandaSettings
from tests.system.panda_site import WAITS_S, PandaSite
from tests.system.services.tokens import minted

ROLE = "/testvo/Role=production"
WAITING = "while [ ! -e go ]; do sleep 0.05; done; date > out.txt"


def proxy(site: PandaSite, name: str, hours: int, role: str = ROLE) -> Path:
    """A proxy of the user with that role, as voms-proxy-init would get it from the organisation's server."""
    made, pki = site.folder / name, site.pki
    subprocess.run(
        ["voms-proxy-fake", "-rfc", "-hours", str(hours), "-bits", "2048", "-cert", pki["user_cert"], "-key",
         pki["user_key"], "-voms", pki["vo"], "-fqan", role, "-hostcert", pki["host_cert"], "-hostkey",
         pki["host_key"], "-uri", "localhost:15000", "-certdir", pki["certificates"], "-out", str(made)],
        check=True, capture_output=True,
    )  # fmt: skip
    made.chmod(0o600)
    return made


def cached(site: PandaSite, name: str, text: str) -> None:
    """What the server's own daemon would have put there."""
    (Path(site.server["proxies"]) / name).write_text(text)


def of_proxy(path: Path) -> str:
    """By what the server's door knows its certificate."""
    begin, mark, _ = path.read_text().partition("-----END CERTIFICATE-----")
    pem = begin[begin.index("-----BEGIN") :] + mark
    return hashlib.sha256(ssl.PEM_cert_to_DER_cert(pem)).hexdigest()


def callers(site: PandaSite) -> tuple[str, str]:
    """With which certificate and which token the last report came."""
    path = "/server/panda/updateJob" if site.dialect == "classic" else "/api/v1/pilot/update_job"
    seen = site.session.get(f"{site.server['url']}/operate/callers", timeout=30).json()
    return tuple(seen[path])


def finished(site: PandaSite, number: int, own: Path, text: str, *options: str, token: bool = False) -> None:
    """A pilot's life: it gets the text for its own copy while a payload runs, and goes on with that to the end."""
    pilot = site.start(*options, token=token)
    site.wait(lambda: own.exists() and own.read_text() == text, "renewed")
    assert own.stat().st_mode & 0o777 == 0o600
    go = site.workdir / f"job-{number}.1" / "go"
    site.wait(go.parent.exists, "begun")
    go.touch()
    assert pilot.wait(WAITS_S) == 0, site.log()
    site.conclude()
    assert site.job(number)["jobstatus"] == "finished", site.log()


def test_a_proxy_that_ends_soon_is_renewed_with_its_role_and_used_from_then_on(panda_site: PandaSite) -> None:
    given, fresh = proxy(panda_site, "given", 1), proxy(panda_site, "fresh", 12)
    before = given.read_text()
    plain = hashlib.sha1(panda_site.pki["user_dn"].encode()).hexdigest()
    cached(panda_site, plain, proxy(panda_site, "plain", 12, "/testvo/Role=pilot").read_text())
    cached(panda_site, hashlib.sha1(f"{panda_site.pki['user_dn']}.production".encode()).hexdigest(), fresh.read_text())
    (number,) = panda_site.submit(WAITING)
    own = panda_site.workdir / ".credentials/proxy"
    finished(panda_site, number, own, fresh.read_text(), "--proxy", str(given))
    assert callers(panda_site)[0] == of_proxy(fresh) != of_proxy(given)
    assert given.read_text() == before
    assert "the proxy was renewed" in panda_site.log() and "PRIVATE KEY" not in panda_site.log()


def test_a_token_that_ends_soon_is_renewed_against_its_key_and_used_from_then_on(
    panda_site: PandaSite, monkeypatch: pytest.MonkeyPatch
) -> None:
    site = panda_site
    given, fresh = (
        minted(site.oidc, aud=site.server["client"], groups=site.server["groups"], name="Pilot Of Tests", lifetime_s=s)
        for s in (600, 7200)
    )
    (file := site.folder / "given").write_text(given)
    (key := site.folder / "key").write_text("key-of-the-pilot\n")
    cached(site, "access_token_pilot_server", fresh)
    monkeypatch.setenv("PANDA_AUTH_TOKEN_KEY", str(key))
    (number,) = site.submit(WAITING)
    finished(site, number, site.workdir / ".credentials/token", fresh, "--token-file", str(file), token=True)
    assert callers(site)[1] == hashlib.sha256(fresh.encode()).hexdigest()
    assert file.read_text() == given
    assert fresh not in site.log() and given not in site.log() and "key-of-the-pilot" not in site.log()


def test_a_server_that_does_not_renew_says_why(panda_site: PandaSite) -> None:
    site = panda_site
    settings = PandaSettings(
        url=site.server["url"], queue=site.server["queue"], dialect=DialectName(site.dialect), ca_file=site.pki["ca"],
        proxy=str(site.certificate),
    )  # fmt: skip
    credentials = PandaCredentials(settings)
    with pytest.raises(PilotError, match=r"proxy'? not found for /DC=org/DC=pilot-test/CN=Test User"):
        credentials.proxy("testvo:/testvo/Role=nobody")
    with pytest.raises(PilotError, match="token key is invalid"):
        credentials.access_token("another-key")
    credentials.close()
    stranger = minted(site.oidc, aud=site.server["client"], groups=site.server["groups"], name="Some Stranger")
    (file := site.folder / "stranger").write_text(stranger)
    credentials = PandaCredentials(replace(settings, proxy="", token_file=str(file), origin=site.server["origin"]))
    for ask in (credentials.proxy, lambda: credentials.access_token("key-of-the-pilot")):
        with pytest.raises(PilotError, match="'Some Stranger' not in"):
            ask()
    credentials.close()


@pytest.mark.parametrize("panda_site", ["1.0-auto"], indirect=True)
def test_a_pilot_whose_proxy_is_not_renewed_warns_and_works_on(panda_site: PandaSite) -> None:
    given = proxy(panda_site, "given", 1, "/testvo/Role=production/Capability=unknown")
    (number,) = panda_site.submit("date > out.txt")
    for old in Path(panda_site.server["proxies"]).iterdir():
        old.unlink()
    assert panda_site.run("--proxy", str(given)) == 0, panda_site.log()
    panda_site.conclude()
    assert panda_site.job(number)["jobstatus"] == "finished", panda_site.log()
    told = "the proxy was not renewed: The server refused the request: getProxy: 'proxy' not found for /DC=org/"
    assert panda_site.log().count("was not renewed") == panda_site.log().count(told) == 1
