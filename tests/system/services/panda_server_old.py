"""The last PanDA server that speaks the classic dialect beside v1, over PostgreSQL like its successor."""

from tests.system.services import panda_oracle_old, panda_server
from tests.system.services.ground import Endpoint, Ground

NEEDS = panda_server.NEEDS
PACKAGES = panda_server.PACKAGES

_VENV = "panda-oracle-old"


def install(ground: Ground) -> None:
    """The environment is the oracle's."""
    with ground.building("panda_oracle_old"):
        panda_oracle_old.install(ground)


def start(ground: Ground) -> Endpoint:
    """The endpoint is as its successor's, for both dialects."""
    return panda_server.start_server(ground, "panda_server_old", _VENV)
