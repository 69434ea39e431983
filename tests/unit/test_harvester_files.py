"""Harvester's files: names, what a half-written file means, and the types that the server will demand."""

from __future__ import annotations

import json
import threading
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pilot.core.definition import parse
from pilot.core.errors import JsonRetrievalTimeout, NoJobsInPanda, PayloadExecutionFailure
from pilot.core.ranges import Chunk, Consumer, Granted, RangeStatus, RangeUpdate
from pilot.core.update import JobUpdate, Node, State, StoredFile
from pilot.core.usage import Usage
from pilot.lib.filesystem import is_shared, kind_of
from pilot.plugins.sources.base import Acquired, Capacity
from pilot.plugins.sources.harvester import HarvesterSource
from pilot.plugins.sources.harvester_box import FileBox, Role, jobs_of, read_job_spec
from pilot.plugins.sources.harvester_events import HarvesterEvents
from pilot.plugins.sources.harvester_jumbo import part_of
from pilot.plugins.sources.harvester_names import MapType, Names, parse_names
from pilot.plugins.sources.harvester_reports import attributes, dump_entries
from pilot.plugins.sources.harvester_settings import HarvesterSettings
from tests.bench import patience
from tests.harvester_standin import INTEGERS, NUMBERS, TEXTS

JOBS = {"7": {"PandaID": 7, "jobPars": "a b"}, "8": {"PandaID": 8, "jobPars": "{}"}}


def test_harvesters_defaults_hold_and_both_of_its_vocabularies_change_them():
    assert parse_names("").kill == "kill_worker.json"
    assert parse_names("killWorkerFile=k, jsonAttrsFileName = a").kill == "k"
    assert parse_names("jobSpecFile=x", "/ap/attrs.json", "dump.json") == Names(
        attributes="attrs.json", dump="dump.json", job_spec="x"
    )


@pytest.mark.parametrize(
    ("text", "said"),
    [("jobSpecfile=x", "'jobSpecFile'"), ("jobSpecFile", "name of a file"), ("jobSpecFile=../x", "access point")],
)
def test_a_wrong_name_is_told_with_the_nearest_right_one(text, said):
    with pytest.raises(ValueError, match=said):
        parse_names(text)


@given(st.integers(0, len(json.dumps(JOBS)) - 1))
def test_a_job_file_that_is_being_written_holds_no_job(cut):
    assert jobs_of(json.dumps(JOBS)[:cut]) == {}
    assert jobs_of(json.dumps(JOBS)) == JOBS


def test_url_encoded_jobs_count_once_the_file_has_come_to_rest(tmp_path):
    import os

    path = tmp_path / "spec"
    path.write_text("PandaID=7&jobPars=a+b%26c&coreCount=")
    assert read_job_spec(path) == {}
    os.utime(path, (time.time() - 5,) * 2)
    assert read_job_spec(path) == {"7": {"PandaID": "7", "jobPars": "a b&c", "coreCount": ""}}


def test_a_single_description_is_a_job_too(tmp_path):
    (tmp_path / "spec").write_text('{"PandaID": 9, "x": {"y": 1}}')
    assert read_job_spec(tmp_path / "spec") == {"9": {"PandaID": 9, "x": {"y": 1}}}


@pytest.mark.parametrize("role", [Role.JOB_REQUEST, Role.EVENT_REQUEST])
def test_nothing_is_written_over_what_harvester_has_not_taken(tmp_path, role):
    box = FileBox(tmp_path, Names(), MapType.ONE)
    assert box.write(role, {"first": 1})
    assert box.busy(role) and not box.write(role, {"second": 2})
    assert json.loads(box.place(role).read_text()) == {"first": 1}
    box.place(role).unlink()
    assert box.write(role, {"second": 2})
    box.close()


def ranges(*names: str, path: str = "") -> list[dict]:
    more = {"path": path, "type": "zip_output"} if path else {}
    return [{"eventRangeID": name, "eventStatus": "finished", **more} for name in names]


