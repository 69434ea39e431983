"""XRootD without authentication: root:// and http://, checksums, third-party copy.

Both servers of XRootD listen on all interfaces, at ports that nobody knows: they have no setting for an address."""

import socket
from pathlib import Path

from tests.system.services import packages, ports
from tests.system.services.ground import Endpoint, Ground
from tests.system.services.process import spawn, wait_until

NEEDS = ()
PACKAGES = packages.XROOTD

USER = "xrootd"


def install(ground: Ground) -> None:
    """Nothing beside the packages."""


def start(ground: Ground) -> Endpoint:
    """`folder` holds what the URLs `root` and `http` show: a file put into one is seen through the others."""
    data = laid_out(ground, "xrootd")
    port, http = ports.free(2)
    config = f"""
{common(ground.folder("xrootd"), port)}
xrd.protocol http:{http} libXrdHttp.so
http.exthandler xrdtpc libXrdHttpTPC.so
http.selfhttps2http no
http.listingdeny no
ofs.tpc ttl 60 70 xfr 4 pgm /usr/bin/xrdcp --server
"""
    serve(ground, "xrootd", config, port, http)
    return {
        "root": f"root://127.0.0.1:{port}//data",
        "http": f"http://127.0.0.1:{http}/data",
        "port": port,
        "http_port": http,
        "folder": str(data),
        "user": USER,
        "env": client_env(),
    }


def client_env() -> dict[str, str]:
    """With these an absent server is noticed at once; the client's own defaults wait two minutes."""
    return {"XRD_CONNECTIONWINDOW": "3", "XRD_CONNECTIONRETRY": "1", "XRD_STREAMTIMEOUT": "20"}


def laid_out(ground: Ground, name: str) -> Path:
    """The server's folders, its user's; returns the one that it exports as /data, which everybody may write."""
    for part in ("adm", "run", "log", "etc", "root"):
        ground.make(name, part, owner=USER)
    return ground.make(name, "root", "data", owner=USER, mode=0o777)


def common(folder: Path, port: int) -> str:
    """The directives that both servers share."""
    return f"""
xrd.port {port}
all.export /data
oss.localroot {folder}/root
all.adminpath {folder}/adm
all.pidpath {folder}/run
xrootd.chksum max 4 adler32 md5 crc32c
xrootd.async off
"""


def serve(
    ground: Ground, name: str, config: str, *listening: int, private_mounts: tuple[tuple[Path, Path], ...] = ()
) -> None:
    """Writes the configuration and returns once the server listens on all of these ports. The server does not start
    where this machine's name has no address, so it is given one in a hosts file that it alone sees."""
    folder = ground.folder(name)
    path = folder / "etc" / "xrootd.cfg"
    path.write_text(config)
    hosts = folder / "etc" / "hosts"
    hosts.write_text(f"127.0.0.1 localhost\n::1 localhost\n127.0.0.1 {socket.gethostname()}\n")
    mounts = (*private_mounts, (hosts, Path("/etc/hosts")))
    server = spawn(folder, ["xrootd", "-c", path, "-n", "test"], cwd=folder / "run", user=USER, private_mounts=mounts)
    wait_until(folder, lambda: all(ports.answers(port) for port in listening), name, server)
