"""`pilot transfer` beside pegasus-transfer 5.1.3 on the same lists: the same files, and an exit code that agrees."""

from __future__ import annotations

import hashlib
import json
import os
import random
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]


def tree(folder: Path) -> dict[str, str]:
    """What is below a folder: link targets relative to it, contents of files."""
    found = {}
    for path in sorted(folder.rglob("*")):
        name = str(path.relative_to(folder))
        if path.is_symlink():
            found[name] = "-> " + os.path.normpath(os.readlink(path)).replace(str(folder), "")
        elif path.is_dir():
            found[name] = "/"
        else:
            found[name] = f"{path.stat().st_mode & 0o777:o} {path.stat().st_nlink} {path.read_text()}"
    return found


def place(url: str, label: str = "local", **more: object) -> dict[str, object]:
    return {"site_label": label, "url": url, **more}


def transfer(number: int, source: object, target: object, **more: object) -> dict[str, object]:
    sources = source if isinstance(source, list) else [place(str(source))]
    return {
        "type": "transfer",
        "id": number,
        "lfn": f"f{number}",
        "src_urls": sources,
        "dest_urls": [place(str(target))],
        **more,
    }


def case_files(at: str) -> list[dict[str, object]]:
    return [
        transfer(1, f"file://{at}/in/a", f"file://{at}/out/deep/a"),
        transfer(2, f"{at}/in/b", f"file://{at}/out/b"),
        transfer(3, f"file://{at}/in/a", f"symlink://{at}/out/link"),
        transfer(4, f"file://{at}/in/two words", f"file://{at}/out/two words"),
        transfer(5, "file://$DATA/a", f"file://{at}/out/by-variable"),
        transfer(6, f"file://{at}/in/per%20cent", f"file://{at}/out/per%20cent"),
    ]


def case_dirs(at: str) -> list[dict[str, object]]:
    return [
        {"type": "mkdir", "id": 1, "target": place(f"file://{at}/new/one/two")},
        {"type": "remove", "id": 2, "target": place(f"file://{at}/in/a")},
        {"type": "remove", "id": 3, "target": place(f"file://{at}/in/folder", recursive=True)},
        {"type": "remove", "id": 4, "target": place(f"file://{at}/in/was-never-there")},
    ]


def case_priorities(at: str) -> list[dict[str, object]]:
    sources = [
        place(f"file://{at}/in/a", priority=10),
        place(f"file://{at}/in/b", priority=90),
        place(f"file://{at}/in/nope", priority=99),
    ]
    return [transfer(1, sources, f"file://{at}/out/x")]


def case_move(at: str) -> list[dict[str, object]]:
    return [transfer(1, f"file://{at}/in/a", f"moveto://{at}/out/moved")]


def case_missing(at: str) -> list[dict[str, object]]:
    return [transfer(1, f"file://{at}/in/nope", f"file://{at}/out/x")]


def case_empty(at: str) -> list[dict[str, object]]:
    return []


def case_url_forms(at: str) -> list[dict[str, object]]:
    """The forms of a local URL; relative ones begin in the current directory."""
    return [
        transfer(1, f"file:{at}/in/a", f"file:///{at}/out/three-slashes"),
        transfer(2, f"file://localhost{at}/in/a", f"file://localhost{at}/out/localhost"),
        transfer(3, "file://work/in/a", "file://work/out/relative"),
        transfer(4, "work/in/b", "work/out/bare"),
        transfer(5, "file://${DATA}/a", "file://$DATA/../out/braces"),
        transfer(6, f"file://{at}/in/a", f"symlink:{at}/out/link-without-slashes"),
        transfer(7, f"file://{at}/in/größe", f"file://{at}/out/größe"),
        transfer(8, f"file://{at}/in/a+b&c=d#e?f", f"file://{at}/out/a+b&c=d#e?f"),
        transfer(9, f"file:///{at}/in/a", "file://localhost/$DATA/../out/local-variable"),
    ]


