"""Container images as files out of a real registry that wants a login, by podman and by docker."""

from __future__ import annotations

import base64
import json
import os
import tarfile
from pathlib import Path
from typing import Any

import pytest

from pilot.core.staging import ToolSettings
from pilot.core.transfer import Direction
from tests.copytools.making import carry, order


def login(images: dict[str, Any], folder: Path, password: str = "") -> dict[str, str]:
    """Where docker and podman find the name and the password."""
    token = base64.b64encode(f"{images['user']}:{password or images['password']}".encode()).decode()
    (folder / "docker").mkdir()
    (folder / "docker" / "config.json").write_text(json.dumps({"auths": {images["registry"]: {"auth": token}}}))
    return {"REGISTRY_AUTH_FILE": str(folder / "docker" / "config.json"), "DOCKER_CONFIG": str(folder / "docker")}


@pytest.fixture(params=["podman", "dockerd"])
def env(request: pytest.FixtureRequest, images: dict[str, Any], tmp_path: Path) -> dict[str, str]:
    """Without its service docker is passed over, where podman is."""
    runtime = request.getfixturevalue(request.param)
    own = runtime["env"] if request.param == "dockerd" else {**runtime["env"], **images["podman_env"]}
    nobody = {"DOCKER_HOST": f"unix://{tmp_path}/nobody"} if request.param == "podman" else {}
    return {"PATH": os.environ["PATH"], "HOME": str(tmp_path), **nobody, **own}


def test_an_image_comes_as_an_archive_and_one_that_is_not_there_is_told(
    env: dict[str, str], images: dict[str, Any], tmp_path: Path
) -> None:
    tools = ToolSettings(environment={**env, **login(images, tmp_path)})
    orders = [
        order(f"docker://{name}", tmp_path / "o" / f"{number}.tar", direction=Direction.IN)
        for number, name in enumerate((images["image"], images["image"] + "-not-there"))
    ]
    came, missing = carry(orders, tools, max_attempts=1)
    assert came.failure is None, came.failure
    with tarfile.open(tmp_path / "o" / "0.tar") as archive:
        assert "manifest.json" in archive.getnames()
    assert missing.failure and missing.failure.code == 1331, missing.failure
    assert os.listdir(tmp_path / "o") == ["0.tar"]


def test_whoever_has_no_login_gets_no_image(env: dict[str, str], images: dict[str, Any], tmp_path: Path) -> None:
    tools = ToolSettings(environment={**env, **login(images, tmp_path, "wrong")})
    (outcome,) = carry([order(f"docker://{images['image']}", tmp_path / "o" / "i.tar", direction=Direction.IN)], tools)
    assert outcome.failure and outcome.failure.code in (1338, 1364), outcome.failure
    assert len(outcome.attempts) == 1 and os.listdir(tmp_path / "o") == []
