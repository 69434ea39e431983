"""Programs of storages as small scripts on PATH, with a directory behind them; they say what the real ones say."""

from __future__ import annotations

import os
import sys
from pathlib import Path

_HEAD = """#!{python} -IS
import os, shutil, sys, zlib
ROOT = {root!r}
def here(url):
    return os.path.join(ROOT, url.partition("://")[2].partition("/")[2].lstrip("/")) if "://" in url else url
def adler(path):
    with open(path, "rb") as stream:
        return zlib.adler32(stream.read())
"""

_XRDCP = r"""
words, options = [], []
arguments = iter(sys.argv[1:])
cksum = ""
for word in arguments:
    if word == "--cksum":
        cksum = next(arguments)
    elif word[0] == "-" and word != "-" and not words:
        options.append(word)
    else:
        words.append(word)
*sources, target = words
code = errors = 0
kind, _, wanted = cksum.partition(":")
for number, source in enumerate(sources, 1):
    head = "Job #%d: " % number if len(sources) > 1 else "Run: "
    say = lambda text: sys.stderr.write(head + "[ERROR] " + text + "\n")
    place = os.path.join(target, os.path.basename(here(source))) if target.endswith("/") else target
    if source == "-":
        data = sys.stdin.buffer.read()
        os.makedirs(os.path.dirname(here(place)), exist_ok=True)
        with open(here(place), "wb") as stream:
            stream.write(data)
        continue
    if not os.path.exists(here(source)):
        say("Server responded with an error: [3011] Unable to open %s; no such file or directory  (source)" % source)
        code, errors = 54, errors + 1
        continue
    if "://" in place:
        os.makedirs(os.path.dirname(here(place)), exist_ok=True)
    try:
        if os.path.exists(here(place)) and "-f" not in options:
            raise FileExistsError(17, "file exists")
        shutil.copyfile(here(source), here(place))
    except OSError as error:
        say("Local error: %s:  (destination)" % error.strerror.lower())
        code, errors = 54, errors + 1
        continue
    if wanted == "print":
        sys.stderr.write("%s: %x %s %d\n" % (kind, adler(here(place)), here(place), os.path.getsize(here(place))))
    elif wanted and int(wanted, 16) != adler(here(place)):
        say("CheckSum error")
        code = 53
sys.exit(code)
"""

_XRDFS = r"""
host, verb, *words = sys.argv[1:]
path = os.path.join(ROOT, words[-1].lstrip("/"))
def gone():
    said = "[3011] Unable to %s %s; no such file or directory" % (verb, words[-1])
    sys.stderr.write("[ERROR] Server responded with an error: " + said + " \n\n")
    sys.exit(54)
if verb == "mkdir":
    os.makedirs(path, exist_ok=True)
elif not os.path.exists(path):
    gone()
elif verb == "stat":
    flag = "IsReadable|IsDir" if os.path.isdir(path) else "IsReadable"
    print("\nPath:   %s\nId:     1\nSize:   %d\nMTime:  x\nFlags:  16 (%s)" % (words[-1], os.path.getsize(path), flag))
elif verb == "query":
    print("adler32 %08x" % adler(path))
elif verb == "ls":
    print("\n".join(os.path.join(words[-1], name) for name in os.listdir(path)))
elif verb == "rm":
    os.unlink(path)
elif verb == "rmdir":
    os.rmdir(path)
"""


_LSM = r"""
words = sys.argv[1:]
facts = []
while words[0][0] == "-" and len(words) > 2:
    facts += words[:2]
    words = words[2:]
source, target = words
try:
    if "://" in target:
        os.makedirs(os.path.dirname(here(target)), exist_ok=True)
    shutil.copyfile(here(source), here(target))
except OSError as error:
    sys.exit("%s: %s" % (source, error.strerror))
"""