def case_keys_of_all_kinds(at: str) -> list[dict[str, object]]:
    """What a planner writes beside what matters here."""
    return [
        transfer(
            1,
            [place(f"file://{at}/in/a", priority="10", checkpoint=False), place(f"file://{at}/in/nope", type=None)],
            f"file://{at}/out/a",
            linkage="input",
            bypass=True,
            verify_symlink_source=False,
            transfer_as_is={"more": [1, 2]},
        ),
        {"type": "transfer", "src_urls": [place(f"file://{at}/in/b")], "dest_urls": [place(f"file://{at}/out/b")]},
        transfer(3, f"file://{at}/in/a", f"file://{at}/out/c", linkage="inout", generate_checksum=False),
    ]


def case_destinations(at: str) -> list[dict[str, object]]:
    """Of several destinations the one with the highest priority; a later entry writes over an earlier one."""
    ends = [place(f"file://{at}/out/low", priority=1), place(f"file://{at}/out/high", priority=50)]
    return [
        {**transfer(1, f"file://{at}/in/a", ""), "dest_urls": ends},
        transfer(2, f"file://{at}/in/b", f"file://{at}/in/existing"),
        transfer(3, f"file://{at}/in/a", f"file://{at}/in/a"),
        transfer(4, f"file://{at}/in/link", f"file://{at}/out/by-link"),
        transfer(5, f"file://{at}/in/link", f"symlink://{at}/out/link-to-link"),
    ]


def case_dangling(at: str) -> list[dict[str, object]]:
    """A link to what is not there: only where nobody is to look."""
    return [transfer(1, f"file://{at}/in/nope", f"symlink://{at}/out/dangling", verify_symlink_source=False)]


def case_refused_link(at: str) -> list[dict[str, object]]:
    return [transfer(1, f"file://{at}/in/nope", f"symlink://{at}/out/dangling")]


def case_unreadable_source_then_next(at: str) -> list[dict[str, object]]:
    sources = [place(f"file://{at}/in/nope", priority=9), place(f"file://{at}/in/b", "other-site", priority=1)]
    return [transfer(1, sources, f"file://{at}/out/next")]


def case_remove_a_folder(at: str) -> list[dict[str, object]]:
    """Without `recursive` a directory stays."""
    return [{"type": "remove", "target": place(f"file://{at}/in/folder")}]


def case_mkdir_where_a_file_is(at: str) -> list[dict[str, object]]:
    return [{"type": "mkdir", "target": place(f"file://{at}/in/a/below")}]


def case_link_removed(at: str) -> list[dict[str, object]]:
    return [
        {"type": "remove", "target": place(f"symlink://{at}/in/link")},
        {"type": "mkdir", "target": place(f"{at}/new dir/with blank")},  # two of them are too much for the other one
    ]


def case_directories(at: str) -> list[dict[str, object]]:
    """A directory takes what is meant for it, also one that is only named."""
    return [
        transfer(1, f"file://{at}/in/a", f"file://{at}/in/folder"),
        transfer(2, f"file://{at}/in/b", f"file://{at}/new/folder/"),
        transfer(3, f"file://{at}/in/a", f"symlink://{at}/in/links/"),
        transfer(4, f"file://{at}/in/folder", f"symlink://{at}/out/link-to-folder"),
        transfer(5, f"file://{at}/in/existing", f"moveto://{at}/in/folder"),
        transfer(6, f"file://{at}/in/b", f"file://{at}/in/link-to-folder"),
    ]


def case_same_file(at: str) -> list[dict[str, object]]:
    """What is there already, under this or another name, stays as it is."""
    return [
        transfer(1, f"file://{at}/in/a", f"symlink://{at}/in/a"),
        transfer(2, f"file://{at}/in/b", f"symlink://{at}/in/link"),
        transfer(3, f"file://{at}/in/b", f"file://{at}//in/link-too"),
        transfer(4, f"file://{at}/in/existing", f"symlink://{at}/in/existing", verify_symlink_source=False),
        transfer(5, f"file://{at}/in/hard", f"file://{at}/in/hard-too"),
        transfer(6, f"file://{at}/in/read-only", f"file://{at}/out/read-only"),
    ]


