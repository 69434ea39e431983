import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import jsonschema
import pytest

from tests.copytools.webserver import serving, until

ROOT = Path(__file__).resolve().parents[2]
SCHEMAS = ROOT / "configs" / "schema"


def pilot(*words: object, cwd: Path, stdin: str = "", **environment: str) -> subprocess.CompletedProcess[str]:
    env = {**os.environ, "PYTHONPATH": str(ROOT), **environment}
    return subprocess.run(
        [sys.executable, "-m", "pilot", *map(str, words)],
        cwd=cwd,
        env=env,
        input=stdin,
        capture_output=True,
        text=True,
        timeout=30,
    )


def transfer(source: object, target: object, **more: object) -> dict[str, object]:
    return {
        "type": "transfer",
        "lfn": str(target).rpartition("/")[2],
        "src_urls": [{"site_label": "here", "url": f"file://{source}"}],
        "dest_urls": [{"site_label": "here", "url": f"file://{target}"}],
        **more,
    }


def listed(directory: Path, entries: list[object], name: str = "list.json") -> Path:
    path = directory / name
    path.write_text(json.dumps(entries))
    jsonschema.validate(entries, json.loads((SCHEMAS / "transfer.schema.json").read_text()))
    return path


def report_of(path: Path) -> list[dict[str, object]]:
    schema = json.loads((SCHEMAS / "transfer-report.schema.json").read_text())
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    for line in lines:
        jsonschema.validate(line, schema)
    return lines


def test_a_pegasus_list_is_carried_out_unchanged(tmp_path: Path) -> None:
    (tmp_path / "it's a file").write_text("data")
    (tmp_path / "old").mkdir()
    (tmp_path / "old" / "junk").write_text("x")
    entries = [
        transfer(tmp_path / "it's a file", tmp_path / "out" / "copy", id=1, linkage="input", generate_checksum=True),
        {"type": "mkdir", "id": 2, "target": {"site_label": "here", "url": f"file://{tmp_path}/new/dir"}},
        {"type": "remove", "id": 3, "target": {"site_label": "here", "url": f"{tmp_path}/old", "recursive": True}},
        transfer("$DATA/it's a file", tmp_path / "out" / "linked", verify_symlink_source=True)
        | {"dest_urls": [{"site_label": "here", "url": f"symlink://{tmp_path}/out/linked"}]},
    ]
    done = pilot(
        "transfer", listed(tmp_path, entries), "--report", "r", cwd=tmp_path, DATA=str(tmp_path),
        KICKSTART_INTEGRITY_DATA=str(tmp_path / "sums"),
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "out" / "copy").read_text() == "data"
    assert (tmp_path / "out" / "linked").is_symlink()
    assert (tmp_path / "new" / "dir").is_dir()
    assert not (tmp_path / "old").exists()
    assert {line["state"] for line in report_of(tmp_path / "r")} == {"done"}
    assert f"sha256: {hashlib.sha256(b'data').hexdigest()}" in (tmp_path / "sums").read_text()


def test_the_list_may_come_on_standard_input_in_the_old_text_form(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("data")
    text = f"# src 1 local\nfile://{tmp_path}/a\n# dst 1 local\nfile://{tmp_path}/b\n"
    assert pilot("transfer", cwd=tmp_path, stdin=text).returncode == 0
    assert (tmp_path / "b").read_text() == "data"


def test_the_exit_code_tells_all_some_or_none(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("data")
    good, bad = transfer(tmp_path / "a", tmp_path / "b"), transfer(tmp_path / "nope", tmp_path / "c")
    assert pilot("transfer", listed(tmp_path, [good]), cwd=tmp_path).returncode == 0
    assert pilot("transfer", listed(tmp_path, [bad]), cwd=tmp_path).returncode == 1
    some = pilot("transfer", listed(tmp_path, [good, bad]), "--json", cwd=tmp_path)
    assert some.returncode == 2
    document = json.loads(some.stdout)
    assert [line["state"] for line in document["files"]] == ["done", "failed"]
    assert document["files"][1]["error"]["code"] == 1103
    assert "nope" in some.stderr
    assert pilot("transfer", cwd=tmp_path, stdin="[]").returncode == 0


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("[{]", "no JSON"),
        ("", "empty"),
        ('[{"type": "teleport"}]', "teleport"),
        ('[{"type": "transfer", "lfn": 5, "src_urls": [{"url": []}]}]', "entry 1, src_urls[0].url: "),
        ('[{"type": "transfer", "lfn": "x"}]', "no source"),
        ('[{"type": "mkdir"}]', "target"),
        ("# src 1 x\nfile:///a/b\n", "no destination"),
    ],
)
def test_a_list_that_cannot_be_read_is_named_in_one_line(text: str, word: str, tmp_path: Path) -> None:
    done = pilot("transfer", cwd=tmp_path, stdin=text)
    assert done.returncode == 2
    assert word in done.stderr
    assert len(done.stderr.splitlines()) == 1, done.stderr


