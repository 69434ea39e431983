"""A GridFTP server: gsiftp:// with X.509 proxies."""

from tests.system.services import packages, ports
from tests.system.services.ground import Endpoint, Ground
from tests.system.services.process import spawn, wait_until

NEEDS = ("pki",)
PACKAGES = (*packages.GRIDFTP, *packages.PKI)


def install(ground: Ground) -> None:
    """Nothing beside the packages."""


def start(ground: Ground) -> Endpoint:
    """`url` shows `folder`, to the test user only, who writes there as root. Clients need `env`."""
    folder = ground.folder("gridftp")
    data = ground.make("gridftp", "data")
    trust = ground.endpoint("pki")
    (folder / "gridmap").write_text(f'"{trust["user_dn"]}" root\n')
    port = str(*ports.free())
    server = spawn(
        folder,
        ["globus-gridftp-server", "-s", "-control-interface", "127.0.0.1", "-data-interface", "127.0.0.1", "-p", port,
         "-allow-root", "-config-base-path", folder, "-log-level", "ERROR,WARN,INFO", "-l",
         folder / "log" / "transfers.log"],
        env={
            "GRIDMAP": str(folder / "gridmap"),
            "X509_USER_CERT": trust["host_cert"],
            "X509_USER_KEY": trust["host_key"],
            "X509_CERT_DIR": trust["certificates"],
            "GLOBUS_HOSTNAME": "localhost",
        },
    )  # fmt: skip
    wait_until(folder, lambda: ports.answers(int(port)), "gridftp", server)
    return {
        "url": f"gsiftp://localhost:{port}{data}",
        "port": int(port),
        "folder": str(data),
        "env": {
            "X509_CERT_DIR": trust["certificates"],
            "X509_USER_PROXY": trust["proxy"],
            "GLOBUS_HOSTNAME": "localhost",
        },
    }
