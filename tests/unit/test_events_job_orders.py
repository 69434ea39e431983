"""What one event service job orders, whatever happens to it: hands that do nothing by themselves, time that stands."""

from __future__ import annotations

from dataclasses import dataclass, field

import msgspec
import pytest

from pilot.core.errors import CommunicationFailure, NoEvents, NoStorage, OutcomesNotStored
from pilot.core.ranges import EventRange, Granted, RangeStatus, Told
from pilot.core.rangestate import ArchiveState, RangeState, StoredArchive
from pilot.runtime.eventjob import EventJob
from pilot.runtime.eventoutput import OutputLimits
from pilot.runtime.eventplan import Plan
from pilot.runtime.eventwire import Done, Failed
from pilot.runtime.ledger import Ledger


@dataclass
class Hands:
    asked: list = field(default_factory=list)
    told: list = field(default_factory=list)
    packs: list = field(default_factory=list)
    closes: list = field(default_factory=list)
    stores: list = field(default_factory=list)
    dropped: list = field(default_factory=list)
    discarded: list = field(default_factory=list)
    saves: int = 0
    ended: int = 0
    missing: bool = False
    order: list = field(default_factory=list)
    rows: dict = field(default_factory=dict)

    def ask(self, count):
        self.asked.append(count)

    def tell(self, chunks):
        self.order.append("tell")
        self.told.append(chunks)

    def save(self, archives):
        for row in self.job.ledger.unwritten():
            self.rows[row.n] = msgspec.structs.replace(row, range=row.range or self.rows[row.n].range)
        self.order.append("save")
        self.saves += 1

    def pack(self, archive, outputs):
        self.packs.append((archive, outputs))

    def close_archive(self, archive, events):
        self.closes.append((archive, events))

    def discard(self, archive):
        self.discarded.append(archive)

    def store(self, archive):
        self.stores.append(archive)

    def drop_outputs(self, paths):
        self.order.append("drop")
        self.dropped.extend(paths)

    def present(self, item):
        return None if self.missing else item

    def outside(self, path):
        return path.replace("/srv", "/host", 1)

    def wake(self):
        pass

    def over(self):
        self.ended += 1


class Peer:
    classic = False

    def __init__(self, number):
        self.number, self.got, self.words = number, [], []

    def give(self, ranges):
        self.got.append([item.id for item in ranges])

    def no_more(self):
        self.words.append("no_more")

    def farewell(self):
        self.words.append("farewell")

    def refuse(self, id, why):
        self.words.append(f"refused {id}")


class World:
    """One job, its hands and a clock."""

    def __init__(self, **limits):
        self.now = 100.0
        self.hands = Hands()
        self.limits = limits
        self.tries = 0
        self.take_up(Ledger())

    def take_up(self, ledger, archives=()):
        plan = Plan(workers=2, tell_tries=self.tries, outputs=OutputLimits(**{"age_s": 50.0, **self.limits}))
        self.hands.job = self.job = EventJob(ledger, self.hands, plan, lambda: self.now, archives)

    def grant(self, count, exhausted=False, first=0):
        ranges = [EventRange(f"r{n}", "in", n, n) for n in range(first, first + count)]
        self.job.granted(Granted(tuple(ranges), exhausted))
        self.job.step()

    def worker(self, number=1, asks=1):
        peer = Peer(number)
        self.job.joined(peer)
        if asks:
            self.job.asks(peer, asks)
        self.job.step()
        return peer

    def done(self, peer, *ids, path="/srv/out"):
        for id in ids:
            self.job.done(peer, Done(id, path and f"{path}.{id}", 1.0, 2.0))
        self.job.step()

    def pass_time(self, seconds):
        self.now += seconds
        self.job.step()

    def archive(self, number=0, **more):
        return StoredArchive(number, f"a{number}.tar", f"/a{number}.tar", ArchiveState.CLOSED, 10, "0a", 1, **more)


@pytest.fixture
def world():
    return World()


def test_ranges_are_asked_for_before_the_first_worker_comes_and_once_at_a_time(world):
    world.job.step()
    world.pass_time(5)
    assert len(world.hands.asked) == 1


def test_a_worker_waits_for_what_the_server_will_answer(world):
    peer = world.worker()
    assert (peer.got, peer.words) == ([], [])
    world.grant(3)
    assert peer.got == [["r0"]]