def test_the_best_source_is_tried_first_and_the_next_after_it(tmp_path: Path) -> None:
    (tmp_path / "good").write_text("data")
    entry = transfer("x", tmp_path / "b") | {
        "src_urls": [
            {"site_label": "a", "url": f"file://{tmp_path}/worst", "priority": 1},
            {"site_label": "b", "url": f"file://{tmp_path}/good", "priority": 5},
            {"site_label": "c", "url": f"file://{tmp_path}/missing", "priority": 9},
        ]
    }
    done = pilot("transfer", listed(tmp_path, [entry]), "--report", "-", cwd=tmp_path)
    line = json.loads(done.stdout)
    assert [attempt["source"].rpartition("/")[2] for attempt in line["attempts"]] == ["missing", "good"]


def test_explain_tells_the_plan_and_moves_nothing(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("data")
    entries = [
        transfer(tmp_path / "a", tmp_path / "b"),
        {"type": "transfer", "sources": ["https://u:secret@h/a?X-Amz-Signature=abc"], "targets": [str(tmp_path / "c")]},
    ]
    done = pilot("transfer", listed(tmp_path, entries), "--explain", cwd=tmp_path)
    assert done.returncode == 0
    assert "copy: " in done.stdout and "http: " in done.stdout
    assert "secret" not in done.stdout and "abc" not in done.stdout
    assert not (tmp_path / "b").exists()


def test_explain_tells_where_a_credential_is_and_not_what_it_is(tmp_path: Path) -> None:
    keys = tmp_path / "keys"
    keys.write_text("[default]\naccess_key = AKIATESTKEY\nsecret_key = topsecret\n")
    keys.chmod(0o600)
    entries = [
        {"type": "transfer", "sources": ["s3://bucket/a"], "targets": [str(tmp_path / "a")]},
        {"type": "transfer", "sources": ["davs://h/a"], "targets": [str(tmp_path / "b")]},
    ]
    told = pilot(
        "transfer", listed(tmp_path, entries), "--explain", cwd=tmp_path, S3CFG=str(keys), BEARER_TOKEN="topsecret",
        HOME=str(tmp_path),
    ).stdout  # fmt: skip
    assert f"S3CFG ({keys})" in told and "token BEARER_TOKEN" in told
    assert "topsecret" not in told and "AKIATESTKEY" not in told


def test_an_unknown_scheme_fails_its_file_only(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("data")
    entries = [
        transfer(tmp_path / "a", tmp_path / "b"),
        {"type": "transfer", "sources": ["warp://x/a"], "targets": [str(tmp_path / "c")]},
    ]
    done = pilot("transfer", listed(tmp_path, entries), cwd=tmp_path)
    assert done.returncode == 2
    assert "warp" in done.stderr
    assert (tmp_path / "b").exists()


def test_a_file_goes_from_one_server_to_another_and_leaves_nothing_here(tmp_path: Path) -> None:
    with serving(tmp_path / "one") as one, serving(tmp_path / "two") as two:
        (one.root / "a").write_bytes(b"data" * 1000)
        entry = {"type": "transfer", "lfn": "a", "sources": [f"{one.url}/a"], "targets": [f"{two.url}/x/a"]}
        spool = tmp_path / "spool"
        spool.mkdir()
        done = pilot("transfer", listed(tmp_path, [entry]), "--json", cwd=tmp_path, TMPDIR=str(spool))
        assert done.returncode == 0, done.stderr
        assert (two.root / "x" / "a").read_bytes() == b"data" * 1000
        assert os.listdir(spool) == []


def test_a_secret_in_a_url_is_not_in_what_is_told(tmp_path: Path) -> None:
    with serving(tmp_path / "web") as server:
        where = server.url.replace("://", "://user:hunter2@")
        entry = {"type": "transfer", "sources": [f"{where}/nope?access_token=abcdef"], "targets": [str(tmp_path / "x")]}
        done = pilot("transfer", listed(tmp_path, [entry]), "--json", "-d", cwd=tmp_path)
        assert done.returncode == 1
        assert "hunter2" not in done.stdout + done.stderr
        assert "abcdef" not in done.stdout + done.stderr


def test_stop_on_error_gives_up_what_is_under_way_and_what_comes_after(tmp_path: Path) -> None:
    with serving(tmp_path / "web") as server:
        (server.root / "a").write_bytes(b"x" * 100_000)
        entries = [transfer(tmp_path / "nope", tmp_path / "x")]
        entries += [
            {"type": "transfer", "sources": [f"{server.url}/stall/a"], "targets": [f"{tmp_path}/o/{i}"]}
            for i in range(3)
        ]
        done = pilot("transfer", listed(tmp_path, entries), "--stop-on-error", "--json", cwd=tmp_path)
    assert done.returncode == 1
    errors = [line["error"]["message"] for line in json.loads(done.stdout)["files"]]
    assert [("given up" in error) for error in errors] == [False, True, True, True]


def test_a_drill_spoils_local_targets_as_it_is_told(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("data")
    entry = transfer(tmp_path / "a", tmp_path / "b", size=4)
    done = pilot("transfer", listed(tmp_path, [entry]), cwd=tmp_path, PEGASUS_TRANSFER_ERROR_RATE="100")
    assert done.returncode == 1
    assert not (tmp_path / "b").exists()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_it_at_once_and_leaves_no_part(number: signal.Signals, tmp_path: Path) -> None:
    with serving(tmp_path / "web") as server:
        (server.root / "a").write_bytes(b"x" * 100_000)
        path = listed(
            tmp_path, [{"type": "transfer", "sources": [f"{server.url}/stall/a"], "targets": [f"{tmp_path}/o/a"]}]
        )
        child = subprocess.Popen(
            [sys.executable, "-m", "pilot", "transfer", str(path)],
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        until(lambda: any((tmp_path / "o").glob(".*.part")) if (tmp_path / "o").exists() else False)
        begin = time.monotonic()
        child.send_signal(number)
        assert child.wait(10) == 128 + number
        assert time.monotonic() - begin < 3
        assert os.listdir(tmp_path / "o") == []


def test_mkdir_and_cleanup_do_what_they_say(tmp_path: Path) -> None:
    assert pilot("mkdir", tmp_path / "a b" / "c", "rel", cwd=tmp_path).returncode == 0
    assert (tmp_path / "a b" / "c").is_dir() and (tmp_path / "rel").is_dir()
    (tmp_path / "a b" / "c" / "f").write_text("12345")
    dry = pilot("cleanup", "-r", "--dry-run", "--json", tmp_path / "a b", cwd=tmp_path)
    assert dry.returncode == 0
    summary = json.loads(dry.stdout)["summary"]
    assert (summary["files"], summary["bytes"]) == (1, 5)
    assert (tmp_path / "a b" / "c" / "f").exists()
    assert pilot("cleanup", tmp_path / "a b", cwd=tmp_path).returncode == 1, "a directory needs -r"
    (tmp_path / "list").write_text(f"{tmp_path}/a b\n{tmp_path}/rel\n{tmp_path}/was-never-there\n")
    assert pilot("cleanup", "-r", "-f", "list", cwd=tmp_path).returncode == 0
    assert not (tmp_path / "a b").exists() and not (tmp_path / "rel").exists()


def test_cleanup_refuses_what_must_stay_and_then_removes_nothing(tmp_path: Path) -> None:
    home = tmp_path / "homes" / "me"
    work = home / "work"
    work.mkdir(parents=True)
    (tmp_path / "way").symlink_to(tmp_path / "homes")
    (work / "f").write_text("x")
    here = [home, f"{home}/", tmp_path / "homes", work, ".", "..", "a/../../x", "~root/..", tmp_path / "way" / "me"]
    victims = [
        "/",
        "//",
        *here,
        "~",
        f"symlink://{home}",
        "moveto:///",
        "file:///",
        "root://host//",
        "s3://bucket",
        "https://h/a/../b",
    ]
    for victim in victims:
        done = pilot("cleanup", "-r", str(work / "f"), victim, cwd=work, HOME=str(home))
        assert done.returncode == 2, (victim, done.stderr)
        assert "nothing was removed" in done.stderr
        assert (work / "f").exists()


def test_a_link_is_removed_and_not_what_it_points_to(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "f").write_text("x")
    (tmp_path / "link").symlink_to(tmp_path / "data")
    assert pilot("cleanup", "-r", str(tmp_path / "link") + "/", cwd=tmp_path).returncode == 0
    assert (tmp_path / "data" / "f").exists()
    assert not (tmp_path / "link").is_symlink()


def test_the_four_classes_of_outputs_go_where_they_belong(tmp_path: Path) -> None:
    (tmp_path / "o").write_bytes(b"data")
    entries = []
    for kind in ("pure", "intermediate"):
        for keep in (True, False):
            name = f"{kind}-{keep}"
            entries.append(
                {
                    "type": "transfer",
                    "lfn": name,
                    "sources": [str(tmp_path / "o")],
                    "output_class": kind,
                    "transfer": keep,
                    "staging": f"{tmp_path}/staging/{name}",
                    "output": f"{tmp_path}/output/{name}",
                }
            )
    done = pilot("transfer", listed(tmp_path, entries), cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert sorted(os.listdir(tmp_path / "staging")) == ["intermediate-False", "intermediate-True", "pure-False"]
    assert sorted(os.listdir(tmp_path / "output")) == ["intermediate-True", "pure-True"]
