"""`python3 -m pilot.events [OPTIONS] -- COMMAND [ARG...]`: one run of a program for each event range.

For programs that know nothing of event ranges, and for what takes several steps a range (`sh -c 'before && work &&
after'`), as hyper-parameter points do. Each run has a directory of its own, `range.<id>` in the present one. What it
is about stands in the arguments ({id} {lfn} {guid} {scope} {path} {first} {last} are replaced) and in `range.json`,
which PILOT_RANGE names: there with `hp_point` and whatever else the server sent (`extra`). A run that ends well is a
range that is done, with the file NAME of its directory as output (`--output NAME`) and the loss that another tells
(`--loss NAME`); one that does not, or leaves no such file, is one that failed.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import threading
from collections import deque

from pilot.events.client import NoPilot, Range, ranges
from pilot.events.wire import PilotGone

_TEXT = 300


def main(words: list[str]) -> int:
    """Work until there are no more ranges. 0 if all was told, whatever became of the ranges; 1 without a pilot."""
    parser = argparse.ArgumentParser(prog="python3 -m pilot.events", description=__doc__.splitlines()[0])
    parser.add_argument("-j", "--workers", type=int, default=1, help="how many at once")
    parser.add_argument("--output", default="", help="the file that each run leaves in its directory")
    parser.add_argument("--loss", default="", help="the file with its loss: a number, or JSON that has it as `loss`")
    parser.add_argument("command", nargs="+")
    options = parser.parse_args(words)
    troubles: list[str] = []

    def work(number: int) -> None:
        try:
            for item in ranges(worker=f"runner-{os.getpid()}-{number}"):
                _one(item, options.command, options.output, options.loss)
        except (NoPilot, PilotGone) as error:
            troubles.append(str(error))

    threads = [threading.Thread(target=work, args=(number,)) for number in range(max(1, options.workers))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for trouble in troubles[:1]:
        print("pilot.events: " + trouble, file=sys.stderr)
    return 1 if troubles else 0


def _one(item: Range, command: list[str], output: str, loss: str) -> None:
    place = os.path.abspath("range." + item.id.replace("/", "_"))
    about = {
        "id": item.id, "lfn": item.lfn, "guid": item.guid, "scope": item.scope, "path": item.path,
        "first": item.start_event, "last": item.last_event,
    }  # fmt: skip
    try:
        os.makedirs(place, exist_ok=True)
        with open(os.path.join(place, "range.json"), "w") as file:
            json.dump({**about, "extra": item.extra}, file)
        code, said = _run([_filled(word, about) for word in command], place)
    except OSError as error:
        item.failed(str(error))
        return
    made = os.path.join(place, output)
    if code:
        item.failed("exit code %d%s" % (code, said and "; it said: " + said))  # noqa: UP031 - as old a Python as promised
    elif output and not os.path.exists(made):
        item.failed("it left no file " + output)
    else:
        try:
            item.done(made if output else "", _loss(os.path.join(place, loss)) if loss else None)
        except (OSError, ValueError, TypeError, KeyError) as error:
            item.failed(f"it left no loss in {loss}: {error}")


def _loss(path: str) -> float:
    with open(path) as file:
        told = json.load(file)
    return float(told["loss"] if isinstance(told, dict) else told)


def _filled(word: str, about: dict[str, object]) -> str:
    for name, value in about.items():
        word = word.replace("{" + name + "}", str(value))
    return word


def _run(argv: list[str], place: str) -> tuple[int, str]:
    """Its exit code, and the last line of what it said on stderr; all of that goes on to our own."""
    env = {**os.environ, "PILOT_RANGE": os.path.join(place, "range.json")}
    child = subprocess.Popen(argv, cwd=place, env=env, stderr=subprocess.PIPE)
    last: deque[bytes] = deque(maxlen=1)
    assert child.stderr is not None
    with child.stderr:
        for line in child.stderr:
            sys.stderr.buffer.write(line)
            if line.strip():
                last.append(line.strip())
    sys.stderr.flush()
    return child.wait(), (last[0].decode("utf-8", "replace")[:_TEXT] if last else "")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
