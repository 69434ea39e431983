"""The real servers as session fixtures, named as in `services/registry.py`: each gives its endpoint, a dict.

A server starts when the first selected test asks for it and stops when the last session that uses it ends, however that
ends. With CI=true what is missing is installed and a server that does not start fails the test; elsewhere the test is
skipped and says why.
PILOT_SERVICES=FOLDER chooses where they live."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.system.panda_site import PandaSite
from tests.system.pyz import built
from tests.system.services import lifecycle
from tests.system.services.ground import Endpoint, ServiceFailed, prepared
from tests.system.services.guard import guarded
from tests.system.services.registry import OPTIONAL

Use = Callable[[str], Endpoint]


@pytest.fixture(scope="session")
def service() -> Iterator[Use]:
    """Starts a service by its name and gives its endpoint."""
    ground = prepared()
    holder = lifecycle.Holder(ground)
    in_ci = os.environ.get("CI") == "true"

    def use(name: str) -> Endpoint:
        try:
            if not in_ci:
                _no_download(name)
            else:
                lifecycle.install(ground, [name])
            return lifecycle.up(ground, [name], holder)[name]
        except ServiceFailed as fault:
            if in_ci and name not in OPTIONAL:
                pytest.fail(str(fault), pytrace=False)
            pytest.skip(str(fault))

    with guarded(ground):
        try:
            yield use
        finally:
            holder.release()


def _no_download(name: str) -> None:
    """A developer's machine gets no packages that nobody asked for."""
    if os.geteuid() != 0:
        raise ServiceFailed("the servers of the system tests are started by root only")
    if missing := lifecycle.missing_packages([name]):
        raise ServiceFailed(f"{name} needs {' '.join(missing)}: `python -m tests.system.services install` brings them")


def _endpoint(name: str) -> Callable[[Use], Endpoint]:
    @pytest.fixture(scope="session", name=name)
    def endpoint(service: Use) -> Endpoint:
        return service(name)

    return endpoint


@pytest.fixture(scope="session")
def pyz() -> Path:
    """The pilot as one file."""
    return built()


pki = _endpoint("pki")
oidc = _endpoint("oidc")
xrootd = _endpoint("xrootd")
xrootd_tls = _endpoint("xrootd_tls")
webdav = _endpoint("webdav")
s3 = _endpoint("s3")
swift_s3 = _endpoint("swift_s3")
rootfs = _endpoint("rootfs")
dockerd = _endpoint("dockerd")
podman = _endpoint("podman")
images = _endpoint("images")
slurm = _endpoint("slurm")
gridftp = _endpoint("gridftp")
gfal = _endpoint("gfal")
rucio = _endpoint("rucio")
pegasus = _endpoint("pegasus")
uml = _endpoint("uml")
browser = _endpoint("browser")
apptainer = _endpoint("apptainer")
panda_oracle = _endpoint("panda_oracle")
panda_oracle_old = _endpoint("panda_oracle_old")
panda_server = _endpoint("panda_server")
panda_server_old = _endpoint("panda_server_old")


@pytest.fixture(params=["1.0-auto", "0.8-v1", "0.8-classic"])
def panda_site(request: pytest.FixtureRequest, tmp_path: Path, pki: Endpoint, oidc: Endpoint) -> Iterator[PandaSite]:
    """A queue of a PanDA server of either generation; nothing that is asked of it may be refused."""
    generation, dialect = request.param.split("-")
    server = request.getfixturevalue("panda_server" if generation == "1.0" else "panda_server_old")
    site = PandaSite(server, pki, oidc, dialect, tmp_path)
    yield site
    try:
        assert site.refused() == []
    finally:
        site.end()
