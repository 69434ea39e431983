"""What moving files costs beside the plain tools: `bin/bench transfer [--quick]`.

Each pair is measured in turns in one run, so that what else the machine does hits both; printed are the best of the
rounds (for many small files the medians) and their ratio. A row whose tool or server is not on this machine says so.
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import os
import shutil
import socket
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from pilot.core.staging import StagingSettings, ToolSettings
from pilot.core.transfer import Endpoint, Transfer
from pilot.lib.cancel import Cancel
from pilot.plugins.copytools import registry
from pilot.staging.report import to_json
from pilot.staging.toolbox import Toolbox
from pilot.staging.transfer import Transferer

GIB = 1 << 30


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="bin/bench transfer")
    parser.add_argument("--quick", action="store_true", help="smaller files, fewer rounds")
    parser.add_argument("--dir", default=None, help="where to work (a local disk)")
    told = parser.parse_args()
    rounds, size = (2, GIB // 8) if told.quick else (5, 2 * GIB)
    print(f"{'work':<60}{'plain':>11}{'pilot':>11}{'ratio':>8}   reach")
    with tempfile.TemporaryDirectory(dir=told.dir) as name:
        folder = Path(name)
        one_file(folder, rounds)
        missing(folder, rounds)
        no_output(folder, rounds)
        many_files(folder, rounds)
        over_http(folder, rounds)
        large_file(folder, rounds, size)
        over_xrootd(folder, min(rounds, 3), size // 2)


def row(what: str, plain_s: float | None, pilot_s: float, reach: str) -> None:
    """One line of the table, times in ms."""
    plain = f"{plain_s * 1000:.1f} ms" if plain_s is not None else "-"
    ratio = f"{pilot_s / plain_s:.2f}" if plain_s else "-"
    print(f"{what:<60}{plain:>11}{pilot_s * 1000:>8.1f} ms{ratio:>8}   {reach}", flush=True)


def best(
    rounds: int,
    *ways: Callable[[], object],
    before: Callable[[], object] = lambda: None,
    of: Callable[[list[float]], float] = min,
) -> list[float]:
    """The shortest time in s of each way, tried in turns in another order each round; `of` may be the median."""
    times: list[list[float]] = [[] for _ in ways]
    for first in range(rounds):
        for number in range(first, first + len(ways)):
            before()
            begin = time.perf_counter()
            ways[number % len(ways)]()
            times[number % len(ways)].append(time.perf_counter() - begin)
    return [of(kept) for kept in times]


def mover(**settings: object) -> Transferer:
    """The staging engine in this process."""
    box = Toolbox(registry.registry(), registry.by_scheme(), registry.ALIASES, ToolSettings(), registry.abilities())
    return Transferer(StagingSettings(**settings), box)  # type: ignore[arg-type]


def carry(engine: Transferer, orders: list[Transfer]) -> None:
    """Carry out; every file must arrive."""
    failures = [outcome.failure for outcome in engine.carry_out(orders, cancel=Cancel()) if outcome.failure]
    if failures:
        raise SystemExit(f"{len(failures)} files failed: {failures[0].message}")


def order(source: str, target: Path, **more: object) -> Transfer:
    """One file to move."""
    return Transfer(target.name, (Endpoint(source),), (Endpoint(str(target)),), **more)  # type: ignore[arg-type]


def _run_list(folder: Path, orders: list[dict[str, object]], expected: int) -> None:
    (folder / "list.json").write_text(to_json(orders))
    done = subprocess.run(
        [sys.executable, "-P", "-m", "pilot", "transfer", str(folder / "list.json")],
        env=_environment(),
        capture_output=True,
    )
    if done.returncode != expected:
        raise SystemExit(done.stderr.decode())


def _environment() -> dict[str, str]:
    """As for a pilot that is installed: with modules that are compiled once."""
    words = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    return words | {"PYTHONPATH": str(Path(__file__).resolve().parents[2])}


def one_file(folder: Path, rounds: int) -> None:
    """A tool that is started for one small file."""
    (folder / "small").write_bytes(os.urandom(4096))
    entry = {"type": "transfer", "sources": [str(folder / "small")], "targets": [str(folder / "small.copy")]}
    plain, ours = best(
        rounds,
        lambda: subprocess.run(["cp", str(folder / "small"), str(folder / "small.copy")], check=True),
        lambda: _run_list(folder, [entry], 0),
    )
    row("one 4 KiB file, tool started from a shell", plain, ours, "250 ms")


def missing(folder: Path, rounds: int) -> None:
    """A source that is not there: the whole command, and the engine alone."""
    entry = {"type": "transfer", "sources": [str(folder / "nope")], "targets": [str(folder / "x")]}
    engine = mover()

    def alone() -> None:
        engine.carry_out([order(str(folder / "nope"), folder / "x")], cancel=Cancel())

    whole, refused = best(rounds, lambda: _run_list(folder, [entry], 1), alone)
    row("a missing local source, whole command", None, whole, "")
    row("a missing local source, after start", None, refused, "100 ms")


def no_output(folder: Path, rounds: int) -> None:
    """A payload that exits with 3 and writes nothing: a whole job, from the start of a pilot to its end."""
    job = {
        "PandaID": 3,
        "transformation": "/bin/sh",
        "jobPars": "-c 'exit 3'",
        "outFiles": "out.dat,bench.log.tgz",
        "scopeOut": "bench",
        "scopeLog": "bench",
        "logFile": "bench.log.tgz",
    }
    (folder / "job.json").write_text(to_json(job))
    fresh = (folder / f"pilot.{number}" for number in itertools.count())

    def whole() -> None:
        workdir = next(fresh)
        words = ["-P", "-m", "pilot", "run", "--source", "local", "--queue", "bench", "--workdir", str(workdir)]
        subprocess.run([sys.executable, *words, str(folder / "job.json")], env=_environment(), capture_output=True)
        with contextlib.closing(sqlite3.connect(workdir / "pilot.db")) as db:
            told = db.execute("SELECT exit_code, outcome, phase FROM jobs").fetchall()
        if told != [(3, "failed", "done")]:
            raise SystemExit(f"the 3 was not reported: {told}")

    bare, ours = best(rounds, lambda: subprocess.run(["/bin/sh", "-c", "exit 3"]), whole)
    row("a payload exits 3 without its output, whole pilot", bare, ours, "1000 ms beside")


def many_files(folder: Path, rounds: int) -> None:
    """A thousand small files, checksummed here and not by cp.

    First, every copy goes to a directory of its own and nothing is removed meanwhile. Then all go to one directory that
    is removed before each: as when a node is at work, where ext4 looks long for the place of a new file because many
    have just gone, which takes everybody ten times as long.
    """
    source = folder / "many"
    source.mkdir()
    names = {f"f{i}": str(source / f"f{i}") for i in range(1000)}
    for path in names.values():
        Path(path).write_bytes(os.urandom(4096))
    engine = mover()
    new = (folder / f"many.{number}" for number in itertools.count())
    used = folder / "many.again"
    again = False

    def place() -> Path:
        return used if again else next(new)

    def clear() -> None:
        if again:
            shutil.rmtree(used, ignore_errors=True)
        os.sync()

    def ours() -> None:
        target = str(place())
        carry(engine, [Transfer(n, (Endpoint(p),), (Endpoint(f"{target}/{n}"),), size=4096) for n, p in names.items()])

    def whole() -> None:
        target = place()
        entries: list[dict[str, object]] = [
            {"type": "transfer", "sources": [path], "targets": [str(target / name)]} for name, path in names.items()
        ]
        _run_list(folder, entries, 0)

    for again in (False, True):
        plain_s, ours_s, whole_s = best(
            max(rounds, 6),
            lambda: subprocess.run(["cp", "-r", str(source), str(place())], check=True),
            ours,
            whole,
            before=clear,
            of=statistics.median,
        )
        where = "where as many have gone" if again else "to a new directory"
        row(f"1000 x 4 KiB with adler32 {where}, engine", plain_s, ours_s, "1.5")
        row(f"1000 x 4 KiB with adler32 {where}, command", plain_s, whole_s, "1.5")


def over_http(folder: Path, rounds: int) -> None:
    """Two hundred small files from a web server on loopback."""
    source = folder / "web"
    source.mkdir()
    for i in range(200):
        (source / f"f{i}").write_bytes(os.urandom(4096))
    got = folder / "got"
    with _web_server(source) as url:
        words = ["curl", "-s"]
        for i in range(200):
            words += ["-o", str(got / f"c{i}"), f"{url}/f{i}"]
        engine = mover()
        orders = [order(f"{url}/f{i}", got / f"f{i}", size=4096) for i in range(200)]

        def clear() -> None:
            shutil.rmtree(got, ignore_errors=True)
            got.mkdir()

        ways: list[Callable[[], object]] = [lambda: carry(engine, orders)]
        if shutil.which("curl"):
            ways.append(lambda: subprocess.run(words, check=True))
        ours, *plain = best(rounds * 2, *ways, before=clear)
        row("200 x 4 KiB over HTTP with adler32, one curl", plain[0] if plain else None, ours, "1.2")
        engine.close()


@contextlib.contextmanager
def _web_server(root: Path) -> Iterator[str]:
    """nginx where it is installed, else a server in Python; its URL."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    if nginx := shutil.which("nginx"):
        conf = root.parent / "nginx.conf"
        conf.write_text(
            f"daemon off; pid {root.parent}/nginx.pid; error_log {root.parent}/nginx.log; worker_processes 1; "
            "user root; events {} http { access_log off; keepalive_requests 100000; "
            f"server {{ listen 127.0.0.1:{port}; location / {{ root {root}; }} }} }}"
        )
        words = [nginx, "-c", str(conf), "-e", str(root.parent / "nginx.log")]
    else:
        code = (
            "import sys, time\nfrom pathlib import Path\nfrom tests.copytools.webserver import WebServer, Handler\n"
            f"server = WebServer.__new__(WebServer)\nWebServer.at(server, Path({str(root)!r}), {port})\n"
            "server.serve_forever()\n"
        )
        words = [sys.executable, "-c", code]
    child = subprocess.Popen(words, cwd=Path(__file__).resolve().parents[2])
    try:
        end = time.monotonic() + 10
        while True:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
                break
            if time.monotonic() > end:
                raise SystemExit("the web server does not start")
        yield f"http://127.0.0.1:{port}"
    finally:
        child.terminate()
        child.wait()