_GFAL = r"""
name = os.path.basename(sys.argv[0])
words = [word for word in sys.argv[1:] if word not in ("--parent", "-p", "-r", "--force")]
if "--timeout" in words:
    del words[words.index("--timeout"):words.index("--timeout") + 2]
def local(url):
    return url[7:] if url.startswith("file://") else here(url)
try:
    if name == "gfal-copy":
        if "://" in words[1] and not words[1].startswith("file:"):
            os.makedirs(os.path.dirname(local(words[1])), exist_ok=True)
        shutil.copyfile(local(words[0]), local(words[1]))
    elif name == "gfal-sum":
        print("%s %08x" % (words[0], adler(local(words[0]))))
    elif name == "gfal-mkdir":
        os.makedirs(local(words[0]), exist_ok=True)
    elif "-r" in sys.argv:
        shutil.rmtree(local(words[0]))
    else:
        os.unlink(local(words[0]))
except OSError as error:
    sys.stderr.write("%s error: %d (%s) - failed\n" % (name, error.errno, error.strerror))
    sys.exit(error.errno)
"""

_GFAL2 = r"""
import os, shutil, zlib
ROOT = {root!r}


class GError(Exception):
    def __init__(self, text, code):
        super().__init__(text)
        self.code = code


def here(url):
    if url.startswith("file://"):
        return url[7:]
    return os.path.join(ROOT, url.partition("://")[2].partition("/")[2].lstrip("/"))


def told(function):
    def wrapped(self, *words):
        try:
            return function(self, *words)
        except OSError as error:
            raise GError(error.strerror, error.errno)
    return wrapped


class Parameters:
    pass


class File:
    def __init__(self, path):
        self.stream = open(path, "wb", buffering=0)

    @told
    def write(self, data):
        return self.stream.write(data)


class Context:
    @told
    def open(self, url, flags):
        return File(here(url))

    def transfer_parameters(self):
        return Parameters()

    @told
    def filecopy(self, parameters, source, target):
        if not target.startswith("file:"):
            os.makedirs(os.path.dirname(here(target)), exist_ok=True)
        shutil.copyfile(here(source), here(target))

    @told
    def stat(self, url):
        return os.stat(here(url))

    @told
    def checksum(self, url, kind):
        return "%x" % zlib.adler32(open(here(url), "rb").read())

    @told
    def unlink(self, url):
        os.unlink(here(url))

    @told
    def rmdir(self, url):
        os.rmdir(here(url))

    @told
    def listdir(self, url):
        return os.listdir(here(url))

    @told
    def mkdir_rec(self, url, mode):
        os.makedirs(here(url), exist_ok=True)

    def set_opt_string(self, *words):
        pass


def creat_context():
    return Context()
"""


_RUCIO = {
    "rucio/__init__.py": "",
    "rucio/common/__init__.py": "",
    "rucio/common/exception.py": """
class RucioException(Exception):
    pass
class DataIdentifierNotFound(RucioException):
    pass
class SourceNotFound(RucioException):
    pass
""",
    "rucio/client/__init__.py": """
import os, zlib
from rucio.common.exception import DataIdentifierNotFound
ROOT = {root!r}
def place(did):
    return os.path.join(ROOT, did.partition(":")[2])
class Client:
    vo = "def"
    def list_rses(self, expression):
        return [{"rse": expression}]
    def get_metadata(self, scope, name):
        try:
            data = open(place(":" + name), "rb").read()
        except OSError:
            raise DataIdentifierNotFound(name)
        return {"bytes": len(data), "adler32": "%08x" % zlib.adler32(data), "md5": None}
    def list_replicas(self, dids, **words):
        for did in dids:
            if os.path.exists(place(":" + did["name"])):
                told = self.get_metadata("", did["name"])
                yield {**did, **told, "pfns": {"file://" + place(":" + did["name"]): {"rse": "A", "type": "DISK"}}}
""",
    "rucio/client/downloadclient.py": """
import hashlib, os, shutil, zlib
from rucio.client import place
class DownloadClient:
    def __init__(self, client=None, tracing=True):
        assert not tracing
    def download_dids(self, items, threads, traces_copy_out=None, deactivate_file_download_exceptions=False):
        assert deactivate_file_download_exceptions
        done = []
        for item in items:
            name = item["did"].partition(":")[2]
            if not os.path.exists(place(item["did"])):
                done.append({**item, "clientState": "FILE_NOT_FOUND"})
                continue
            data = open(place(item["did"]), "rb").read()
            have = {"adler32": "%08x" % zlib.adler32(data), "md5": hashlib.md5(data).hexdigest()}
            wrong = [(have[kind], item[kind]) for kind in have if item.get(kind, have[kind]) != have[kind]]
            if wrong:
                reason = "Checksum validation failed: Local checksum: %s, Rucio checksum: %s" % wrong[0]
                traces_copy_out.append({"clientState": "FAIL_VALIDATE", "stateReason": reason})
                done.append({**item, "clientState": "FAILED"})
                continue
            if name == "unreachable":
                traces_copy_out.append({"clientState": "FAILED", "stateReason": "The door  is shut"})
                done.append({**item, "clientState": "FAILED"})
                continue
            shutil.copyfile(place(item["did"]), os.path.join(item["base_dir"], os.path.basename(name)))
            done.append({**item, "clientState": "DONE"})
        return done
    download_pfns = download_dids
""",
    "rucio/rse/__init__.py": "",
    "rucio/rse/rsemanager.py": """
from rucio.client import place
def get_rse_info(rse, vo):
    return {"availability_write": True, "deterministic": True, "sign_url": "other" if rse == "SIGNED" else None}
def lfns2pfns(settings, lfns, operation, domain):
    return {"x": "file://localhost" + place(":" + lfn["name"]) for lfn in lfns}
""",
    "rucio/client/uploadclient.py": """
import json, os, shutil
from rucio.client import place
class UploadClient:
    def __init__(self, client=None, logger=None, tracing=True):
        assert not tracing
        logger(10, "off")
        logger.log(10, "off")
    def upload(self, items, summary_file_path):
        (item,) = items
        target = place(":" + item["did_name"])
        os.makedirs(os.path.dirname(target), exist_ok=True)
        shutil.copyfile(item["path"], target)
        told = {"pfn": "file://" + target, "bytes": os.path.getsize(target), "adler32": "00000001"}
        json.dump({item["did_name"]: told}, open(summary_file_path, "w"))
        return 0
""",
}


