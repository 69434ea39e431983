"""The last `panda-server` that speaks the classic dialect, as an oracle like its successor."""

from tests.system.services.ground import Endpoint, Ground
from tests.system.services.panda_oracle import install_server, start_server

NEEDS = ()
PACKAGES = ()

_VENV, _SERVER = "panda-oracle-old", "panda-server==0.8.1"


def install(ground: Ground) -> None:
    """An environment with the server in it."""
    install_server(ground, _VENV, _SERVER)


def start(ground: Ground) -> Endpoint:
    """The endpoint's `url` takes the pilot's calls in both dialects."""
    install(ground)
    return start_server(ground, "panda_oracle_old", _VENV)
