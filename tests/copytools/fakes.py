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
    elif word[0] == "-" and not words:
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
