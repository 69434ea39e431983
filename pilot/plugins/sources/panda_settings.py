"""What a pilot has to know to speak to a PanDA server."""

from __future__ import annotations

import re
from enum import StrEnum
from typing import Any

import msgspec

from pilot.core.update import Node


class DialectName(StrEnum):
    """The generation of a server's interface (protocol.md 0.1)."""

    AUTO = "auto"
    V1 = "v1"
    CLASSIC = "classic"


class PandaSettings(msgspec.Struct, frozen=True, kw_only=True):
    """How to reach the server, who asks, and what is asked for.

    `url` is the server's base (`https://host:25443`); a path of either dialect behind it is left out, and where it
    names no port `port` is taken. `queue` is
    the resource name that goes to the server, `label` the prodSourceLabel. `proxy` is a PEM file (proxy, or
    certificate with key), `token_file` a file that holds a token, `origin` its VO; a token is preferred.
    `user_id`, `task_id`, `resource_type`, `job_type` and `computing_element` narrow what jobs are asked for;
    `gpus` are those that jobs can get, with the keys of the v1 message of a node's GPUs; None: nothing is told of them.
    `working_group`, `country_group` and `other_country` are known to the classic dialect alone. Times in s.
    """

    url: str
    queue: str
    port: int = 25443
    label: str = "managed"
    node: Node = Node()
    dialect: DialectName = DialectName.AUTO
    ca_file: str = ""
    ca_path: str = ""
    proxy: str = ""
    proxy_key: str = ""
    token_file: str = ""
    origin: str = ""
    via: str = ""
    connect_s: float = 20.0
    answer_s: float = 120.0
    wait_at_most_s: int = 60
    user_id: str = ""
    want_proxy_key: bool = False
    task_id: int | None = None
    resource_type: str = ""
    job_type: str = ""
    computing_element: str = ""
    working_group: str = ""
    country_group: str = ""
    other_country: bool = False
    via_topic: bool = False
    gpus: tuple[dict[str, Any], ...] | None = None
    bulk: int = 100
    user_agent: str = "pilot"

    @property
    def base(self) -> str:
        """Scheme, host and port, without a slash at the end."""
        url = self.url if "://" in self.url else f"https://{self.url}"
        for path in ("/server/panda", "/api/v1", "/api/latest", "/api", "/server"):
            url = url.rstrip("/").removesuffix(path)
        url = url.rstrip("/")
        return url if re.search(r":\d+$", url) else f"{url}:{self.port}"