def large_file(folder: Path, rounds: int, size: int) -> None:
    """One large file from warm memory."""
    source, target = folder / "large", folder / "large.copy"
    _fill(source, size)
    engine = mover()
    orders = [order(str(source), target, size=size)]
    plain, ours = best(
        rounds,
        lambda: subprocess.run(["cp", str(source), str(target)], check=True),
        lambda: carry(engine, orders),
        before=lambda: target.unlink(missing_ok=True),
    )
    row(f"one {size / GIB:g} GiB file, adler32 verified, cp", plain, ours, "1.3")
    target.unlink()
    source.unlink()


def over_xrootd(folder: Path, rounds: int, size: int) -> None:
    """One large file from an XRootD server on loopback."""
    if not shutil.which("xrootd") or not shutil.which("xrdcp") or "root" not in registry.by_scheme():
        print(f"{f'{size / GIB:g} GiB over XRootD, verified, xrdcp --cksum':<60}   no XRootD server and client here")
        return
    with _xrootd(folder / "xrd", size) as url:
        target = folder / "xrd.copy"
        engine = mover()
        plain, ours = best(
            rounds,
            lambda: subprocess.run(["xrdcp", "-s", "-f", "--cksum", "adler32:source", url, str(target)], check=True),
            lambda: carry(engine, [order(url, target, size=size)]),
            before=lambda: target.unlink(missing_ok=True),
        )
        row(f"{size / GIB:g} GiB over XRootD, verified, xrdcp --cksum", plain, ours, "1.1")
        engine.close()


