"""Starting the job server."""

from __future__ import annotations

import contextlib
import socket
from pathlib import Path

import pytest

from pilot.server.refusal import Unusable
from pilot.server.run import Options, _bound


def test_the_listening_socket_names_its_protocol_so_that_answers_are_not_held_back(tmp_path: Path) -> None:
    with contextlib.closing(_bound(Options(db=tmp_path / "jobs.db"))) as listener:
        assert listener.proto == socket.IPPROTO_TCP


def test_a_port_that_is_taken_is_named(tmp_path: Path) -> None:
    with contextlib.closing(_bound(Options(db=tmp_path / "jobs.db"))) as listener:
        port = listener.getsockname()[1]
        with pytest.raises(Unusable, match=f"port {port}") as error:
            _bound(Options(db=tmp_path / "jobs.db", port=port))
    assert error.value.option == "--port"