def test_workers_are_served_while_very_many_ranges_come_in(world):
    early = world.worker(1)
    world.grant(3500, exhausted=True)
    assert early.got == [["r0"]] and len(world.job.ledger) < 3500, "it did not wait for all of them"
    assert len(world.hands.rows) == len(world.job.ledger), "what is given out is on disk"
    late = world.worker(2, asks=3)
    assert late.got and not late.words, "nobody is sent away while there is more"
    for _ in range(4):
        world.job.step()
    assert len(world.job.ledger) == len(world.hands.rows) == 3500
    assert len(world.hands.asked) == 1, "it is not asked for more before all is here, nor after the last of them"


def test_workers_are_served_while_very_many_answers_come_in(world):
    world.grant(3500, exhausted=True)
    for _ in range(4):
        world.job.step()
    first = world.worker(1, asks=3400)
    world.done(first, *first.got[0], path="")
    world.pass_time(20.0)
    (chunks,) = world.hands.told
    world.job.told(Told(tuple(n % 2 == 0 or None for n in range(len(chunks[0].updates)))))
    assert 0 < world.job.ledger.count(RangeState.TOLD_FINISHED) < 3400
    assert world.worker(2).got
    world.pass_time(20.0)
    assert len(world.hands.told) == 1, "the next is said when the last answer has been noted"
    for _ in range(4):
        world.job.step()
    assert world.job.ledger.count(RangeState.TOLD_FINISHED) == 3400 and world.job.ledger.untold == 0


def test_a_job_that_ends_gives_back_what_had_come_only_just(world):
    world.worker(1)
    world.grant(3500)
    world.job.end()
    world.job.step()
    assert world.job.summary().granted == world.job.summary().returned == 3500 and world.hands.ended == 1


def test_where_few_ranges_are_left_each_worker_gets_its_share(world):
    peers = [world.worker(number, asks=0) for number in (1, 2, 3)]
    world.grant(6)
    world.job.asks(peers[0], 64)
    world.job.step()
    assert peers[0].got == [["r0", "r1"]]


def test_an_idle_worker_is_kept_as_long_as_another_may_die_over_the_last_range(world):
    world.job.step()
    first, second = world.worker(1), world.worker(2)
    world.grant(1, exhausted=True)
    assert first.got == [["r0"]] and second.words == []
    world.job.lost(first, "its worker died")
    world.job.step()
    assert second.got == [["r0"]]
    world.done(second, "r0")
    world.job.asks(second, 1)
    world.job.step()
    assert second.words == ["no_more"]


def test_a_worker_that_collects_ranges_is_not_kept_waiting_for_itself_or_others(world):
    world.job.step()
    first, second = world.worker(1), world.worker(2)
    world.grant(2, exhausted=True)
    for peer in (first, second):
        world.job.asks(peer, 1)
        world.job.waits(peer, 1)
    world.job.step()
    assert first.words == second.words == ["no_more"]


def test_an_archive_whose_storage_has_no_number_is_told_with_its_name(world):
    peer = world.worker(asks=1)
    world.grant(1)
    world.done(peer, *peer.got[0])
    world.pass_time(1.1)
    ((number, outputs),) = world.hands.packs
    world.job.packed([n for n, _, _ in outputs], {}, 1000)
    world.pass_time(60)
    world.job.closed(world.archive(number))
    world.job.step()
    world.job.stored(world.archive(number, rse="DISK"))
    world.job.step()
    ((chunk,),) = world.hands.told
    assert chunk.archive.storage_id == "DISK"


def test_outputs_are_packed_soon_closed_by_age_stored_and_then_told_once(world):
    peer = world.worker(asks=3)
    world.grant(9)
    world.done(peer, *peer.got[0])
    assert world.hands.packs == []
    world.pass_time(1.1)
    ((number, outputs),) = world.hands.packs
    assert [path for _, _, path in outputs] == [f"/host/out.{id}" for id in peer.got[0]]
    world.job.packed([n for n, _, _ in outputs], {}, 1000)
    world.pass_time(1)
    assert world.hands.closes == []
    world.pass_time(50)
    assert world.hands.closes == [(number, 3)]
    world.job.closed(world.archive(number))
    assert world.hands.order[-2:] == ["save", "drop"], "an output goes when the PilotDB knows its archive"
    world.job.step()
    assert len(world.hands.stores) == 1
    world.job.stored(world.archive(number, storage_id="7/1000", surl="s3://x"))
    world.job.step()
    ((chunk,),) = world.hands.told
    assert world.hands.order[-2:] == ["save", "tell"]
    assert (chunk.archive.storage_id, chunk.archive.path_convention, chunk.archive.events) == ("7", 1000, 3)
    assert [update.status for update in chunk.updates] == [RangeStatus.FINISHED] * 3
    world.job.told(Told((True, False, True)))
    world.pass_time(500)
    assert len(world.hands.told) == 1
    assert world.job.ledger.count(RangeState.TOLD_FINISHED) == 2 and world.job.ledger.count(RangeState.REFUSED) == 1


