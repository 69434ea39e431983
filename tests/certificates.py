"""An authority with a host, a user and an RFC 3820 proxy, made by openssl in a folder of a test."""

from __future__ import annotations

import subprocess
from pathlib import Path

_PROXY = "[p]\nproxyCertInfo=critical,language:id-ppl-inheritAll,pathlen:3\nkeyUsage=critical,digitalSignature\n"


class Authority:
    """`ca` signs `host` (for 127.0.0.1) and `user`, who signs `proxy`: PEM files, these three with their keys."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._run("req -x509 -newkey rsa:2048 -nodes -keyout ca.key -out ca.pem -days 2 -subj /CN=CA "
                  "-addext keyUsage=critical,keyCertSign,cRLSign")  # fmt: skip
        self.ca = folder / "ca.pem"
        self.host = self.issue("host", "subjectAltName=IP:127.0.0.1\nextendedKeyUsage=serverAuth")
        self.user = self.issue("user", "keyUsage=critical,digitalSignature\nextendedKeyUsage=clientAuth")
        self.proxy = self.make_proxy("proxy")

    def issue(self, name: str, extensions: str, days: int = 2) -> Path:
        """A certificate signed by the authority, in one file with its key."""
        return self._signed(name, f"/CN={name}", "ca.pem", "ca.key", f"[p]\n{extensions}\n", days)

    def make_proxy(self, name: str, days: int = 1) -> Path:
        """A proxy of the user: certificate, key and the user's certificate."""
        path = self._signed(name, "/CN=user/CN=12345", "user.pem", "user.pem", _PROXY, days)
        certificate = (self.folder / "user.crt").read_text()
        path.write_text(path.read_text() + certificate)
        return path

    def hashed(self) -> Path:
        """A directory as in /etc/grid-security/certificates."""
        folder = self.folder / "certificates"
        folder.mkdir(exist_ok=True)
        name = self._run("x509 -in ca.pem -noout -hash").strip()
        (folder / f"{name}.0").write_text(self.ca.read_text())
        return folder

    def _signed(self, name: str, subject: str, issuer: str, key: str, extensions: str, days: int) -> Path:
        (self.folder / "ext").write_text(extensions)
        self._run(f"req -newkey rsa:2048 -nodes -keyout {name}.key -out {name}.csr -subj {subject}")
        self._run(f"x509 -req -in {name}.csr -CA {issuer} -CAkey {key} -CAcreateserial -days {days} -sha256 "
                  f"-extfile ext -extensions p -out {name}.crt")  # fmt: skip
        path = self.folder / f"{name}.pem"
        path.write_text((self.folder / f"{name}.crt").read_text() + (self.folder / f"{name}.key").read_text())
        path.chmod(0o600)
        return path

    def _run(self, words: str) -> str:
        done = subprocess.run(["openssl", *words.split()], cwd=self.folder, capture_output=True, text=True, check=True)
        return done.stdout
