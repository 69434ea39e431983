"""The services by name, and the module that makes each."""

SERVICES = {
    "pki": "pki",
    "oidc": "oidc",
    "xrootd": "xrootd",
    "xrootd_tls": "xrootd_tls",
    "webdav": "webdav",
    "s3": "s3",
    "rootfs": "rootfs",
    "dockerd": "dockerd",
    "podman": "podman",
    "images": "images",
    "panda_oracle": "panda_oracle",
    "panda_oracle_old": "panda_oracle_old",
    "postgres": "postgres",
    "panda_server": "panda_server",
    "panda_server_old": "panda_server_old",
    "slurm": "slurm",
    "gridftp": "gridftp",
    "gfal": "gfal",
    "rucio": "rucio",
    "pegasus": "pegasus",
    "swift_s3": "swift_s3",
    "uml": "uml",
    "browser": "browser",
    "apptainer": "apptainer",
}

# What comes from a Debian that moves: its absence is told, and skips tests, everywhere.
OPTIONAL = frozenset({"apptainer"})