def test_an_archive_is_closed_by_size(world):
    world = World(bytes=500)
    peer = world.worker()
    world.grant(2)
    world.done(peer, "r0")
    world.pass_time(1.1)
    world.job.packed([0], {}, 600)
    world.job.step()
    assert world.hands.closes == [(0, 1)]


def test_a_lost_answer_is_said_again_later_and_less_and_less_often(world):
    peer = world.worker()
    world.grant(2)
    world.job.failed(peer, Failed("r0", "bad", fatal=True))
    world.job.step()
    world.pass_time(10)
    for wait in (1, 2, 4):
        assert world.hands.told[-1][0].updates[0].status is RangeStatus.FATAL
        count = len(world.hands.told)
        world.job.not_told()
        world.pass_time(wait - 0.1)
        assert len(world.hands.told) == count
        world.pass_time(0.2)
        assert len(world.hands.told) == count + 1


def test_a_server_that_answers_without_storing_is_told_no_more_after_so_many_answers(world):
    world.tries = 3
    world.take_up(Ledger())
    peer = world.worker()
    world.grant(2, exhausted=True)
    world.job.failed(peer, Failed("r0", "bad"))
    world.job.end()
    away, deaf = CommunicationFailure("away"), OutcomesNotStored("status 500")
    for error in (deaf, away, away, away, away, deaf):
        world.pass_time(130)
        world.job.not_told(error)
    assert world.job.failure is None and not world.hands.ended, "one that is away is waited for"
    world.pass_time(130)
    world.job.not_told(deaf)
    world.pass_time(1000)
    assert len(world.hands.told) == 7 and world.hands.ended == 1
    assert world.job.failure.code == 1224
    assert "1 outcomes (0 finished, 1 failed: r0) after 3 requests: " in str(world.job.failure)
    assert world.job.ledger.untold == 1, "it stays in the PilotDB as what nobody has been told"


def test_an_answer_that_stores_starts_the_count_anew(world):
    world.tries = 2
    world.take_up(Ledger())
    peer = world.worker(asks=5)
    world.grant(4)
    for n in range(4):
        world.job.failed(peer, Failed(f"r{n}", "bad"))
        world.pass_time(20)
        world.job.not_told(OutcomesNotStored("status 500"))
        world.pass_time(20)
        world.job.told(Told((True,)))
    assert world.job.failure is None and world.job.ledger.untold == 0


def test_a_storage_that_refuses_costs_the_ranges_in_the_end(world):
    world = World(store_tries=2, store_wait_s=10.0, most_lost=1)
    peer = world.worker()
    world.grant(4)
    world.done(peer, "r0")
    world.pass_time(1.1)
    world.job.packed([0], {}, 1)
    world.job.flush()
    world.job.step()
    world.job.closed(world.archive())
    world.job.step()
    world.job.not_stored(world.archive(), CommunicationFailure("away"))
    world.pass_time(11)
    assert len(world.hands.stores) == 2
    world.job.not_stored(world.archive(), NoStorage("gone"))
    world.job.step()
    assert world.job.ledger.state(0) is RangeState.FAILED and world.job.hopeless
    world.job.asks(peer, 1)
    world.job.step()
    assert peer.words == ["no_more"], "nothing is handed out when no storage takes the outputs"


def test_the_end_waits_for_everything_to_be_told(world):
    peer = world.worker(asks=2)
    world.grant(5)
    world.done(peer, "r0")
    world.job.lost(peer, "its worker died")
    world.job.end()
    world.job.step()
    world.job.packed([0], {}, 1)
    world.job.step()
    world.job.closed(world.archive())
    world.job.step()
    world.job.stored(world.archive())
    world.job.step()
    assert world.hands.ended == 0
    world.job.told(Told((True,)))
    world.job.step()
    world.job.step()
    assert world.hands.ended == 1
    summary = world.job.summary()
    assert (summary.granted, summary.finished, summary.returned, summary.cpu_s) == (5, 1, 4, 1.0)


def test_a_job_that_is_told_to_drain_gives_out_nothing_more(world):
    peer = world.worker()
    world.grant(3)
    world.job.drain()
    world.done(peer, "r0")
    world.job.asks(peer, 1)
    world.job.step()
    assert peer.words == ["no_more"] and len(world.hands.asked) == 1