def case_words_of_removals(at: str) -> list[dict[str, object]]:
    words = {"folders/c": "yes", "folders/d": "T", "folders/e": 1, "existing": None, "größe": "no", "two words": ""}
    made = [{"type": "remove", "target": place(f"file://{at}/in/{name}", recursive=w)} for name, w in words.items()]
    return [*made, {"type": "remove", "target": place(f"file://{at}/in/a/below-a-file")}]


def case_odd_values(at: str) -> list[dict[str, object]]:
    """Priorities of other kinds, keys without a value, variables with half their braces."""
    sources = [place(f"file://{at}/in/a", priority=1.5), place(f"file://{at}/in/b", priority=" 7 ", type=3)]
    nothing = {"linkage": None, "generate_checksum": None, "verify_checksum_remote": None}
    return [
        transfer(1, sources, f"file://{at}/out/x", **nothing),
        {**transfer(2, f"file://{at}/in/a", f"file://{at}/out/y"), "lfn": 7},
        transfer(3, f"file://{at}/in/a", f"file://{at}/out/p${{NAMEq"),
        transfer(4, f"file://{at}/in/a", f"file://{at}/out/p$NAME}}q"),
    ]


def case_many(at: str) -> list[dict[str, object]]:
    """Whatever comes: names, spellings, sources that are not there, manners."""
    dice = random.Random(5)
    names = ("a", "b", "two words", "per%20cent", "größe", "a+b&c=d#e?f", "link", "read-only", "folder/c", "nope")
    heads = (f"file://{at}/in", f"{at}/in", f"file:{at}//in", f"file://localhost{at}/in", "file://$DATA", f"{at}/./in")
    made: list[dict[str, object]] = []
    for number in range(80):
        ranks = dice.sample(range(100), dice.choice((1, 2, 3)))
        sources = [place(f"{dice.choice(heads)}/{dice.choice(names)}", priority=rank) for rank in ranks]
        sources.append(place(f"file://{at}/in/b", priority=-1))
        way = dice.choice(("file://", "file://", "symlink://"))
        end = dice.choice((f"n{number}", f"deep/{number}/x", f"/n {number}", f"./n{number}"))
        made.append(transfer(number, sources, f"{way}{at}/out/{end}"))
    return made


CASES = [
    case_many,
    case_directories,
    case_same_file,
    case_words_of_removals,
    case_odd_values,
    case_files,
    case_dirs,
    case_priorities,
    case_move,
    case_missing,
    case_empty,
    case_url_forms,
    case_keys_of_all_kinds,
    case_destinations,
    case_dangling,
    case_refused_link,
    case_unreadable_source_then_next,
    case_remove_a_folder,
    case_mkdir_where_a_file_is,
    case_link_removed,
]


def laid_out(folder: Path) -> Path:
    shutil.rmtree(folder, ignore_errors=True)
    (folder / "in" / "folder").mkdir(parents=True)
    for name in ("a", "b", "two words", "per%20cent", "folder/c"):
        (folder / "in" / name).write_text(f"content of {name}")
    for name in ("größe", "a+b&c=d#e?f", "existing"):
        (folder / "in" / name).write_text(f"content of {name}")
    (folder / "in" / "link").symlink_to(folder / "in" / "b")
    (folder / "in" / "link-too").symlink_to("b")
    (folder / "in" / "link-to-folder").symlink_to(folder / "in" / "folder")
    for name in "cdef":
        (folder / "in" / "folders" / name / "deep").mkdir(parents=True)
    (folder / "in" / "links").mkdir()
    for name in ("hard", "hard-too"):
        os.link(folder / "in" / "a", folder / "in" / name)
    (folder / "in" / "read-only").write_text("r")
    (folder / "in" / "read-only").chmod(0o444)
    return folder


