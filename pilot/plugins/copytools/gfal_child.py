"""Runs gfal2 for the copy tool `gfal`, in whatever Python has its bindings: requests and answers are lines of JSON.

A request is `{"do": "copy", "jobs": [...]}`, or `stat`, `remove`, `mkdir` with a `url`; after `save` with a `target`
and a `size` so many bytes follow. Nothing of the pilot is imported, and older Pythons will do.
"""

import errno
import json
import os
import stat
import sys
from collections.abc import Callable
from typing import Any

Answer = dict[str, Any]
BLOCK = 1 << 20


def main() -> None:
    """Answer until nobody asks any more. What libraries print goes nowhere."""
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    try:
        import gfal2
    except ImportError as error:
        answers.write(json.dumps({"missing": f"gfal2: {error}"}) + "\n")
        return
    context = gfal2.creat_context()
    for line in iter(sys.stdin.buffer.readline, b""):
        request = json.loads(line)
        configure(context, request.get("options") or {})
        answer: Answer
        jobs = request.get("jobs") or [request]
        for job in jobs:
            try:
                answer = _DEEDS[request["do"]](gfal2, context, job)
            except gfal2.GError as error:
                answer = {"errno": error.code, "message": str(error)}
            except OSError as error:
                answer = {"errno": error.errno or 5, "message": str(error)}
            answers.write(json.dumps(answer) + "\n")


def configure(context: Any, options: dict[str, Any]) -> None:
    """Credentials for the plug-ins that do not look at the environment."""
    for group, name, value in options.get("strings", ()):
        context.set_opt_string(group, name, value)


def copy(gfal2: Any, context: Any, job: dict[str, Any]) -> Answer:
    """One file; the directories above its target are made."""
    params = context.transfer_parameters()
    params.overwrite = bool(job.get("overwrite", True))
    params.create_parent = True
    params.timeout = int(job["timeout"])
    if job.get("checksum"):
        kind, _, value = job["checksum"].partition(":")
        params.set_user_defined_checksum(kind.upper(), value)
        params.checksum_check = True
    context.filecopy(params, job["source"], job["target"])
    return {"ok": True}


def save(gfal2: Any, context: Any, job: dict[str, Any]) -> Answer:
    """What follows on standard input, to `target`. Of a stream that fails or is cut nothing is left there."""
    url, left = job["target"], job["size"]
    if not job.get("overwrite", True) and there(gfal2, context, url):
        return {"errno": errno.EEXIST, "message": "file exists"}
    context.mkdir_rec(url.rpartition("/")[0], 0o775)
    stream = context.open(url, "w")
    try:
        while left:
            data = sys.stdin.buffer.read(min(left, BLOCK))
            if not data:
                del stream
                context.unlink(url)
                sys.exit(1)
            left -= len(data)
            while data:
                data = data[stream.write(data) :]
    except gfal2.GError:
        del stream
        if there(gfal2, context, url):
            context.unlink(url)
        raise
    return {"ok": True}


def there(gfal2: Any, context: Any, url: str) -> bool:
    """Whether there is a file."""
    try:
        context.stat(url)
    except gfal2.GError as error:
        if error.code == errno.ENOENT:
            return False
        raise
    return True


def look(gfal2: Any, context: Any, job: dict[str, Any]) -> Answer:
    """Size, and the checksum if the storage tells one."""
    found = context.stat(job["url"])
    answer = {"ok": True, "size": found.st_size, "directory": stat.S_ISDIR(found.st_mode), "sums": {}}
    if not answer["directory"]:
        try:
            answer["sums"] = {"adler32": context.checksum(job["url"], "ADLER32")}
        except gfal2.GError:
            pass
    return answer


def remove(gfal2: Any, context: Any, job: dict[str, Any]) -> Answer:
    """A file, or a directory with all in it."""
    url = job["url"]
    if job.get("recursive") and stat.S_ISDIR(context.stat(url).st_mode):
        for name in context.listdir(url):
            if name not in (".", ".."):
                remove(gfal2, context, {"url": url.rstrip("/") + "/" + name, "recursive": True})
        context.rmdir(url)
    else:
        context.unlink(url)
    return {"ok": True}


def make_directory(gfal2: Any, context: Any, job: dict[str, Any]) -> Answer:
    """A directory and those above it."""
    context.mkdir_rec(job["url"], 0o775)
    return {"ok": True}


_DEEDS: dict[str, Callable[[Any, Any, dict[str, Any]], Answer]] = {
    "copy": copy,
    "save": save,
    "stat": look,
    "remove": remove,
    "mkdir": make_directory,
}

if __name__ == "__main__":
    main()
