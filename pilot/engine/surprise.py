"""What is done about an exception that nobody expected: payloads are ended and their jobs reported all the same."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Iterator
from functools import partial

from pilot.core.errors import Failure, NoLocalSpace, PilotError, UnknownException
from pilot.core.exitcodes import ExitCode, exit_code_of
from pilot.core.lifecycle import Phase, Reply, Stop, decide
from pilot.engine.means import Means, Run
from pilot.engine.runner import Runner
from pilot.lib.traceback_file import in_one_line, put_down, story_of

_log = logging.getLogger("pilot.agent")
#: A pilot in which so many things went wrong while it was ending ends at once.
_MOST = 20
LOG = "pilot.log"


class Surprise:
    """Lives in the loop's thread. `failure` is what went wrong first, `exit_code` what the pilot ends with for that."""

    def __init__(self, means: Means, runner: Runner) -> None:
        self._means, self._runner = means, runner
        self.failure: Failure | None = None
        self.exit_code = 0
        self._count = 0
        self._closed = False

    def serve(self, end: Callable[[PilotError, int], None]) -> None:
        """Run the loop until it is stopped. After an exception it goes on, `end` has been told to bring all to an end.

        Raises `NoLocalSpace`: without a disk nothing can be noted.
        """
        while self._count < _MOST:
            try:
                self._means.loop.run()
                return
            except NoLocalSpace:
                raise
            except Exception as error:  # noqa: BLE001 - the top of the pilot: whatever went wrong, jobs are reported
                first = self.failure is None
                known = self._note(error)
                if first:
                    self._means.loop.post(partial(end, known, self.exit_code))
        _log.error("too much goes wrong: what is not reported stays in the PilotDB")

    @contextlib.contextmanager
    def contained(self) -> Iterator[None]:
        """Once something went wrong, what goes wrong with one job does not keep the others from their end."""
        try:
            yield
        except NoLocalSpace:
            raise
        except Exception as error:  # the pilot is ending already: each job's end is tried for itself
            if self.failure is None:
                raise
            self._note(error)

    def report_rest(self) -> bool:
        """Have the server told of jobs that did not come to their end by themselves; whether there were any.

        True once only: then their reports are in the outbox, and some seconds more are well spent.
        """
        if self.failure is None or self._closed:
            return False
        self._closed = True
        for run in list(self._runner.active.values()):
            with self.contained():
                self._report(run, self.failure)
        self._runner.reporter.hasten()
        return bool(self._runner.active)

    def _report(self, run: Run, failure: Failure) -> None:
        job, _ = decide(run.job, Stop(failure))
        while job.phase not in (Phase.REPORTING, Phase.DONE):
            job, _ = decide(job, Reply(job.phase, failure))
        if job.phase is not run.job.phase:
            with self._means.store.transaction():
                self._means.store.save(job, run.facts, f"stop {failure.code}")
                self._runner.telling.note(run, job, run.facts)
            run.job = job

    def _note(self, error: Exception) -> PilotError:
        """Put the traceback into the logs; what went wrong as an error of the tree."""
        self._count += 1
        redactor = self._means.redactor
        words, story, path = in_one_line(error, redactor), story_of(error, redactor), self._means.workdir / LOG
        known = error if isinstance(error, PilotError) else UnknownException(words)
        where = str(path) if put_down(path, story) else "no file: the work directory cannot be written"
        if self.failure is None:
            self.failure = known.failure()
            self.exit_code = exit_code_of(known.code) if isinstance(error, PilotError) else ExitCode.EXCEPTION
            _log.error("the pilot ends: an exception that nobody expected (%s); its traceback is in %s", words, where)
            for run in self._runner.active.values():
                run.log.detail(story)
        else:
            _log.error("one more exception (%s); its traceback is in %s", words, where)
        return known