@contextlib.contextmanager
def _xrootd(folder: Path, size: int) -> Iterator[str]:
    """An XRootD server with one file; its URL."""
    (folder / "data").mkdir(parents=True)
    _fill(folder / "data" / "large", size)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    (folder / "x.cfg").write_text(
        f"xrd.port {port}\nall.export /data\noss.localroot {folder}\nall.adminpath {folder}/adm\n"
        f"all.pidpath {folder}/run\nxrootd.chksum max 2 adler32\nxrootd.async off\n"
    )
    words = ["xrootd", "-c", str(folder / "x.cfg"), "-l", str(folder / "log"), "-n", "bench"]
    if os.geteuid() == 0:
        for path in (folder.parent, folder, folder / "data", folder / "data" / "large"):
            path.chmod(0o777)
        words = ["setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups", *words]
    child = subprocess.Popen(words, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        end = time.monotonic() + 20
        while True:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
                break
            if time.monotonic() > end or child.poll() is not None:
                raise SystemExit("the XRootD server does not start")
        yield f"root://127.0.0.1:{port}//data/large"
    finally:
        child.terminate()
        child.wait()


def _fill(path: Path, size: int) -> None:
    block = os.urandom(1 << 20)
    with path.open("wb") as stream:
        for _ in range(size >> 20):
            stream.write(block)


if __name__ == "__main__":
    main()
