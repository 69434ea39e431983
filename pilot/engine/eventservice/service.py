"""The event service of one pilot, as the engine calls it: open a job, drain it, finish it."""

from __future__ import annotations

import gc
import logging
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import msgspec

from pilot.core.errors import EventServiceRecoverable, NoEvents, PilotError, UnknownException
from pilot.core.job import JobDefinition
from pilot.core.ranges import Consumer
from pilot.core.storage import StagingSite
from pilot.db.ranges import RangeStore
from pilot.engine.eventservice.hands import JobHands, Tools
from pilot.engine.eventservice.inputs import Inputs, Present
from pilot.engine.eventservice.prefetch import Prefetched
from pilot.engine.eventservice.wishes import consumer_of, plan_of, version_of
from pilot.lib.loop import Loop
from pilot.lib.worker import Worker
from pilot.plugins.sources.base import EventSource
from pilot.runtime.channel import LINE_NAME, ZMQ_NAME, Channel
from pilot.runtime.eventclient import install
from pilot.runtime.eventjob import EventJob
from pilot.runtime.eventplan import Summary
from pilot.runtime.ledger import Ledger
from pilot.staging.transfer import Transferer

T = TypeVar("T")
_log = logging.getLogger("pilot.events")
_CACHE_BYTES = 5_000_000_000
FOLDER = "events"
"""The folder in the job's directory that holds archives and the payload's client."""


class Order(msgspec.Struct, frozen=True):
    """What is opened.

    `directory` is the job's, `inside` the same as the payload sees it, `site` where outputs go. `paths` maps LFN to
    where the payload finds an input. `workers` are expected at once, archives closed at least every `gap_s` (0: the
    usual). `tell_tries`: see `Plan`. `deadline`: monotonic s by which all must be told.
    """

    definition: JobDefinition
    directory: str
    site: StagingSite
    inside: str = ""
    paths: dict[str, str] = {}
    workers: int = 1
    gap_s: float = 0.0
    tell_tries: int = 0
    deadline: float | None = None


class Opened(msgspec.Struct, frozen=True):
    """The channel is there: the variables that the payload needs, and the folder for its PYTHONPATH."""

    variables: dict[str, str]
    python_path: str


