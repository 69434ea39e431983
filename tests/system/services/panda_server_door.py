"""Serves the WSGI application of the `panda-server` package, unmodified, as its Apache httpd would: FOLDER HTTP HTTPS.

One port speaks plain HTTP and knows nobody; the other speaks TLS and tells the application who came with which
certificate, proxies included, in the variables that httpd and GridSite set. The server's daemon that concludes jobs is
run by `POST /operate/adder`; `GET /operate/shape` tells the order of the fields of jobs and files on submission, and
`GET /operate/callers` by path who asked last, with the very certificate or token (as a digest).
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import signal
import ssl
import sys
import threading
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from panda_hollow import Stubs

sys.path.pop(0)  # beside it lie modules named as packages that the server looks for

SHORT = {"domainComponent": "DC", "commonName": "CN", "organizationName": "O", "organizationalUnitName": "OU",
         "countryName": "C", "localityName": "L"}  # fmt: skip


def identity(connection: ssl.SSLSocket) -> dict[str, str]:
    """What GridSite tells of the certificate: the name of its bearer, and the attributes of the organisation."""
    parts = connection.getpeercert() or {}
    names = [f"/{SHORT.get(kind, kind)}={value}" for ((kind, value),) in parts.get("subject", ())]
    if not names:
        return {}
    # A proxy's own names are numbers at the end; the bearer is who signed it.
    told = {"SSL_CLIENT_S_DN": re.sub(r"(/CN=\d+)+$", "", "".join(names))}
    text = connection.getpeercert(binary_form=True) or b""
    for number, role in enumerate(dict.fromkeys(re.findall(rb"/[\w.-]+/Role=\w+", text))):
        told[f"GRST_CRED_{number}"] = f"VOMS 0 0 0 {role.decode()}"
    return told


def load():
    """The application, over the database that its configuration names."""
    sys.meta_path.append(Stubs())
    from pandaserver.server import panda

    panda.panda_config.setupPlugin()
    return panda


CALLERS: dict[str, list[str]] = {}


def note(path, connection, token):
    """Who asks for this."""
    der = connection.getpeercert(binary_form=True) if isinstance(connection, ssl.SSLSocket) else None
    CALLERS[path] = [hashlib.sha256(shown or b"").hexdigest() for shown in (der, token.encode())]


def operate(panda, path):
    """What tests ask of the server's own machinery."""
    if path.endswith("/callers"):
        return CALLERS
    if path.endswith("/shape"):
        from pandaserver.taskbuffer.FileSpec import FileSpec
        from pandaserver.taskbuffer.JobSpec import JobSpec

        return {"job": JobSpec._attributes, "file": FileSpec._attributes}
    return conclude(panda.taskBuffer)


def conclude(buffer):
    """What the server's daemon does with final reports, once; how many there were."""
    from pandaserver.brokerage.SiteMapper import SiteMapper
    from pandaserver.dataservice.adder_gen import AdderGen

    sites, waiting = SiteMapper(buffer), buffer.listJobOutputReport(only_unlocked=True, time_limit=0, grace_period=0)
    for number, state, attempt, _ in waiting:
        if buffer.lockJobOutputReport(number, attempt, "door", 10):
            AdderGen(buffer, number, state, attempt, ignore_tmp_error=False, siteMapper=sites, pid="door",
                     prelock_pid="door", lock_offset=10, lock_pool=None).run()  # fmt: skip
    return len(waiting)


def main():
    folder, ports = Path(sys.argv[1]), [int(number) for number in sys.argv[2:4]]
    certificate, key, trusted = sys.argv[4:7]
    os.environ["PANDA_HOME"] = str(folder)
    os.environ["PANDA_CONFIG_ROOT"] = str(folder / "etc/panda")
    panda = load()
    # It asks httpd so for another process after a request that was broken off; here is but this one.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    from werkzeug.serving import WSGIRequestHandler, make_server

    class Request(WSGIRequestHandler):
        protocol_version = "HTTP/1.1"

        def make_environ(self):
            made = super().make_environ()
            if isinstance(self.connection, ssl.SSLSocket):
                made |= {"HTTPS": "on", **identity(self.connection)}
            path = made["PATH_INFO"]
            note(path, self.connection, made.get("HTTP_AUTHORIZATION", "").removeprefix("Bearer "))
            return made | {"SCRIPT_NAME": path, "PATH_INFO": "", "CONTENT_LENGTH": made.get("CONTENT_LENGTH") or "0"}

        def log_request(self, code="-", size="-"):
            print(self.command, self.path, code, flush=True)

    def door(environ, start_response):
        path = environ["SCRIPT_NAME"]
        if not path.startswith("/operate/"):
            return panda.application(environ, start_response)
        said = json.dumps(operate(panda, path)).encode()
        start_response("200 OK", [("Content-Type", "application/json")])
        return [said]

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    context.load_verify_locations(trusted)
    context.verify_mode = ssl.CERT_OPTIONAL
    context.verify_flags |= ssl.VERIFY_ALLOW_PROXY_CERTS
    secure = make_server("127.0.0.1", ports[1], door, threaded=True, request_handler=Request, ssl_context=context)
    threading.Thread(target=secure.serve_forever, daemon=True).start()
    make_server("127.0.0.1", ports[0], door, threaded=True, request_handler=Request).serve_forever()


if __name__ == "__main__":
    main()
