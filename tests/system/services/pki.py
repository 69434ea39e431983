"""A certificate authority of our own: host and user certificates, an RFC 3820 proxy and one with VOMS attributes."""

import os
import shutil
import socket
import subprocess
from pathlib import Path

from tests.system.services import packages
from tests.system.services.ground import Endpoint, Ground, ServiceFailed
from tests.system.services.process import PATH

NEEDS = ()
PACKAGES = packages.PKI

DAYS = "30"
PROXY_LIFE = "96:00"
SUBJECT = "/DC=org/DC=pilot-test"
USER = f"{SUBJECT}/CN=Test User"
VO, ROLE = "testvo", "/testvo/Role=pilot"


def install(ground: Ground) -> None:
    """Nothing beside the packages."""


def start(ground: Ground) -> Endpoint:
    """Makes all files; no process. Keys are mode 0600 and root's: a server that drops root gets a copy (`lend`)."""
    folder = ground.folder("pki")
    authority, host, user = (folder / name for name in ("ca.pem", "host.pem", "user.pem"))
    run(folder, "openssl req -x509 -newkey rsa:2048 -nodes -keyout ca.key -out ca.pem -sha256 -days", DAYS, "-subj",
        f"{SUBJECT}/CN=Test CA", "-addext", "keyUsage=critical,keyCertSign,cRLSign")  # fmt: skip
    names = ",".join(f"DNS:{name}" for name in sorted({"localhost", socket.gethostname(), socket.getfqdn()}))
    _certificate(folder, "host", f"{SUBJECT}/CN=localhost", "serverAuth,clientAuth", f"{names},IP:127.0.0.1,IP:::1")
    _certificate(folder, "user", USER, "clientAuth")
    for key in folder.glob("*.key"):
        key.chmod(0o600)
    certificates = _trust_folder(ground, authority)
    shutil.copy("/etc/ssl/certs/ca-certificates.crt", folder / "bundle.pem")
    with open(folder / "bundle.pem", "a") as bundle:
        bundle.write(authority.read_text())
    return {
        "ca": str(authority),
        "certificates": str(certificates),
        "bundle": str(folder / "bundle.pem"),
        "host_cert": str(host),
        "host_key": str(folder / "host.key"),
        "user_cert": str(user),
        "user_key": str(folder / "user.key"),
        "user_dn": USER,
        "vo": VO,
        "fqan": ROLE,
        **_proxies(folder, certificates),
    }


def run(folder: Path, command: str, *more: str) -> str:
    """Runs a command made of plain words, then `more`; returns its output, ServiceFailed with it if it fails."""
    words = [*command.split(), *more]
    env = {"PATH": PATH, "HOME": str(folder), "LANG": "C.UTF-8"}
    done = subprocess.run(
        words, cwd=folder, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
    )
    if done.returncode:
        raise ServiceFailed(f"{' '.join(words[:3])} gave {done.returncode}\n{done.stdout[-2000:]}")
    return done.stdout


def lend(pki: Endpoint, folder: Path, user: str) -> tuple[Path, Path]:
    """The host certificate and key as files that a server running as `user` may read."""
    folder.mkdir(exist_ok=True)
    for kind, mode in (("cert", 0o644), ("key", 0o400)):
        copy = folder / f"host{kind}.pem"
        shutil.copy(pki[f"host_{kind}"], copy)
        shutil.chown(copy, user, user)
        copy.chmod(mode)
    return folder / "hostcert.pem", folder / "hostkey.pem"


def _certificate(folder: Path, name: str, subject: str, use: str, alternatives: str = "") -> None:
    extensions = folder / f"{name}.ext"
    extensions.write_text(
        "basicConstraints=critical,CA:FALSE\nkeyUsage=critical,digitalSignature,keyEncipherment\n"
        f"extendedKeyUsage={use}\n" + (f"subjectAltName={alternatives}\n" if alternatives else "")
    )
    run(folder, f"openssl req -new -newkey rsa:2048 -nodes -keyout {name}.key -out {name}.csr -subj", subject)
    run(folder, f"openssl x509 -req -in {name}.csr -CA ca.pem -CAkey ca.key -CAcreateserial -sha256 -days {DAYS} "
        f"-extfile {name}.ext -out {name}.pem")  # fmt: skip


def _trust_folder(ground: Ground, authority: Path) -> Path:
    """What X509_CERT_DIR points to: the authority under both hashes of its name, and what it may sign."""
    folder = ground.make("pki", "certificates")
    policy = (
        f"access_id_CA X509 '{SUBJECT}/CN=Test CA'\npos_rights globus CA:sign\ncond_subjects globus '\"{SUBJECT}/*\"'\n"
    )
    for kind in ("-subject_hash", "-subject_hash_old"):
        name = run(folder, f"openssl x509 -noout {kind} -in", str(authority)).strip()
        shutil.copy(authority, folder / f"{name}.0")
        (folder / f"{name}.signing_policy").write_text(policy)
    return folder


def _proxies(folder: Path, certificates: Path) -> Endpoint:
    """`voms-proxy-fake` signs the attributes with the host key, so no VOMS server is needed to make a genuine proxy."""
    proxy, voms = folder / "proxy.pem", folder / "voms-proxy.pem"
    run(folder, f"voms-proxy-init -rfc -valid {PROXY_LIFE} -bits 2048 -cert user.pem -key user.key -certdir",
        str(certificates), "-out", str(proxy))  # fmt: skip
    run(folder, f"voms-proxy-fake -rfc -hours 96 -bits 2048 -cert user.pem -key user.key -voms {VO} -fqan {ROLE} "
        f"-hostcert host.pem -hostkey host.key -uri localhost:15000 -certdir",
        str(certificates), "-out", str(voms))  # fmt: skip
    listed = folder / "vomsdir" / VO
    listed.mkdir(parents=True)
    (listed / "localhost.lsc").write_text(f"{SUBJECT}/CN=localhost\n{SUBJECT}/CN=Test CA\n")
    for made in (proxy, voms):
        os.chmod(made, 0o600)
    return {"proxy": str(proxy), "voms_proxy": str(voms), "vomsdir": str(folder / "vomsdir")}
