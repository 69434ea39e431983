import json
from http.server import BaseHTTPRequestHandler
from pathlib import Path

from pilot.core.job import JobDefinition, OutputFile
from pilot.core.storage import Access, StagingSite, Storage
from pilot.lib.cancel import Cancel
from pilot.lib.tracesink import TraceSink
from pilot.staging.plan import plan_stage_out
from pilot.staging.sendout import send_out
from tests.copytools.making import content, transferer
from tests.copytools.webserver import Handler, WebServer, serving, until


def test_outputs_that_one_storage_refuses_go_together_to_the_next(tmp_path: Path) -> None:
    with serving(tmp_path / "web") as web:
        site = StagingSite(
            storages=(
                Storage("FULL", accesses=(Access(f"{web.url}/full/"),)),
                Storage("GOOD", accesses=(Access(f"{web.url}/good/"),)),
            ),
            astorages={"write_lan": ("FULL", "GOOD")},
            allow_alternative=True,
        )
        files = tuple(OutputFile(name, scope="s", rse="FULL") for name in ("o0", "o1", "gone"))
        for file in files[:2]:
            content(tmp_path / "w" / file.lfn, b"data")
        definition = JobDefinition(job_id=1, outputs=files)
        transfers = plan_stage_out(definition, files, str(tmp_path / "w"), site)
        mover = transferer()
        outcomes = send_out(mover, transfers, definition, site, cancel=Cancel())
        mover.close()
    assert [outcome.rse for outcome in outcomes[:2]] == ["GOOD", "GOOD"]
    assert [bool(outcome.failure) for outcome in outcomes] == [False, False, True]
    assert outcomes[2].failure and outcomes[2].failure.code == 1165, "a missing output is nobody's storage's fault"
    assert [bool(attempt.failure) for attempt in outcomes[0].attempts] == [True, False]
    assert sum(1 for path in (tmp_path / "web" / "good").rglob("o*") if path.is_file()) == 2


class Traces(Handler):
    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.seen.append(("POST", self.path, json.loads(body)))
        self.answer(201 if self.path == "/traces/" else 500)


def test_traces_are_sent_in_order_over_one_connection_and_failures_are_counted(tmp_path: Path) -> None:
    assert issubclass(Traces, BaseHTTPRequestHandler)
    import threading

    server = WebServer(tmp_path, Traces)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        sink = TraceSink(f"{server.url}/traces/")
        for number in range(5):
            sink.put({"n": number})
        until(lambda: sink.sent == 5)
        sink.close()
        assert [body["n"] for _, _, body in server.seen] == list(range(5))  # type: ignore[call-overload]
        assert server.connections == 1
        bad = TraceSink(f"{server.url}/other/")
        bad.put({"n": 1})
        until(lambda: bad.lost == 1)
        bad.close()
        assert "500" in bad.error
        nobody = TraceSink("http://127.0.0.1:9/")
        nobody.put({})
        until(lambda: nobody.lost == 1)
        nobody.close()
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
