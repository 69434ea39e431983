"""Event jobs on real PanDA servers: their own tables give out the ranges and take what became of them."""

from __future__ import annotations

import sys
from collections import Counter
from typing import Any

from tests.system.panda_site import WAITS_S, PandaSite

WORK = """
from pilot.events import ranges
for r in ranges():
    with open("out." + r.id, "w") as file:
        file.write(r.lfn)
    if r.start_event == 11:
        r.failed("bad basket", fatal=True)
    else:
        r.done(file.name)
"""
READY, FINISHED, FAILED = 0, 3, 7


class EventTask:
    """A task with one input of 95 events, in ranges of 10."""

    def __init__(self, site: PandaSite, folder: str = "inputs") -> None:
        self.site, self.inputs = site, site.folder / folder
        self.inputs.mkdir()
        (self.inputs / "in.root").write_text("events")
        (row,) = site.rows("SELECT nextval('jobsdefined4_pandaid_seq') AS id")
        self.id = n = row["id"]
        site.change(
            f"""
            INSERT INTO JEDI_Tasks (jediTaskID, status, taskType, splitRule) VALUES ({n}, 'running', 'test', 'ES=10');
            INSERT INTO JEDI_Datasets (jediTaskID, datasetID, datasetName, type, status, nFiles, nFilesUsed)
                VALUES ({n}, {n}, 'testvo:input', 'input', 'ready', 1, 0);
            INSERT INTO JEDI_Dataset_Contents (jediTaskID, datasetID, fileID, lfn, GUID, scope, status, attemptNr,
                maxAttempt, keepTrack) VALUES ({n}, {n}, {n}, 'in.root', 'g', 'testvo', 'picked', 0, 3, 1);
            """
        )

    def submit(self, work: str, **more: Any) -> int:
        """A job whose payload is this Python program; its number."""
        program = self.site.folder / "work.py"
        program.write_text(work)
        n = self.id
        file = {"lfn": "in.root", "GUID": "g", "jediTaskID": n, "datasetID": n, "fileID": n, "attemptNr": 0, "fsize": 6}
        facts = {
            "jediTaskID": n,
            "eventService": 1,
            "lockedby": "jedi",
            "specialHandling": "es:1:in.root/0/94/10/3^",
            "inputs": [file],
        }
        (number,) = self.site.submit(f"exec {sys.executable} {program}", outputs=(), **{**facts, **more})
        return number

    def ranges(self) -> list[dict[str, Any]]:
        """The ranges as the server has them, in the order of their events."""
        return self.site.rows(f"SELECT * FROM JEDI_Events WHERE jediTaskID = {self.id} ORDER BY def_min_eventID")


def test_each_range_is_taken_from_the_table_and_told_once(panda_site: PandaSite) -> None:
    task = EventTask(panda_site)
    number = task.submit(WORK)
    assert Counter(row["status"] for row in task.ranges()) == {READY: 10}
    assert panda_site.run("--input-dir", str(task.inputs)) == 0, panda_site.log()
    told = task.ranges()
    assert [row["status"] for row in told] == [FINISHED, FAILED, *[FINISHED] * 8], panda_site.log()
    assert (told[1]["error_code"], told[1]["error_diag"], told[1]["attemptnr"]) == (1228, "bad basket", 1)
    assert {row["pandaid"] for row in told} == {number}
    (archive,) = [row for row in panda_site.files(number).values() if row["type"] == "zipoutput"]
    assert {row["ziprow_id"] for row in told if row["status"] == FINISHED} == {archive["row_id"]}
    assert (panda_site.outputs / archive["lfn"]).stat().st_size == archive["fsize"]
    assert (archive["destinationse"], panda_site.job(number)["nevents"]) == ("", 85)


def test_a_copy_of_a_cloned_job_runs_if_no_other_has_its_range(panda_site: PandaSite) -> None:
    states = []
    for taken in (False, True):
        task = EventTask(panda_site, f"inputs-{taken}")
        number = task.submit(
            "open('../ran', 'x')  # once", eventService=3, specialHandling="sc:1,es:1:in.root/0/0/1/3^"
        )
        if taken:
            panda_site.change(f"UPDATE JEDI_Events SET status = 1, PandaID = 1 WHERE jediTaskID = {task.id}")
        assert panda_site.run("--input-dir", str(task.inputs)) == 0, panda_site.log()
        (event,) = task.ranges()
        assert event["pandaid"] == (1 if taken else number)
        job = panda_site.job(number)
        states.append((job["jobstatus"], job["piloterrorcode"]))
    assert states == [("holding", 0), ("holding", 1234)], panda_site.log()


SLOW = """
import time
from pilot.events import ranges
for r in ranges():
    open("../begun", "w").close()
    time.sleep(1)
    r.done()
"""


def test_a_pre_empted_event_job_tells_what_it_has_and_takes_no_more(panda_site: PandaSite) -> None:
    task = EventTask(panda_site)
    number = task.submit(SLOW)
    pilot = panda_site.start("--input-dir", str(task.inputs), "--heartbeat", "0.2")
    panda_site.wait((panda_site.workdir / "begun").exists, "begun")
    assert panda_site.call("job/set_command", {"job_id": number, "command": "softkill"})["success"]
    assert pilot.wait(WAITS_S) == 0, panda_site.log()
    told = Counter(row["status"] for row in task.ranges())
    assert told[FINISHED] >= 1 and told[READY] >= 1, panda_site.log()
    job = panda_site.job(number)
    assert (job["jobstatus"], job["piloterrorcode"]) == ("holding", 0)
