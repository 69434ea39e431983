"""What a request must know of its connection: who stands behind it, and how to cut it."""

from __future__ import annotations

import asyncio
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from pilot.server.certificates import Subject, subject_of


class Connection(HttpToolsProtocol):
    """Gives each request the `transport` and the `subject` of the client's certificate, in the scope's state."""

    _subject: Subject | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        tls: Any = transport.get_extra_info("ssl_object")
        self._subject = subject_of(tls) if tls is not None else None

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self.scope["state"].update(transport=self.transport, subject=self._subject)

    @property
    def is_idle(self) -> bool:
        """Whether no request is in the works."""
        return self.cycle is None or self.cycle.response_complete
