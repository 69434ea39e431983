"""Images of a registry that asks who comes: the login reaches the runtime, and nothing else ever sees it."""

from __future__ import annotations

import base64
import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.system.sites import PATH, Site, make_site

#: Waits until it was looked at, for as long as a test may take.
LINE = (
    "cat /etc/debian_version > where; echo up > ready; "
    "i=0; while [ ! -e go ] && [ $i -lt 1200 ]; do sleep 0.1; i=$((i+1)); done; cp in.txt out.txt"
)


@pytest.fixture(params=["docker", "podman", "apptainer"])
def site(request: pytest.FixtureRequest, images: dict[str, Any], tmp_path: Path) -> Site:
    site = make_site(request, request.param, tmp_path)
    site.env |= images.get(f"{site.name}_env", {})
    site.image = f"docker://{images['image']}"
    words = {"docker": ["/usr/bin/docker", "rmi", "--force"], "podman": ["podman", "rmi", "--force"]}.get(site.name)
    if words is None:
        site.env |= {"APPTAINER_CACHEDIR": str(tmp_path / "cache")}
        return site
    env = {"PATH": PATH, "HOME": "/root", **site.env}
    for image in (images["image"], f"{images['image'].rpartition(':')[0]}@{images['digest']}"):
        subprocess.run([*words, image], env=env, capture_output=True, check=False)
    return site


def tokens(images: dict[str, Any]) -> str:
    other = {"username": "nobody", "token": "of-another-registry", "registry_path": "registry.invalid/private"}
    own = {"username": images["user"], "token": images["password"], "registry_path": f"{images['registry']}/private"}
    return json.dumps([other, own])


def seen(password: str, folder: Path, *kept: str) -> list[str]:
    """Where the password can be read: arguments of processes, and files of the pilot and its job but those `kept`."""
    forms = [password.encode(), base64.b64encode(f"reader:{password}".encode())]
    found = []
    for entry in Path("/proc").iterdir():
        try:
            if entry.name.isdigit() and any(form in (entry / "cmdline").read_bytes() for form in forms):
                found.append((entry / "cmdline").read_text())
        except OSError:
            continue
    for path in folder.rglob("*"):
        own = path.name == "jobs.json" or path.name in kept or path.parent.name in kept  # what the server sent
        if path.is_file() and not own and any(form in path.read_bytes() for form in forms):
            found.append(str(path))
    return found


def run_watched(site: Site, images: dict[str, Any], *options: str, **more: Any) -> dict[str, Any]:
    pilot = site.start(site.job(LINE, **more), *options)
    site.wait_for(pilot, site.directory / "ready")
    assert seen(images["password"], site.folder, "panda_secrets.json", ".secrets") == []
    (site.directory / "go").touch()
    assert pilot.wait(120) == 0, site.log()
    assert seen(images["password"], site.folder) == []
    assert not (site.directory / "panda_secrets.json").exists()
    job = site.show()
    assert job["outcome"] == "finished", job["error"]
    assert (site.directory / "where").read_text() == "12.small\n"
    return job


def test_a_job_brings_its_own_login(site: Site, images: dict[str, Any]) -> None:
    run_watched(site, images, secrets=json.dumps({"DOCKER_TOKENS": tokens(images)}))


def test_a_site_has_a_login_for_all_jobs_and_what_ran_is_recorded(site: Site, images: dict[str, Any]) -> None:
    site.env |= {"DOCKER_TOKENS": tokens(images)}
    run_watched(site, images)
    if site.name != "apptainer":  # it keeps no record of where an image came from
        assert f"is {images['digest']}" in (site.directory / "pilot.log").read_text()
        assert f"imageDigest={images['digest']}" in (site.directory / "heartbeat.json").read_text().replace('":"', "=")


def test_an_image_is_taken_by_its_digest_whatever_its_tag_says(site: Site, images: dict[str, Any]) -> None:
    site.env |= {"DOCKER_TOKENS": tokens(images)}
    name = images["image"].rpartition(":")[0]
    run_watched(site, images, container_name=f"docker://{name}:no-such-tag@{images['digest']}")
    assert images["digest"] in (site.directory / "pilot.log").read_text()


def test_without_a_login_the_image_is_not_to_be_had(site: Site, images: dict[str, Any]) -> None:
    assert site.start(site.job("true")).wait(120) == 0, site.log()
    job = site.show()
    assert (job["outcome"], job["error_code"]) == ("failed", 1360), job["error"]