@pytest.mark.parametrize("role", [Role.DUMP, Role.EVENT_UPDATES])
def test_a_list_that_harvester_has_not_fetched_gets_longer(tmp_path, role):
    box = FileBox(tmp_path, Names(), MapType.ONE)
    assert box.write(role, {"7": ranges("a")}) and box.write(role, {"7": ranges("b", "a"), "8": ranges("c")})
    assert json.loads(box.place(role).read_text()) == {"7": ranges("a", "b"), "8": ranges("c")}
    assert [path.name for path in tmp_path.iterdir() if path.suffix != ".lock"] == [box.place(role).name]
    assert box.busy(role) and box.busy(role, 7) and not FileBox(tmp_path / "none", Names(), MapType.ONE).busy(role, 7)
    box.close()


def test_a_long_list_is_left_to_harvester(tmp_path):
    box = FileBox(tmp_path, Names(), MapType.ONE)
    assert box.write(Role.DUMP, {"7": ranges(*map(str, range(40_000)), path="/ap/" + 40 * "x")})
    assert not box.write(Role.DUMP, {"7": ranges("more")})
    box.place(Role.DUMP).unlink()
    assert box.write(Role.DUMP, {"7": ranges("more")})
    box.close()


def test_what_an_interrupted_pilot_took_back_is_told_by_the_next(tmp_path):
    box = FileBox(tmp_path, Names(), MapType.ONE)
    box.write(Role.DUMP, {"7": ranges("a")})
    box.place(Role.DUMP).rename(tmp_path / "event_status.dump.json.back.1")
    assert box.busy(Role.DUMP)
    box.write(Role.DUMP, {"7": ranges("b")})
    assert json.loads(box.place(Role.DUMP).read_text()) == {"7": ranges("a", "b")}
    box.close()


def test_what_a_killed_pilot_has_told_is_not_told_again(tmp_path):
    def told(*numbers: int) -> None:
        updates = tuple(RangeUpdate(f"r{n}", RangeStatus.FAILED) for n in numbers)
        box = FileBox(tmp_path, Names(), MapType.ONE)
        assert HarvesterEvents(box).update(Consumer(7), [Chunk(updates)]).stored == (True,) * len(numbers)
        box.close()

    updates = tmp_path / "worker_updateevents.json"
    told(1, 2)
    updates.rename(tmp_path / "worker_updateevents.json.read.2026-11-21_14_15_13.715318")
    told(2, 3)
    told(3, 4)
    assert [entry["eventRangeID"] for entry in json.loads(updates.read_text())["7"]] == ["r3", "r4"]


def test_the_loss_of_a_hyper_parameter_point_is_told_with_its_range(tmp_path):
    box = FileBox(tmp_path, Names(), MapType.ONE)
    updates = (RangeUpdate("a", RangeStatus.FINISHED, loss=0.25), RangeUpdate("b", RangeStatus.FINISHED))
    HarvesterEvents(box).update(Consumer(7), [Chunk(updates)])
    told = json.loads((tmp_path / "worker_updateevents.json").read_text())["7"]
    word = {"eventStatus": "finished"}
    assert told == [{"eventRangeID": "a", **word, "loss": 0.25}, {"eventRangeID": "b", **word}]
    box.close()


def test_event_updates_never_lie_where_harvester_would_write_over_them(tmp_path):
    """It makes updates of the ranges in a list of outputs, and renames them over those of the worker."""
    box = FileBox(tmp_path, Names(), MapType.ONE)
    dump, updates = box.place(Role.DUMP), box.place(Role.EVENT_UPDATES)
    box.write(Role.EVENT_UPDATES, {"7": ranges("a")})
    assert updates.exists() and not dump.exists()
    box.write(Role.DUMP, {"7": [{"path": "/ap/log", "type": "log"}]})
    assert updates.exists() and dump.exists()
    box.write(Role.DUMP, {"7": ranges("b", path="/ap/zip")})
    assert not updates.exists()
    box.write(Role.EVENT_UPDATES, {"7": ranges("c")})
    assert not updates.exists()
    told = json.loads(dump.read_text())["7"]
    assert [entry.get("eventRangeID") for entry in told] == ["a", None, "b", "c"]
    dump.rename(tmp_path / "event_status.dump.json.read")
    box.write(Role.EVENT_UPDATES, {"7": ranges("d")})
    assert not updates.exists() and json.loads(dump.read_text()) == {"7": ranges("d")}
    box.close()