class EventService:
    """All event service jobs. The public methods belong to the main thread; `post` brings answers back to it.

    `on_command(key, word)` hears what the server says of a job in answers to range updates, `on_trouble(key, error)`
    why a job cannot go on.
    """

    def __init__(
        self,
        source: EventSource,
        transferer: Transferer,
        database: str,
        post: Callable[[Callable[[], None]], None],
        on_command: Callable[[str, str], None],
        on_trouble: Callable[[str, PilotError], None],
    ) -> None:
        self._source, self._transferer, self._database = source, transferer, database
        self._post, self._on_command, self._on_trouble = post, on_command, on_trouble
        self._loop = Loop()
        self._work = Worker("event-work", 3)
        self._jobs: dict[str, JobHands] = {}
        self._channel: Channel | None = None
        self._tools: Tools | None = None
        self._thread = threading.Thread(target=self._serve, name="events", daemon=True)
        self._thread.start()

    def open(self, order: Order, then: Callable[[Opened | None, PilotError | None], None]) -> None:
        """Take up the job's ledger where it was left, and listen for its workers.

        `then` gets `NoEvents` for a job for which there is nothing to do.
        """
        consumer = consumer_of(order.definition)

        def counted(count: int | None, error: PilotError | None) -> None:
            if error is not None:
                _log.warning("%s: the server does not tell how many events are left: %s", order.definition.key, error)
            self._loop.post(lambda: self._answering(then, lambda: self._open(order, consumer, count)))

        self._work.submit(lambda: self._source.count(consumer), counted)

    def drain(self, key: str) -> None:
        """Workers get no more ranges; what they have they may finish."""
        self._with(key, lambda hands: hands.job.drain())

    def flush(self, key: str) -> None:
        """Pack, store and tell what is done so far, at once."""
        self._with(key, lambda hands: hands.job.flush())

    def verdict(self, key: str) -> PilotError | None:
        """What is wrong with a payload that ended well: it had nothing to do, or did nothing. None for other jobs.

        Looks at numbers that the thread `events` keeps; they can only be a moment old.
        """
        hands = self._jobs.get(key)
        if hands is None:
            return None
        so_far = hands.job.summary()
        if not so_far.granted:
            return hands.job.failure or NoEvents("the server had none when they were asked for")
        if so_far.finished or so_far.failed or hands.job.draining:
            return None
        return EventServiceRecoverable(f"the payload has worked through none of {so_far.granted} event ranges")

    def finish(self, order: Order, then: Callable[[Summary | None, PilotError | None], None]) -> None:
        """The payload has ended (or never ran in this pilot): store and tell everything, then close.

        It may take as long as the server is away; `then` is called when the server has everything, or has answered
        often enough without storing it.
        """

        def finish() -> None:
            key = order.definition.key
            if key not in self._jobs:
                self._take_up(order, consumer_of(order.definition))
            if self._channel is not None:
                self._channel.close(key)
            hands = self._jobs[key]
            hands.finished = lambda: self._finished(key, then)
            hands.job.end()

        self._loop.post(lambda: self._answering(then, finish))

    def close(self, seconds: float = 1.0) -> None:
        """Leave everything as it is in the PilotDB and end the threads."""
        self._loop.post(self._stop)
        self._thread.join(seconds)
        self._work.close(0.0)

    # in the thread `events`

    def _serve(self) -> None:
        self._tools = Tools(self._loop, self._work, self._source, RangeStore(self._database), self._transferer)
        self._channel = Channel(self._loop)
        gc.freeze()  # what is there by now stays: a collection need not look at it while workers wait
        try:
            self._loop.run()
        except Exception as error:  # noqa: BLE001 - the top of a thread: no job may wait for it in vain
            trouble = UnknownException(f"event service: {type(error).__name__}: {error}")
            _log.exception("%s", trouble)
            for key in self._jobs:
                self._post(lambda key=key: self._on_trouble(key, trouble))  # type: ignore[misc]
        self._channel.stop()
        self._tools.store.close()
        self._loop.close()

    def _stop(self) -> None:
        for hands in self._jobs.values():
            hands.close()
        self._loop.stop()

    def _open(self, order: Order, consumer: Consumer, count: int | None) -> Opened:
        key, directory = order.definition.key, Path(order.directory)
        hands = self._take_up(order, consumer)
        try:
            if count == 0 and not hands.job.ledger.ready and not hands.job.ledger.untold:
                raise NoEvents("the server has none ready for this job")
            assert self._channel is not None
            client = install(directory / FOLDER)
            self._channel.open(key, directory, hands.job)
        except PilotError:
            del self._jobs[key]
            hands.close()
            raise
        hands.wake()
        inside = Path(order.inside or order.directory)
        return Opened(
            {"PILOT_EVENTS": f"ipc://{inside / ZMQ_NAME}", "PILOT_EVENTRANGECHANNEL": str(inside / LINE_NAME)},
            str(inside / client.relative_to(directory)),
        )

    def _take_up(self, order: Order, consumer: Consumer) -> JobHands:
        """The job with its ledger as the PilotDB has it: empty, or as an earlier pilot left it."""
        assert self._tools is not None
        key = order.definition.key
        ledger = Ledger()
        ledger.restore(self._tools.store.ranges(key))
        inputs = self._inputs(order)
        hands = JobHands(
            self._tools,
            key,
            consumer,
            order.site,
            Path(order.directory) / FOLDER,
            inputs,
            _translated(order.inside or order.directory, order.directory),
            version_of(order.definition),
            lambda word: self._post(lambda: self._on_command(key, word)),
            lambda error: self._post(lambda: self._on_trouble(key, error)),
        )
        archives = self._tools.store.archives(key)
        plan = plan_of(order.definition, order.workers, order.gap_s, self._source.answer_s, order.tell_tries)
        hands.job = EventJob(ledger, hands, plan, time.monotonic, archives)
        if order.deadline is not None:
            hands.job.end_by(order.deadline)
        self._jobs[key] = hands
        if isinstance(inputs, Prefetched):
            inputs.ready, inputs.lost = hands.wake, hands.job.input_lost
        if len(ledger):
            _log.info("%s: %d event ranges are known from before, %d of them done", key, len(ledger), ledger.finished)
        return hands

    def _inputs(self, order: Order) -> Inputs:
        assert self._tools is not None
        if not order.definition.use_prefetcher:
            return Present(order.paths)
        limit = order.definition.disk_mb * 500_000 or _CACHE_BYTES
        folder = Path(order.directory) / FOLDER / "inputs"
        inside = _translated(order.directory, order.inside or order.directory)
        loop, work = self._tools.loop, self._tools.work
        return Prefetched(order.definition, order.site, folder, inside, self._transferer, work, loop.post, limit)

    def _finished(self, key: str, then: Callable[[Summary | None, PilotError | None], None]) -> None:
        hands = self._jobs.pop(key)
        hands.close()
        summary = hands.job.summary()
        self._post(lambda: then(summary, hands.job.failure))

    def _with(self, key: str, what: Callable[[JobHands], None]) -> None:
        def run() -> None:
            if (hands := self._jobs.get(key)) is not None:
                what(hands)

        self._loop.post(run)

    def _answering(self, then: Callable[[T | None, PilotError | None], None], what: Callable[[], T | None]) -> None:
        """Do it and answer with what it returns, if that is anything, or with its error."""
        try:
            result = what()
        except PilotError as known:
            error = known
            self._post(lambda: then(None, error))
            return
        if result is not None:
            self._post(lambda: then(result, None))


def _translated(old: str, new: str) -> Callable[[str], str]:
    """Turns paths below one directory into the same below another: a container may see the job's elsewhere."""
    if old == new:
        return lambda path: path

    def translated(path: str) -> str:
        return new + path[len(old) :] if path == old or path.startswith(old.rstrip("/") + "/") else path

    return translated
