"""Writes the rings of a one-device Swift: FOLDER KIND=PORT...; run by Debian's Python, which has Swift's modules."""

import sys
from pathlib import Path

from swift.common.ring import RingBuilder  # type: ignore[import-not-found, unused-ignore]

PARTITION_POWER = 2  # four partitions; one device needs no more
REPLICAS = 1
NO_WAIT_HOURS = 0


def main() -> None:
    """One program for all rings: the builder's own command would be started nine times."""
    folder, *kinds = sys.argv[1:]
    for kind, _, port in (word.partition("=") for word in kinds):
        builder = RingBuilder(PARTITION_POWER, REPLICAS, NO_WAIT_HOURS)
        place = {"ip": "127.0.0.1", "port": int(port), "replication_ip": "127.0.0.1", "replication_port": int(port)}
        builder.add_dev({"region": 1, "zone": 1, "device": "d1", "weight": 1.0, "meta": "", **place})
        builder.rebalance()
        builder.get_ring().save(str(Path(folder) / f"{kind}.ring.gz"))


if __name__ == "__main__":
    main()