@pytest.mark.parametrize("case", CASES)
def test_a_list_has_the_same_effect(case: Any, pegasus: dict[str, Any], tmp_path: Path) -> None:
    results = {}
    for who in ("pegasus", "pilot"):
        folder = laid_out(tmp_path / "work")
        text = json.dumps(case(str(folder)))
        (tmp_path / "list.json").write_text(text)
        env = {
            **os.environ,
            "DATA": str(folder / "in"),
            "NAME": "n",
            "PEGASUS_TRANSFER_THREADS": "1",
            "PYTHONPATH": str(ROOT) if who == "pilot" else "",
        }
        words = pegasus["transfer"] if who == "pegasus" else [sys.executable, "-m", "pilot", "transfer"]
        done = subprocess.run(
            [*words, "--file", str(tmp_path / "list.json"), "--max-attempts", "1"],
            env=env,
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=120,
        )
        results[who] = (done.returncode, tree(folder), done.stdout + done.stderr)
    assert results["pilot"][:2] == results["pegasus"][:2], (results["pilot"][2], results["pegasus"][2])


def test_the_old_text_form_has_the_same_effect(pegasus: dict[str, Any], tmp_path: Path) -> None:
    results = {}
    for who in ("pegasus", "pilot"):
        folder = laid_out(tmp_path / "work")
        text = f"# src 1 local\nfile://{folder}/in/a\n# dst 1 local\nfile://{folder}/out/a\n"
        words = pegasus["transfer"] if who == "pegasus" else [sys.executable, "-m", "pilot", "transfer"]
        env = {**os.environ, "PYTHONPATH": str(ROOT) if who == "pilot" else ""}
        done = subprocess.run([*words, "-m", "1"], env=env, cwd=tmp_path, input=text, capture_output=True, text=True)
        results[who] = (done.returncode, tree(folder))
    assert results["pilot"] == results["pegasus"]


def test_some_of_a_list_is_a_failure_for_both(pegasus: dict[str, Any], tmp_path: Path) -> None:
    codes = {}
    for who in ("pegasus", "pilot"):
        folder = laid_out(tmp_path / "work")
        (tmp_path / "list.json").write_text(json.dumps(case_missing(str(folder)) + case_files(str(folder))[:1]))
        words = pegasus["transfer"] if who == "pegasus" else [sys.executable, "-m", "pilot", "transfer"]
        env = {**os.environ, "PYTHONPATH": str(ROOT) if who == "pilot" else ""}
        done = subprocess.run(
            [*words, "-f", str(tmp_path / "list.json"), "-m", "1"],
            env=env,
            cwd=tmp_path,
            capture_output=True,
            text=True,
        )
        codes[who] = done.returncode
        assert (folder / "out" / "deep" / "a").exists()
    assert codes == {"pegasus": 1, "pilot": 2}


@pytest.mark.parametrize(
    "words",
    [
        ["-s", "-n", "1"],
        ["--symlink", "--threads", "1", "--debug"],
        ["-m", "1", "-n", "1", "-d"],
        ["--max-attempts=1", "--threads=1"],
    ],
    ids=" ".join,
)
def test_the_options_that_scripts_give_have_the_same_effect(
    words: list[str], pegasus: dict[str, Any], tmp_path: Path
) -> None:
    results = {}
    for who in ("pegasus", "pilot"):
        folder = laid_out(tmp_path / "work")
        entries = [
            transfer(1, f"file://{folder}/in/a", f"file://{folder}/out/a"),
            transfer(2, f"file://{folder}/in/b", f"symlink://{folder}/out/b"),
        ]
        (tmp_path / "list.json").write_text(json.dumps(entries))
        program = pegasus["transfer"] if who == "pegasus" else [sys.executable, "-m", "pilot", "transfer"]
        env = {**os.environ, "PEGASUS_TRANSFER_THREADS": "1", "PYTHONPATH": str(ROOT) if who == "pilot" else ""}
        done = subprocess.run(
            [*program, *words, "--file", str(tmp_path / "list.json")], env=env, cwd=tmp_path, capture_output=True
        )
        results[who] = (done.returncode, tree(folder))
    assert results["pilot"] == results["pegasus"]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "no json",
        "{}",
        '[{"type": "unknown"}]',
        '[{"type": "transfer", "lfn": "a"}]',
        '["text"]',
        "# src 1\n",
        "[1]",
    ],
)
def test_what_cannot_be_read_is_an_error_for_both_and_moves_nothing(
    text: str, pegasus: dict[str, Any], tmp_path: Path
) -> None:
    for who in ("pegasus", "pilot"):
        words = pegasus["transfer"] if who == "pegasus" else [sys.executable, "-m", "pilot", "transfer"]
        env = {**os.environ, "PYTHONPATH": str(ROOT) if who == "pilot" else ""}
        done = subprocess.run([*words, "-m", "1"], env=env, cwd=tmp_path, input=text, capture_output=True, text=True)
        if not (who == "pegasus" and text in ("{}", "# src 1\n")):  # it takes these two for an empty list
            assert done.returncode != 0, (who, done.stdout, done.stderr)
        if who == "pilot":
            assert done.returncode == 2 and done.stderr.count("\n") == 1, done.stderr