def install(folder: Path, root: Path, **programs: str) -> str:
    """Write the scripts; the PATH with which they are found first."""
    folder.mkdir(parents=True, exist_ok=True)
    root.mkdir(parents=True, exist_ok=True)
    for name, body in programs.items():
        path = folder / name.replace("_", "-")
        path.write_text(_HEAD.format(python=sys.executable, root=str(root)) + body)
        path.chmod(0o755)
    return f"{folder}:{os.environ['PATH']}"


def xrootd(folder: Path, root: Path) -> str:
    """`xrdcp` and `xrdfs`."""
    return install(folder, root, xrdcp=_XRDCP, xrdfs=_XRDFS)


def lsm(folder: Path, root: Path) -> str:
    """`lsm-get` and `lsm-put`."""
    return install(folder, root, lsm_get=_LSM, lsm_put=_LSM)


def gfal_programs(folder: Path, root: Path) -> str:
    """`gfal-copy` and its like."""
    return install(folder, root, gfal_copy=_GFAL, gfal_sum=_GFAL, gfal_rm=_GFAL, gfal_mkdir=_GFAL)


def gfal_module(folder: Path, root: Path) -> str:
    """A folder with a module `gfal2`."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "gfal2.py").write_text(_GFAL2.replace("{root!r}", repr(str(root))))
    return str(folder)


def rucio_clients(folder: Path, root: Path) -> str:
    """A folder with a package `rucio` that knows one storage."""
    for name, body in _RUCIO.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(body.replace("{root!r}", repr(str(root))))
    return str(folder)


_IMAGES = r"""
verb, *words = sys.argv[1:]
name = words[-1]
if verb == "pull" and "--force" not in words and not os.path.exists(os.path.join(ROOT, name)):
    sys.exit("Error response from daemon: manifest for %s not found: manifest unknown" % name)
if verb == "save":
    shutil.copyfile(os.path.join(ROOT, name), words[words.index("-o") + 1])
elif "--force" in words:
    if not os.path.exists(here(name)):
        sys.exit("FATAL: while pulling: 404 not found")
    shutil.copyfile(here(name), words[-2])
"""


def images(folder: Path, root: Path) -> str:
    """`docker` and `apptainer` with images below `root`; a PATH that has them."""
    return install(folder, root, docker=_IMAGES, apptainer=_IMAGES)