def test_a_list_is_fetched_whole_and_once_however_often_it_is_lengthened(tmp_path):
    """Harvester comes by at any moment while two pilots of a worker write."""
    boxes = [FileBox(tmp_path, Names(), MapType.JUMBO) for _ in range(2)]
    path, count, fetched = boxes[0].place(Role.DUMP), 150, []

    def write(which: int) -> None:
        for n in range(count):
            boxes[which].write(Role.DUMP, {"7": ranges(f"r{which}.{n}", path="/ap/zip")})

    writers = [threading.Thread(target=write, args=(which,)) for which in range(2)]
    for writer in writers:
        writer.start()
    while any(writer.is_alive() for writer in writers) or path.exists():
        try:
            path.rename(tmp_path / "fetched")
        except FileNotFoundError:
            continue
        fetched += [entry["eventRangeID"] for entry in json.loads((tmp_path / "fetched").read_text())["7"]]
    for which, box in enumerate(boxes):
        mine = [name for name in fetched if name.startswith(f"r{which}.")]
        assert mine == [f"r{which}.{n}" for n in range(count)]
        box.close()


def test_ranges_are_asked_for_again_when_the_request_has_gone_without_an_answer(tmp_path):
    box = FileBox(tmp_path, Names(), MapType.ONE, look_s=0.05)
    box.late_s = 0.1
    request, events = box.place(Role.EVENT_REQUEST), HarvesterEvents(box, 60.0)
    granted: list[Granted] = []
    asking = threading.Thread(target=lambda: granted.append(events.acquire(Consumer(7), 2)))
    asking.start()
    for _ in range(2):
        assert patience(request.exists, 30)
        request.unlink()
    assert patience(request.exists, 30)
    (tmp_path / "JobsEventRanges.json").write_text(json.dumps({"7": ranges("a")}))
    request.unlink()
    asking.join(30)
    assert [item.id for item in granted[0].ranges] == ["a"]
    box.close()


JUMBO = {
    "PandaID": 7, "eventService": "True", "logFile": "x.log.tgz", "outFiles": "a.root,x.log.tgz,b.root",
    "scopeOut": "s,s", "scopeLog": "l", "realDatasets": "da,dl,db", "ddmEndPointOut": "A,L,B", "destinationDblock": "n",
    "allowNoOutput": "b.root",
}  # fmt: skip


def test_a_worker_of_a_jumbo_job_has_a_log_of_its_own_and_no_other_output():
    found = parse(part_of(JUMBO, "12"))
    assert found.outputs == () and found.jumbo and found.use_prefetcher
    assert found.log is not None
    assert (found.log.lfn, found.log.scope, found.log.dataset, found.log.rse) == ("x.log.tgz._12", "l", "dl", "L")
    assert parse(part_of({**JUMBO, "logFile": "", "outFiles": ""}, "12")).log is None
    assert part_of({"PandaID": 8, "outFiles": "a"}, "12") == {"PandaID": 8, "outFiles": "a"}


def test_a_worker_that_never_got_a_job_ends_for_that_reason(tmp_path):
    settings = HarvesterSettings(Node(host="n"), push=True, patience_s=0.0)
    source = HarvesterSource(FileBox(tmp_path, Names(), MapType.ONE), settings)
    assert source.acquire(Capacity(1)) == Acquired(finished=True, error=NoJobsInPanda.code)
    (tmp_path / "HPCJobs.json").write_text('{"7": {"PandaID": 7, "jobPars"')
    assert source.acquire(Capacity(1)) == Acquired(finished=True, error=JsonRetrievalTimeout.code)
    (tmp_path / "HPCJobs.json").write_text(json.dumps(JOBS))
    assert len(source.acquire(Capacity(2)).jobs) == 2
    assert source.acquire(Capacity(1)) == Acquired(finished=True)
    source.close()


def test_a_worker_of_one_job_asks_for_no_other(tmp_path):
    (tmp_path / "HPCJobs.json").write_text(json.dumps({"7": JOBS["7"]}))
    source = HarvesterSource(FileBox(tmp_path, Names(), MapType.ONE), HarvesterSettings(Node(host="n"), jobs=1))
    assert source.acquire(Capacity(1)) == Acquired((JOBS["7"],), finished=True)
    assert source.acquire(Capacity(1)).finished and not (tmp_path / "worker_requestjob.json").exists()
    source.close()