def test_checksums_that_were_asked_for_are_written_as_the_integrity_tool_writes_them(
    pegasus: dict[str, Any], tmp_path: Path
) -> None:
    """The file of KICKSTART_INTEGRITY_DATA: the same records as the real tool's, its own timings apart."""
    tool = Path(pegasus["transfer"][-1]).with_name("pegasus-integrity.py")
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a").write_text("content")
    shutil.copytree(tmp_path / "in", tmp_path / "out")
    found = {}
    for who in ("pegasus", "pilot"):
        data = tmp_path / f"{who}.yaml"
        env = {**os.environ, "KICKSTART_INTEGRITY_DATA": str(data), "PYTHONPATH": str(ROOT) if who == "pilot" else ""}
        if who == "pegasus":
            words = [pegasus["python"], str(tool), f"--generate-fullstat-yaml=f1={tmp_path}/in/a"]
        else:
            (tmp_path / "l.json").write_text(
                json.dumps([transfer(1, f"{tmp_path}/in/a", f"{tmp_path}/out/a", generate_checksum=True)])
            )
            words = [sys.executable, "-m", "pilot", "transfer", str(tmp_path / "l.json")]
        done = subprocess.run(words, env=env, cwd=tmp_path, capture_output=True, text=True, check=True)
        lines = [
            line.strip().partition(":") for line in (data.read_text() if data.exists() else done.stdout).splitlines()
        ]
        found[who] = {name.strip("\"'"): value.strip(" \"'") for name, _, value in lines if name and name[0] != "#"}
    ours, theirs = found["pilot"], found["pegasus"]
    assert ours.keys() == theirs.keys()
    same = set(ours) - {"comment", "checksum_timing", "atime", "mtime", "ctime", "inode"}
    assert {name: ours[name] for name in same} == {name: theirs[name] for name in same}


@pytest.mark.parametrize("right", [True, False])
def test_a_file_to_be_verified_is_held_to_what_the_planner_wrote_down(
    right: bool, pegasus: dict[str, Any], tmp_path: Path
) -> None:
    tools = tmp_path / "tools"
    tools.mkdir()
    program = Path(pegasus["transfer"][-1]).with_name("pegasus-integrity.py")
    (tools / "pegasus-integrity").write_text(f'#!/bin/sh\nexec {pegasus["python"]} {program} "$@"\n')
    (tools / "pegasus-integrity").chmod(0o755)
    value = hashlib.sha256(b"content of a").hexdigest() if right else "0" * 64
    sums = {"checksum.type": "sha256", "checksum.value": value}
    (tmp_path / "job.meta").write_text(json.dumps([{"_id": "f1", "_attributes": sums}]))
    codes = {}
    for who in ("pegasus", "pilot"):
        folder = laid_out(tmp_path / "work")
        entry = transfer(1, f"file://{folder}/in/a", f"file://{folder}/out/a", verify_checksum_remote=True)
        words = pegasus["transfer"] if who == "pegasus" else [sys.executable, "-m", "pilot", "transfer"]
        path = f"{tools}:{os.environ['PATH']}"
        env = {**os.environ, "PATH": path, "PYTHONPATH": str(ROOT) if who == "pilot" else ""}
        done = subprocess.run(
            [*words, "-m", "1"], env=env, cwd=tmp_path, input=json.dumps([entry]), capture_output=True, text=True
        )
        codes[who] = done.returncode
    assert codes == ({"pegasus": 0, "pilot": 0} if right else {"pegasus": 1, "pilot": 1})
