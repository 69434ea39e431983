"""What comes of a server's answer to an update: a job is over, is steered, or an operator's command is run for it."""

from __future__ import annotations

from functools import partial

from pilot.core.errors import PilotError
from pilot.core.lifecycle import Phase, Reply
from pilot.core.secrets import Secrets
from pilot.core.update import Answer, Command, JobUpdate
from pilot.engine import steering
from pilot.engine.means import Run
from pilot.engine.ring import Ring
from pilot.runtime.environment import PASSED_ON, passed_on


class Answers:
    """Takes answers up. Everything here happens in the loop's thread."""

    def __init__(self, ring: Ring) -> None:
        self._ring, self._means = ring, ring.means

    def take(self, update: JobUpdate, answer: Answer) -> None:
        """Do what the answer to this update asks for; nothing if its job is not under way any more."""
        run = self._ring.active.get(update.key)
        if run is None:
            return
        if update.state.final:
            self._final(run, update, answer)
            return
        self._means.redactor.add(Secrets(pilot=answer.secrets).values())
        for command in answer.commands:
            self._steer(run, command)
        if free := [command for command in answer.commands if steering.is_free(command)]:
            env = passed_on(self._means.base_env, PASSED_ON)
            self._ring.work(run, partial(steering.carry_out_all, run, free, env), self._tell_stdout)

    def _final(self, run: Run, update: JobUpdate, answer: Answer) -> None:
        if answer.accepted:
            run.log.info(f"the server has the final report ({update.state})")
        elif not answer.retry:
            run.log.error(f"the server refused the final report ({update.state}) for good: {answer.why}")
        if answer.accepted or not answer.retry:
            self._ring.event(run, Reply(Phase.REPORTING))

    def _steer(self, run: Run, command: Command) -> None:
        """Do what the server ordered."""
        if (failure := steering.kill_of(command)) is not None:
            self._ring.stop(run, failure)
        elif command.word == "softkill":
            self._ring.events.drain(run)
        elif steering.noted(run, command):
            self._ring.telling.later(run, first=0.5 if run.facts.debug else None)

    def _tell_stdout(self, run: Run, text: str | None, error: PilotError | None) -> None:
        """Send what an operator's command printed, at once."""
        if run.job.phase not in (Phase.REPORTING, Phase.DONE):
            run.stdout = text or str(error or "")
            self._ring.telling.beat(run)
