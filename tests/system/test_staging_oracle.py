"""`pilot transfer` beside pegasus-transfer 5.1.3 on the same lists: the same files, and an exit code that agrees."""

from __future__ import annotations

import json
import os
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
            found[name] = "-> " + os.readlink(path).replace(str(folder), "")
        elif path.is_dir():
            found[name] = "/"
        else:
            found[name] = path.read_text()
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


CASES = [case_files, case_dirs, case_priorities, case_move, case_missing, case_empty]


def laid_out(folder: Path) -> Path:
    shutil.rmtree(folder, ignore_errors=True)
    (folder / "in" / "folder").mkdir(parents=True)
    for name in ("a", "b", "two words", "per%20cent", "folder/c"):
        (folder / "in" / name).write_text(f"content of {name}")
    return folder


@pytest.mark.parametrize("case", CASES)
def test_a_list_has_the_same_effect(case: Any, pegasus: dict[str, Any], tmp_path: Path) -> None:
    results = {}
    for who in ("pegasus", "pilot"):
        folder = laid_out(tmp_path / "work")
        text = json.dumps(case(str(folder)))
        (tmp_path / "list.json").write_text(text)
        env = {**os.environ, "DATA": str(folder / "in"), "PYTHONPATH": str(ROOT) if who == "pilot" else ""}
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
