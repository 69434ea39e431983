"""One call for transfers from beginning to end: lanes started, news heard, retries timed, files settled."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Sequence

from pilot.core.errors import Failure, FileExists, PilotError
from pilot.core.transfer import Attempt, Outcome, Transfer
from pilot.lib.cancel import Cancel
from pilot.plugins.copytools.base import Fault, ToolError, Watch
from pilot.staging.attempt import Attempter, Tried
from pilot.staging.fanout import Fanout
from pilot.staging.faults import ends_all, failure_of, tool_may_matter
from pilot.staging.groups import Lane, lanes_of
from pilot.staging.merge import merge_targets
from pilot.staging.owner import Owner
from pilot.staging.placed import Placed
from pilot.staging.toolbox import NO_SITES, Sites
from pilot.staging.verify import Try
from pilot.staging.work import Work

OnAttempt = Callable[[Attempt], None]
OnBytes = Callable[[int], None]


#: Files below this size tell how fast a server answers, not how fast it sends.
_SMALL = 256 * 1024


class Course:
    """One call of `Transferer.carry_out`. All state is touched by the thread that calls `run` alone."""

    def __init__(
        self,
        owner: Owner,
        transfers: Sequence[Transfer],
        cancel: Cancel,
        on_attempt: OnAttempt | None,
        on_bytes: OnBytes | None,
    ) -> None:
        self.owner = owner
        self.settings = owner.settings
        self.transfers = transfers
        self.outer = cancel
        self.cancel = Cancel()
        self.on_attempt = on_attempt
        self.on_bytes = on_bytes
        self.works = [Work(i, t, target) for i, t in enumerate(transfers) for target in dict.fromkeys(t.targets)]
        self.fanout = Fanout(self.settings)
        self.waiting: list[Work] = []
        self.held: list[Work] = []
        self.crowded: list[Work] = []
        self.running = 0
        self.settled = self.lost = 0
        self.inbox: queue.SimpleQueue[tuple[Lane, Tried | ToolError | None]] = queue.SimpleQueue()
        self.attempter = Attempter(self.settings, owner.token)
        self.down: dict[str, Failure] = {}
        self.begin = time.monotonic()

    def run(self) -> list[Outcome]:
        """The loop of the calling thread: start what is due, hear what came of it, until all is settled."""
        self.admit()
        self.waiting = self.fanout.take(self.waiting)
        with self.outer.calling(self.stop):
            while self.waiting or self.held or self.running or self.crowded:
                if self.crowded and not (self.waiting or self.held or self.running):
                    self.waiting.append(self.crowded.pop(0))
                lanes = self.due_lanes()
                if len(lanes) == 1 and not self.running:
                    self.run_lane(lanes[0], inline=True)
                else:
                    for lane in lanes:
                        self.start(lane)
                self.listen()
                if self.cancel.is_set():
                    self.give_up()
        for work in self.works:
            if work.attempts and work.outcome and work.outcome.failure:
                self.attempter.sweep(work.target)
        return merge_targets(self.transfers, self.works)

    def admit(self) -> None:
        """Take in all works but those that are refused, or would write where another one writes."""
        taken: set[str] = set()
        place = Placed()
        for work in self.works:
            target = place(work.target.url)
            if work.transfer.refused is not None:
                self.close(work, work.transfer.refused)
            elif target in taken:
                self.close(work, FileExists(f"{work.target.url} is the target of two files").failure())
            else:
                taken.add(target)
                self.waiting.append(work)

    def stop(self) -> None:
        """Wake everything: the lanes through their cancel, this loop through its inbox."""
        self.cancel.set()
        self.fanout.hurry()
        self.inbox.put((Lane("", NO_SITES, "", "", []), None))

    def due_lanes(self) -> list[Lane]:
        """What may start now, grouped; works that cannot start at all are settled on the way."""
        now = time.monotonic()
        ready: list[Work] = []
        rest: list[Work] = []
        for work in self.waiting:
            (ready if work.due <= now else rest).append(work)
        self.waiting = rest
        if not ready or self.cancel.is_set():
            self.waiting.extend(ready)
            return []
        named: list[tuple[Work, str, Sites, str]] = []
        toolbox = self.owner.toolbox
        for work in ready:
            if (found := self.chosen(work)) is not None:
                named.append((work, *found))
        lanes, held = lanes_of(named, toolbox, self.settings, self.owner.pace)
        self.held += held
        return lanes

    def chosen(self, work: Work) -> tuple[str, Sites, str] | None:
        """The tool for the next source that any tool can move; None for a work that is settled for want of one."""
        failure: Failure | None = None
        while (source := work.next_source(self.settings.max_attempts)) is not None:
            try:
                return (*self.owner.toolbox.chosen(source, work.target, work.transfer.copytool), source.url)
            except PilotError as error:
                failure = failure or error.failure()
                work.pass_over(source)
        none = failure or failure_of(Fault.MISSING, "no source", work.transfer.direction, True)
        self.close(work, work.story() or none)
        return None

    def start(self, lane: Lane) -> None:
        """Run a lane in a thread of its own."""
        self.running += 1
        threading.Thread(target=self.run_lane, args=(lane,), name="staging-lane", daemon=True).start()

    def run_lane(self, lane: Lane, inline: bool = False) -> None:
        """One tool over one list of files. Tells the inbox of each, and lastly that the lane has ended."""
        if inline:
            self.running += 1
        end: ToolError | None = None
        try:
            tool = self.owner.toolbox.tool(lane.tool, lane.sites)
            with self.owner.gate.passing(lane.host, self.cancel):
                for tried in self.attempter.run(tool, lane.tries(self.settings), self.watch()):
                    if inline:
                        self.hear(lane, tried)
                    else:
                        self.inbox.put((lane, tried))
        except ToolError as error:
            end = error
        except Exception as error:  # noqa: BLE001
            # The top of a lane: whatever a plugin throws must fail its files, not leave the caller waiting for ever.
            end = ToolError(Fault.BROKEN, f"{lane.tool}: {type(error).__name__}: {error}")
        self.inbox.put((lane, end))

    def watch(self) -> Watch:
        """A new watch; time limits belong to single files."""
        return Watch(self.cancel, self.settings.limit_s, self.settings.stall_s, self.on_bytes)

    def listen(self) -> None:
        """Wait for news, at most until the next work is due, and take in all there is."""
        if not self.running and not self.waiting:
            return
        wait: float | None = None
        if self.waiting:
            wait = max(0.0, min(work.due for work in self.waiting) - time.monotonic())
        try:
            self.hear(*self.inbox.get(timeout=wait) if wait != 0.0 else self.inbox.get_nowait())
        except queue.Empty:
            return
        self.drain()

    def drain(self) -> None:
        """Take in what is there without waiting."""
        while True:
            try:
                self.hear(*self.inbox.get_nowait())
            except queue.Empty:
                return

    def hear(self, lane: Lane, news: Tried | ToolError | None) -> None:
        """One file is through, or a lane has ended."""
        if isinstance(news, Tried):
            self.judge(lane, lane.works.pop(news.item.key), news)
            return
        if not lane.tool:
            return
        self.running -= 1
        if self.held:
            self.waiting += self.held
            self.held = []
        left, lane.works = list(lane.works.values()), {}
        for work in left:
            self.fault(lane, work, news or ToolError(Fault.BROKEN, f"{lane.tool} told nothing of it"), 0.0)
            work.alone = True
        if news and left and lane.alone and news.fault is Fault.NETWORK:
            self.down[lane.host] = failure_of(news.fault, news.detail, left[0].transfer.direction, True)

    def judge(self, lane: Lane, work: Work, tried: Tried) -> None:
        """Settle a file that has arrived; decide what becomes of one that has not."""
        moved = tried.moved
        if moved.fault is not None:
            self.fault(lane, work, ToolError(moved.fault, moved.detail, moved.wait_s), tried.seconds, tried)
            return
        attempt = self.attempt(lane, work, tried.item, tried.seconds, None, moved.size, moved.checksum_seconds)
        if moved.size < _SMALL:
            before = self.owner.pace.get(lane.key, tried.seconds)
            self.owner.pace[lane.key] = 0.8 * before + 0.2 * tried.seconds
        work.settle(
            attempt,
            Outcome(
                lfn=work.transfer.lfn,
                direction=work.transfer.direction,
                source=attempt.source,
                target=moved.target or work.target.url,
                rse=work.target.rse or tried.item.source.rse,
                size=moved.size,
                checksums=moved.checksums,
                seconds=tried.seconds,
            ),
        )
        self.settled += 1

    def fault(self, lane: Lane, work: Work, error: ToolError, seconds: float, tried: Tried | None = None) -> None:
        """Note a failed try; the next source, the same one later, or the end."""
        transfer, wait_s = work.transfer, error.wait_s
        error = self.owner.toolbox.explained(error, lane.sites) if lane.host else error
        source = work.next_source(self.settings.max_attempts)
        item = tried.item if tried else Try(transfer, source or transfer.sources[0], work.target, ())
        local = item.final is not None
        detail = self.why if error.fault is Fault.CANCELLED else error.detail
        failure = failure_of(error.fault, detail, transfer.direction, local, tried.kind if tried else "")
        attempt = self.attempt(lane, work, item, seconds, failure)
        if error.fault is Fault.NO_SPACE and lane.crowds and not work.alone:
            # What did not fit may have lain beside it: it is tried once more when all else is settled.
            work.attempts.append(attempt)
            work.alone = True
            self.crowded.append(work)
            return
        work.failed(attempt, failure, ends_all(error.fault))
        pause = work.pause(self.settings, self.owner.dice, wait_s)
        late = self.settings.deadline_s and time.monotonic() + pause - self.begin > self.settings.deadline_s
        left = work.source_left(self.settings.max_attempts)
        if not (left or late or self.cancel.is_set()) and tool_may_matter(error.fault):
            left, pause = work.take_up(self.owner.toolbox.rest_after(lane.tool, work.transfer)), 0.0
        if late or self.cancel.is_set() or not left:
            self.close(work, work.story() or failure)
            return
        work.due = time.monotonic() + pause
        self.waiting.append(work)

    def attempt(
        self,
        lane: Lane,
        work: Work,
        item: Try,
        seconds: float,
        failure: Failure | None,
        size: int = 0,
        sums: float = 0.0,
    ) -> Attempt:
        """The record of a try, told to whoever listens."""
        made = lane.record(work, item, seconds, failure, size, sums)
        self.waiting += self.fanout.over(work)
        if self.on_attempt:
            self.on_attempt(made)
        return made

    def close(self, work: Work, failure: Failure) -> None:
        """The file will not come. Decides whether the rest still makes sense."""
        transfer = work.transfer
        self.waiting += self.fanout.over(work)
        work.outcome = Outcome(transfer.lfn, transfer.direction, target=work.target.url, failure=failure)
        self.settled += 1
        self.lost += 1
        settings = self.settings
        many = 0 < settings.early_stop_after < self.settled and self.lost > settings.early_stop_share * self.settled
        if many or not settings.continue_on_error:
            self.stop()

    @property
    def why(self) -> str:
        """Why work has been cancelled."""
        return "cancelled" if self.outer.is_set() else "given up after what failed before"

    def give_up(self) -> None:
        """Settle all that waits; what runs is told by its lane."""
        left = [*self.fanout.rest(), *self.waiting, *self.held, *self.crowded]
        self.waiting, self.held, self.crowded = [], [], []
        for work in left:
            last = work.story()
            failure = failure_of(Fault.CANCELLED, self.why, work.transfer.direction, True)
            self.close(work, last.with_cause(failure) if last else failure)
