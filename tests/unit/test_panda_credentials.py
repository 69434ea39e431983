"""When credentials are renewed, where they are found, and who may read the copies."""

from __future__ import annotations

import base64
import json
import os
import time
from pathlib import Path

import pytest

from pilot.core.credentials import Kind, Schedule, Step, find, next_step, token_end
from pilot.core.errors import CertificateHasExpired, CommunicationFailure, NoProxy, ProxyTooShort
from pilot.core.exitcodes import exit_code_of
from pilot.core.resources import ResourceType, memory_limit_mb, read_types
from pilot.lib.redact import Redactor
from pilot.plugins.sources.panda_credentials import CredentialWatch, Kept

NOW = 1_000_000.0


def token(end: float | None) -> str:
    """A JSON web token that ends then."""
    claims = {"sub": "x"} | ({"exp": end} if end is not None else {})
    parts = [base64.urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=") for part in ({"a": 1}, claims)]
    return ".".join([*parts, "signature-of-token"])


STEPS = [
    (Kind.PROXY, 40_000.0, -100.0, Step.KEEP, 600.0),
    (Kind.PROXY, 3700.0, -80_000.0, Step.KEEP, 100.0),
    (Kind.PROXY, 3500.0, -80_000.0, Step.RENEW, 60.0),
    (Kind.PROXY, 0.0, -10.0, Step.EXPIRED, 60.0),
    (Kind.PROXY, None, -10.0, Step.KEEP, 600.0),
    (Kind.TOKEN, 1000.0, -200.0, Step.KEEP, 400.0),
    (Kind.TOKEN, 1000.0, -1100.0, Step.RENEW, 60.0),
    (Kind.TOKEN, None, -3500.0, Step.KEEP, 100.0),
    (Kind.TOKEN, None, -3700.0, Step.RENEW, 60.0),
    (Kind.TOKEN, 20.0, -19.0, Step.KEEP, 2.0),
    (Kind.TOKEN, 20.0, -21.0, Step.RENEW, 2.0),
]


@pytest.mark.parametrize(("kind", "left", "got", "step", "wait"), STEPS)
def test_a_credential_is_renewed_before_its_end_but_not_for_ever(
    kind: Kind, left: float | None, got: float, step: Step, wait: float
) -> None:
    ends_at = None if left is None else NOW + left
    assert next_step(kind, ends_at, NOW + got, NOW, fetched=True) == (step, wait)


def test_what_was_given_shortly_before_its_end_is_renewed_at_once() -> None:
    assert next_step(Kind.PROXY, NOW + 3500, NOW, NOW) == (Step.RENEW, 60.0)
    assert next_step(Kind.PROXY, NOW + 3500, NOW, NOW, fetched=True)[0] is Step.KEEP


def test_roles_that_end_before_the_proxy_make_it_due_but_not_useless() -> None:
    for left in (3500, -5):
        assert next_step(Kind.PROXY, NOW + 80_000, NOW, NOW, roles_end_at=NOW + left)[0] is Step.RENEW
    assert next_step(Kind.PROXY, NOW + 80_000, NOW, NOW, roles_end_at=NOW + 3700) == (Step.KEEP, 100.0)
    assert next_step(Kind.PROXY, NOW - 1, NOW, NOW, roles_end_at=NOW + 3700)[0] is Step.EXPIRED


def test_a_web_token_tells_its_end_and_others_do_not() -> None:
    assert token_end(token(5.0) + "\n") == 5.0
    for other in (token(None), "opaque", "a.b.c", "", "a.%%%.c"):
        assert token_end(other) is None


def test_a_token_is_looked_for_where_wrappers_put_it() -> None:
    there = {"/auth/tok", "/p/x509", "/p/key", "/home/tok"}
    environ = {"X509_USER_PROXY": "/p/x509", "PANDA_AUTH_TOKEN": "tok", "PANDA_AUTH_ORIGIN": "vo", "HOME": "/home",
               "PANDA_AUTH_TOKEN_KEY": "key"}  # fmt: skip
    found = find(environ, 0, there.__contains__)
    assert (found.proxy, found.token, found.token_key, found.origin) == ("/p/x509", "/home/tok", "/p/key", "vo")
    assert find({**environ, "PANDA_AUTH_DIR": "/auth"}, 0, there.__contains__).token == "/auth/tok"
    renewed = {**environ, "OIDC_REFRESHED_AUTH_TOKEN": "/p/key", "OIDC_AUTH_ORIGIN": "other"}
    assert find(renewed, 0, there.__contains__).token == "/p/key"
    assert find(renewed, 0, there.__contains__).origin == "other"


def test_the_usual_proxy_counts_only_when_it_is_there() -> None:
    assert find({}, 7, {"/tmp/x509up_u7"}.__contains__).proxy == "/tmp/x509up_u7"
    nothing = find({"X509_USER_PROXY": "/gone"}, 7, lambda path: False)
    assert (nothing.proxy, nothing.token, nothing.ca_path) == ("", "", "")


def kept(tmp_path: Path, text: str, fetched: list[str] | None = None) -> Kept:
    """A token file, with a server that gives those tokens in turn and then fails."""
    (tmp_path / "given").write_text(text)
    (tmp_path / "given").chmod(0o600)

    def fetch() -> str:
        if not fetched:
            raise CommunicationFailure("down")
        return fetched.pop(0)

    return Kept(Kind.TOKEN, tmp_path / "given", tmp_path / "own/token", fetch)


def test_the_pilot_works_with_a_copy_that_nobody_else_can_read(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    text, redactor = token(time.time() + 9999), Redactor()
    given = kept(tmp_path, text)
    CredentialWatch([given], redactor).begin()
    assert not caplog.messages
    given.given.chmod(0o644)
    CredentialWatch([given], redactor).begin()
    assert "mode 0644" in caplog.text and "chmod 600" in caplog.text
    own = tmp_path / "own/token"
    assert own.read_text() == text and own.stat().st_mode & 0o777 == 0o600
    assert redactor.scrub(f"Bearer {text}") == "Bearer [secret]"


def test_a_token_is_renewed_in_time(tmp_path: Path) -> None:
    fresh = token(time.time() + 9999)
    redactor = Redactor()
    watch = CredentialWatch([kept(tmp_path, token(time.time() + 0.05), [fresh])], redactor)
    watch.begin()
    time.sleep(0.06)
    look = watch.look()
    assert look.renewed == (Kind.TOKEN,) and look.failure is None and look.next_s == 600.0
    assert (tmp_path / "own/token").read_text() == fresh and redactor.scrub(fresh) == "[secret]"


@pytest.mark.parametrize("answer", ["older", "same", "two words", "", "ended"])
def test_what_the_server_gives_is_taken_only_if_it_is_better(
    tmp_path: Path, answer: str, caplog: pytest.LogCaptureFixture
) -> None:
    end = time.time() + 1000
    given = token(end)
    answers = {"older": token(end - 100), "same": given, "ended": token(time.time() - 5)}
    told = answers.get(answer, answer)
    watch = CredentialWatch([kept(tmp_path, given, [told, told, token(end + 5000)])], Redactor())
    watch.begin()
    for _ in range(2):
        assert watch.look().renewed == () and (tmp_path / "own/token").read_text() == given
    warned = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert len(warned) == 1 and "was not renewed: what the server gives" in warned[0] and given not in warned[0]
    assert watch.look().renewed == (Kind.TOKEN,)
    assert [path.name for path in (tmp_path / "own").iterdir()] == ["token"]


def test_a_credential_too_short_at_the_start_is_renewed_where_somebody_does_that(tmp_path: Path) -> None:
    fresh = token(time.time() + 9999)
    watch = CredentialWatch([kept(tmp_path, token(time.time() + 50), [fresh])], Redactor())
    watch.begin(least_s=300)
    assert (tmp_path / "own/token").read_text() == fresh


@pytest.mark.parametrize("half", ["", "half a", "ended"])
def test_a_file_that_is_being_written_or_has_ended_is_not_taken_over(tmp_path: Path, half: str) -> None:
    good = token(time.time() + 9999)
    watch = CredentialWatch([kept(tmp_path, good)], Redactor())
    watch.begin()
    (tmp_path / "given").write_text(token(time.time() - 5) if half == "ended" else half)
    assert watch.look().failure is None and (tmp_path / "own/token").read_text() == good
    (tmp_path / "given").write_text(other := token(time.time() + 5555))
    assert watch.look().failure is None and (tmp_path / "own/token").read_text() == other


def test_a_given_file_that_is_only_touched_does_not_take_the_place_of_a_newer_one(tmp_path: Path) -> None:
    fresh = token(time.time() + 9999)
    watch = CredentialWatch([kept(tmp_path, token(time.time() + 1000), [fresh])], Redactor())
    watch.begin()
    assert watch.look().renewed == (Kind.TOKEN,)
    os.utime(tmp_path / "given", (time.time() + 5, time.time() + 5))
    watch.look()
    assert (tmp_path / "own/token").read_text() == fresh


def test_a_renewal_by_somebody_else_is_taken_over(tmp_path: Path) -> None:
    watch = CredentialWatch([kept(tmp_path, token(time.time() + 9999))], Redactor())
    watch.begin()
    other = token(time.time() + 8888)
    (tmp_path / "given").write_text(other)
    later = time.time() + 5
    os.utime(tmp_path / "given", (later, later))
    assert watch.look().failure is None
    assert (tmp_path / "own/token").read_text() == other


def test_a_token_that_ended_and_was_not_renewed_is_told(tmp_path: Path) -> None:
    watch = CredentialWatch([kept(tmp_path, token(time.time() + 0.05))], Redactor())
    watch.begin()
    time.sleep(0.06)
    look = watch.look()
    assert look.failure is not None and look.failure.code == 1373 and look.next_s == 60.0


def test_a_token_about_to_end_without_renewal_is_told_before(tmp_path: Path) -> None:
    rules = Schedule(least_s=60)
    watch = CredentialWatch([kept(tmp_path, token(time.time() + 100))], Redactor(), rules)
    watch.begin()
    (tmp_path / "given").unlink()
    watch._got_at[tmp_path / "own/token"] -= 1000
    look = watch.look()
    assert look.failure is not None and look.failure.code == 1370


@pytest.mark.parametrize(("left", "error", "code"), [(-5, CertificateHasExpired, 68), (50, ProxyTooShort, 80)])
def test_what_is_too_short_at_the_start_ends_the_pilot(
    tmp_path: Path, left: float, error: type[Exception], code: int
) -> None:
    watch = CredentialWatch([kept(tmp_path, token(time.time() + left))], Redactor())
    with pytest.raises(error) as caught:
        watch.begin(least_s=100)
    assert exit_code_of(caught.value.code) == code  # type: ignore[attr-defined]


def test_a_missing_credential_is_named(tmp_path: Path) -> None:
    watch = CredentialWatch([Kept(Kind.PROXY, tmp_path / "none", tmp_path / "own")], Redactor())
    with pytest.raises(NoProxy, match="none"):
        watch.begin()


TYPES = {"SCORE": ResourceType("SCORE", 1, 1, 0, 2500)}
LIMITS = [
    (("SCORE", 1, 2000, 0, 1, TYPES), 2500),
    (("MCORE", 8, 2000), 16000),
    (("MCORE_HIMEM", 8, 2000), 24000),
    (("SCORE_LOMEM", 1, 500), 1000),
    (("SCORE_VHIMEM", 1, 9000, 64000, 8), 8000),
    (("MCORE_VHIMEM", 8, 9000, 64000, 8), 64000),
    (("", 1, 2300), 3000),
    (("", 1, 0), 0),
]


@pytest.mark.parametrize(("args", "limit"), LIMITS)
def test_the_memory_of_a_job_follows_from_its_type(args: tuple[object, ...], limit: int) -> None:
    assert memory_limit_mb(*args) == limit  # type: ignore[arg-type]


def test_resource_types_that_make_no_sense_are_left_out() -> None:
    types = read_types([{"resource_name": "A", "maxrampercore": 5}, {"resource_name": "B", "mincore": "x"}, {}])
    assert types == {"A": ResourceType("A", most_memory_mb=5)}