def test_no_range_is_begun_that_cannot_be_told_in_time(world):
    world.job.end_by(world.now + 100)
    peer = world.worker()
    world.grant(3)
    world.done(peer, "r0", path="")
    world.job.asks(peer, 1)
    world.pass_time(89)
    assert len(peer.got) == 1 or world.job.due() <= world.now
    peer2 = world.worker(2)
    assert peer2.words == ["no_more"]


def test_a_server_that_has_nothing_for_good_is_not_asked_again(world):
    world.job.step()
    world.job.not_granted(CommunicationFailure("away"))
    world.pass_time(1.1)
    assert len(world.hands.asked) == 2
    world.job.not_granted(NoEvents("none"))
    world.pass_time(1000)
    assert len(world.hands.asked) == 2 and isinstance(world.job.failure, NoEvents)


def test_ranges_wait_for_their_inputs_and_fail_if_those_cannot_be_had(world):
    world.hands.missing = True
    peer = world.worker()
    world.grant(2, exhausted=True)
    assert peer.got == []
    world.job.input_lost([0], "no replica")
    world.hands.missing = False
    world.job.step()
    assert peer.got == [["r1"]]
    assert world.job.ledger.said(0).failure == "no replica"


def test_a_new_pilot_goes_on_where_the_old_one_was(world):
    peer = world.worker(asks=64)
    world.grant(6)
    world.done(peer, "r0", "r1", "r2")
    world.job.ledger.pack([0], 0)
    world.job.ledger.pack([1], 1)
    world.job.failed(peer, Failed("r3", "bad"))
    world.hands.save([])
    ledger = Ledger()
    ledger.restore(world.hands.rows[n] for n in sorted(world.hands.rows))
    world.hands = Hands(rows=world.hands.rows)
    world.take_up(ledger, [world.archive(0)])
    world.job.step()
    assert [archive.number for archive in world.hands.stores] == [0], "a closed archive is stored"
    assert [update.id for update in world.hands.told[0][0].updates] == ["r3"]
    world.pass_time(1.1)
    ((number, outputs),) = world.hands.packs
    assert [id for _, id, _ in outputs] == ["r1", "r2"], "an archive that nobody closed is made again"
    assert number == 1
    world.job.packed([2], {1: "it is gone"}, 0)
    assert world.job.ledger.state(1) is RangeState.READY, "an output that is gone is made again"
    assert sorted(world.job.ledger.hand(5, 9)) == [1, 4, 5]


def test_outputs_that_do_not_fit_together_go_into_ever_smaller_archives(world):
    """The disk is full: an archive with two outputs is one too many. The first is away before the next is begun."""
    peer = world.worker(asks=4)
    world.grant(4, exhausted=True)
    world.done(peer, "r0", "r1", "r2", "r3")
    world.pass_time(2)
    assert [len(outputs) for _, outputs in world.hands.packs] == [4]
    world.job.spoiled("no space left")
    world.pass_time(2)
    assert [len(outputs) for _, outputs in world.hands.packs] == [4, 2] and world.hands.discarded == [0]
    world.job.spoiled("no space left")
    world.pass_time(2)
    assert [n for n, _, _ in world.hands.packs[-1][1]] == [0], "none is forgotten, the order stays"
    world.job.packed([0], {}, 10)
    world.job.step()
    (closed,) = world.hands.closes
    world.job.closed(world.archive(closed[0]))
    world.pass_time(5)
    assert len(world.hands.stores) == 1 and len(world.hands.packs) == 3, "its room is waited for"
    assert world.job.due() is None or world.job.due() > world.now, "without being busy"
    world.job.stored(world.hands.stores[0])
    world.pass_time(2)
    assert [n for n, _, _ in world.hands.packs[-1][1]] == [1, 2], "then it may be more again"
    assert world.job.ledger.count(RangeState.FAILED) == 0


def test_an_output_that_does_not_fit_alone_is_lost_at_the_end_and_no_other(world):
    peer = world.worker(asks=2)
    world.grant(2, exhausted=True)
    world.done(peer, "r0", "r1")
    world.job.end()
    world.job.step()
    world.job.spoiled("no space left")
    world.job.step()
    assert len(world.hands.packs[-1][1]) == 1
    world.job.spoiled("no space left")
    world.job.step()
    assert world.job.ledger.state(0) is RangeState.FAILED and "no space left" in world.job.ledger.said(0).failure
    assert [n for n, _, _ in world.hands.packs[-1][1]] == [1]
    world.job.packed([1], {}, 10)
    world.job.step()
    assert len(world.hands.closes) == 1 and not world.hands.ended
