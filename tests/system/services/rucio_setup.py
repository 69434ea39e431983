"""Tells a running Rucio server of its storage elements: FILE, as `rucio.py` writes it."""

import json
import sys

from rucio.client import Client

LIMIT_BYTES = 10**13
ALLOWED = {
    "lan": {"read": 1, "write": 1, "delete": 1},
    "wan": {"read": 1, "write": 1, "delete": 1, "third_party_copy_read": 1, "third_party_copy_write": 1},
}


def main() -> None:
    """Fails on the first thing that the server refuses: the database is new, so nothing can be there already."""
    with open(sys.argv[1]) as file:
        wanted = json.load(file)
    client = Client()
    for name, protocol in wanted["rses"].items():
        client.add_rse(name, deterministic=True)
        client.add_protocol(name, {**{k: v for k, v in protocol.items() if k != "folder"}, "domains": ALLOWED})
        client.set_account_limit("root", name, LIMIT_BYTES, "local")
        client.add_rse_attribute(name, "site", name.partition("_")[0])
    client.add_scope("root", wanted["scope"])


if __name__ == "__main__":
    main()