def test_attributes_are_written_whole_each_time(tmp_path):
    box = FileBox(tmp_path, Names(), MapType.MANY)
    assert box.write(Role.ATTRIBUTES, {"n": 1}, 7) and box.write(Role.ATTRIBUTES, {"n": 2}, 7)
    assert json.loads((tmp_path / "7" / "worker_attributes.json").read_text()) == {"n": 2}
    assert [p.name for p in (tmp_path / "7").iterdir()] == ["worker_attributes.json"]
    box.write(Role.HEARTBEAT, {}, 7)
    assert (tmp_path / "worker_heartbeat.json").exists()
    box.close()


def test_a_feed_is_taken_away_once_it_is_whole(tmp_path):
    box = FileBox(tmp_path, Names(), MapType.ONE)
    assert box.event_ranges() is None
    path = tmp_path / "JobsEventRanges.json"
    path.write_text('{"7": [{"eventRangeID"')
    assert box.event_ranges() is None and path.exists()
    path.write_text('{"7": []}')
    assert box.event_ranges() == {"7": []} and not path.exists()
    box.close()


@pytest.mark.parametrize("shared", [False, True])
def test_a_change_wakes_who_waits_and_so_does_the_end(tmp_path, shared):
    box = FileBox(tmp_path, Names(), MapType.ONE, look_s=0.05)
    box._quick = not shared
    watch = box.watch()
    (tmp_path / "x").write_text("")
    begin = time.monotonic()
    assert watch.wait(20)
    assert time.monotonic() - begin < 10
    threading.Timer(0.05, box.close).start()
    while watch.wait(20):
        assert time.monotonic() - begin < 10
    watch.close()


UPDATES = st.builds(
    JobUpdate,
    job_id=st.integers(1, 10**12),
    attempt=st.integers(0, 99),
    state=st.sampled_from(list(State)),
    at=st.floats(0, 2e9),
    started=st.none() | st.floats(0, 2e9),
    cores=st.none() | st.integers(1, 256),
    mean_cores=st.none() | st.floats(0, 256),
    events=st.none() | st.integers(0, 10**9),
    usage=st.none()
    | st.builds(Usage, wall_s=st.floats(0, 1e6), user_s=st.floats(0, 1e6), max_rss_kb=st.integers(0, 10**9)),
    timing_s=st.dictionaries(st.sampled_from(["getjob", "payload"]), st.floats(0, 1e6)),
    payload_exit=st.none() | st.integers(0, 255),
    error=st.none() | st.just(PayloadExecutionFailure("x").failure()),
    log_excerpt=st.text(max_size=50),
)


@given(UPDATES)
def test_attributes_have_the_types_that_the_server_demands(update):
    told = json.loads(json.dumps(attributes(update, Node(host="n", cpu_unit="s+x", cpu_factor=1))))
    assert set(told) <= INTEGERS | TEXTS | NUMBERS
    for key, value in told.items():
        wanted = int if key in INTEGERS else str if key in TEXTS else float
        assert type(value) is wanted, (key, value)
    assert {"transExitCode", "pilotErrorCode", "jobStatus"} <= set(told)


def test_only_files_that_harvester_can_see_are_listed():
    files = [
        StoredFile("a.root", "G1", 5, {"adler32": "0a"}, "file:///ap/a.root"),
        StoredFile("b.root", "G2", 5, {}, "root://far/b.root"),
        StoredFile("job.1.log.tgz", "G3", 6, {}, "/ap/job.1.log.tgz"),
    ]
    assert dump_entries(files) == [
        {"path": "/ap/a.root", "type": "output", "fsize": 5, "guid": "G1", "chksum": "0a"},
        {"path": "/ap/job.1.log.tgz", "type": "log", "fsize": 6, "guid": "G3"},
    ]


MOUNTS = """\
22 1 8:1 / / rw - ext4 /dev/sda1 rw
30 22 0:50 / /home rw shared:3 - nfs4 server:/home rw
31 30 0:51 / /home/local\\040disk rw - xfs /dev/sdb rw
32 22 0:52 / /mnt rw - fuse.sshfs host: rw
"""


@pytest.mark.parametrize(
    ("path", "kind", "shared"),
    [
        ("/etc", "ext4", False),
        ("/home/me", "nfs4", True),
        ("/homer", "ext4", False),
        ("/home/local disk/x", "xfs", False),
        ("/mnt", "fuse.sshfs", True),
    ],
)
def test_the_innermost_mount_decides_whether_others_may_change_a_place(path, kind, shared):
    assert (kind_of(path, MOUNTS), is_shared(path, MOUNTS)) == (kind, shared)
