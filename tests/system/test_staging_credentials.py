"""`pilot transfer` in front of real servers that want a credential: each site gets its own, and nobody another's."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.system.test_staging_web import expired, with_key

ROOT = Path(__file__).resolve().parents[2]
DATA = os.urandom(100_000)


def carried(folder: Path, entries: list[dict[str, Any]], environment: dict[str, str]) -> tuple[int, list[Any], str]:
    """The exit code, the error number of each entry (None: done), and all that was printed."""
    (folder / "list.json").write_text(json.dumps(entries))
    kept = {name: os.environ[name] for name in ("PATH", "LANG") if name in os.environ}
    done = subprocess.run(
        [sys.executable, "-P", "-m", "pilot", "transfer", str(folder / "list.json"), "-m", "1", "--json"],
        env={**kept, "HOME": str(folder), "PYTHONPATH": str(ROOT), **environment},
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=120,
    )
    codes = [line.get("error", {}).get("code") for line in json.loads(done.stdout)["files"]]
    return done.returncode, codes, done.stdout + done.stderr


def up(folder: Path, url: str, site: str) -> dict[str, Any]:
    (folder / "data").write_bytes(DATA)
    return {"type": "transfer", "sources": [str(folder / "data")], "targets": [{"url": url, "site_label": site}]}


def down(url: str, site: str, here: Path) -> dict[str, Any]:
    return {"type": "transfer", "sources": [{"url": url, "site_label": site}], "targets": [str(here)]}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path


@pytest.mark.parametrize("scheme", ["roots", "davs"])
def test_a_site_s_own_proxy_opens_its_doors_and_no_others(
    scheme: str, xrootd_tls: dict[str, Any], pki: dict[str, Any], folder: Path
) -> None:
    old = with_key(folder, str(expired(Path(pki["user_cert"]), folder / "old.pem")), pki["user_key"])
    environment = {
        **xrootd_tls["env"],
        "X509_CERT_DIR": pki["certificates"],
        "X509_USER_PROXY": old,
        "X509_USER_PROXY_far_away": pki["proxy"],
    }
    url = f"{xrootd_tls[scheme]}/{folder.name}-{os.getpid()}-{scheme}/f"
    assert carried(folder, [up(folder, url, "far-away")], environment)[:2] == (0, [None])
    back = [down(url, "far-away", folder / "own"), down(url, "elsewhere", folder / "general")]
    code, codes, said = carried(folder, back, environment)
    assert (code, codes) == (2, [None, 1373]), said
    assert (folder / "own").read_bytes() == DATA and not (folder / "general").exists()
    gone = [{"type": "remove", "target": {"url": url, "site_label": site}} for site in ("elsewhere", "far-away")]
    assert carried(folder, gone, environment)[1] == [1373, None]
    assert pki["proxy"] not in said


def test_a_site_s_own_token_opens_its_doors(
    xrootd_tls: dict[str, Any], pki: dict[str, Any], oidc: dict[str, Any], folder: Path
) -> None:
    token = Path(oidc["token_file"]).read_text().strip()
    environment = {"X509_CERT_DIR": pki["certificates"], "BEARER_TOKEN_far": token}
    url = f"{xrootd_tls['davs']}/{folder.name}-{os.getpid()}-token/f"
    code, codes, said = carried(folder, [up(folder, url, "far"), up(folder, url + "2", "near")], environment)
    refused = (1383, 1137, 1327)  # the last where the server hangs up in the middle of what it refuses
    assert (code, codes[0]) == (2, None) and codes[1] in refused, said
    assert token not in said


@pytest.mark.parametrize("scheme", ["roots", "davs"])
def test_a_proxy_that_others_can_read_is_refused_before_it_is_shown(
    scheme: str, xrootd_tls: dict[str, Any], pki: dict[str, Any], folder: Path
) -> None:
    (folder / "open.pem").write_bytes(Path(pki["proxy"]).read_bytes())
    (folder / "open.pem").chmod(0o640)
    environment = {**xrootd_tls["env"], "X509_CERT_DIR": pki["certificates"], "X509_USER_PROXY": f"{folder}/open.pem"}
    url = f"{xrootd_tls[scheme]}/{folder.name}-{os.getpid()}-open/f"
    code, codes, said = carried(folder, [up(folder, url, "")], environment)
    assert (code, codes) == (1, [1364]) and "chmod 600" in said, said


def test_each_site_s_keys_are_its_own_at_s3(s3: dict[str, Any], folder: Path) -> None:
    for name, secret in (("right", s3["secret_key"]), ("wrong", "not-the-secret-key")):
        place = s3["endpoint"].partition("://")[2]
        (folder / name).write_text(
            f"[default]\naccess_key = {s3['access_key']}\nsecret_key = {secret}\nhost_base = {place}\n"
            f"bucket_location = {s3['region']}\nuse_https = {s3['endpoint'].startswith('https')}\n"
        )
        (folder / name).chmod(0o600)
    environment = {"S3CFG": str(folder / "wrong"), "S3CFG_cloud_one": str(folder / "right")}
    url = f"s3://{s3['bucket']}/{folder.name}-{os.getpid()}"
    code, codes, said = carried(folder, [up(folder, url, "cloud-one"), up(folder, url + "x", "cloud-two")], environment)
    assert (code, codes[0]) == (2, None) and codes[1] in (1383, 1137), said
    assert "not-the-secret-key" not in said and s3["secret_key"] not in said
    assert carried(folder, [down(url, "cloud-one", folder / "back")], environment)[0] == 0
    assert (folder / "back").read_bytes() == DATA
    (folder / "right").chmod(0o644)
    code, codes, said = carried(folder, [down(url, "cloud-one", folder / "again")], environment)
    assert (code, codes) == (1, [1364]) and "chmod 600" in said
