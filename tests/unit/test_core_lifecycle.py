"""The table of a job's way, tried for every phase and every event, and at random for whole lives."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as some

from pilot.core.errors import (
    ERRORS,
    Failure,
    GetAdMismatch,
    MissingOutputFile,
    NoLocalSpace,
    PandaKill,
    PayloadExecutionFailure,
    PayloadOutOfMemory,
    Sigterm,
    StageOutFailed,
    first_of,
)
from pilot.core.lifecycle import Event, ImpossibleMove, Job, Order, Phase, Reply, Stop, decide, entry_order

BAD = GetAdMismatch("first").failure()
LATER = StageOutFailed("later").failure()
KILL = PandaKill("the server asked").failure()
WORKING = (Phase.STAGING_IN, Phase.RUNNING, Phase.STAGING_OUT)

#: phase -> what follows a fine reply, a failed reply, and a fine reply of a job that had failed before
NEXT = {
    Phase.ACQUIRED: ((Phase.STAGING_IN, Order.STAGE_IN), (Phase.REPORTING, Order.REPORT)),
    Phase.STAGING_IN: ((Phase.RUNNING, Order.RUN), (Phase.STAGING_OUT, Order.STAGE_OUT_LOG)),
    Phase.RUNNING: ((Phase.STAGING_OUT, Order.STAGE_OUT), (Phase.STAGING_OUT, Order.STAGE_OUT_LOG)),
    Phase.STAGING_OUT: ((Phase.REPORTING, Order.REPORT), (Phase.REPORTING, Order.REPORT)),
}


@pytest.mark.parametrize("phase", NEXT)
@pytest.mark.parametrize("known", [None, BAD])
@pytest.mark.parametrize("new", [None, LATER])
def test_a_reply_moves_the_job_as_the_table_says(phase: Phase, known: Failure | None, new: Failure | None) -> None:
    job, order = decide(Job("1.0", phase, known, stopping=True), Reply(phase, new))
    fine, failed = NEXT[phase]
    assert (job.phase, order) == (failed if known or new else fine)
    assert not job.stopping, "what was to be abandoned is over"
    told = known or new
    assert (job.error and job.error.code) == (told and told.code)


@pytest.mark.parametrize("known", [None, BAD])
def test_a_job_is_done_only_when_its_report_was_acknowledged(known: Failure | None) -> None:
    waiting = Job("1.0", Phase.REPORTING, known)
    assert decide(waiting, Reply(Phase.REPORTING, LATER)) == (waiting, Order.REPORT)
    assert decide(waiting, Reply(Phase.REPORTING)) == (
        msgspec.structs.replace(waiting, phase=Phase.DONE),
        Order.NOTHING,
    )


@pytest.mark.parametrize("phase", Phase)
@pytest.mark.parametrize("answered", Phase)
@pytest.mark.parametrize("failure", [None, BAD])
def test_a_reply_to_another_phase_is_impossible(phase: Phase, answered: Phase, failure: Failure | None) -> None:
    if answered is phase and phase is not Phase.DONE:
        return
    with pytest.raises(ImpossibleMove, match=f"7.2 is {phase}.*from {answered}"):
        decide(Job("7.2", phase), Reply(answered, failure))


@pytest.mark.parametrize("phase", Phase)
@pytest.mark.parametrize("known", [None, BAD])
@pytest.mark.parametrize("stopping", [False, True])
def test_a_stop_never_moves_the_phase(phase: Phase, known: Failure | None, stopping: bool) -> None:
    before = Job("1.0", phase, known, stopping)
    job, order = decide(before, Stop(KILL))
    assert job.phase is phase
    if phase in (Phase.REPORTING, Phase.DONE):
        assert (job, order) == (before, Order.NOTHING), "the outcome is settled"
        return
    assert job.error is not None and job.stopping
    assert order is (Order.ABANDON if phase in WORKING and not stopping else Order.NOTHING)


def test_a_second_stop_asks_for_nothing_again_and_is_kept_as_a_cause() -> None:
    job, first = decide(Job("1.0", Phase.RUNNING), Stop(KILL))
    job, second = decide(job, Stop(Sigterm("by SIGTERM").failure()))
    assert (first, second) == (Order.ABANDON, Order.NOTHING)
    assert job.error is not None
    assert (job.error.code, [cause.code for cause in job.error.causes]) == (1144, [1201])


def test_a_job_stopped_before_it_began_is_reported_without_any_work() -> None:
    job, order = decide(Job("1.0"), Stop(KILL))
    assert order is Order.NOTHING
    assert decide(job, Reply(Phase.ACQUIRED))[1] is Order.REPORT


def test_what_fails_after_a_stop_is_a_cause_and_not_the_error() -> None:
    job, _ = decide(Job("1.0", Phase.RUNNING), Stop(KILL))
    job, order = decide(job, Reply(Phase.RUNNING, PayloadExecutionFailure("ended by SIGTERM").failure()))
    assert order is Order.STAGE_OUT_LOG
    assert job.error is not None and job.error.code == 1144
    assert [cause.code for cause in job.error.causes] == [1305]


@pytest.mark.parametrize("phase", Phase)
def test_the_order_on_entry_is_the_order_after_a_restart(phase: Phase) -> None:
    for event in (Reply(p, f) for p in NEXT for f in (None, BAD)):
        job, order = decide(Job("1.0", event.phase), event)
        assert entry_order(job) is order
    assert (entry_order(Job("1.0", phase)) is Order.NOTHING) == (phase in (Phase.ACQUIRED, Phase.DONE))


# which error is told


def test_the_first_error_is_told_and_later_ones_are_its_causes() -> None:
    both = first_of(BAD, LATER)
    assert (both.code, both.message) == (BAD.code, BAD.message)
    assert both.causes == (LATER,)


def test_the_reason_of_a_failed_payload_goes_before_its_exit_code() -> None:
    exit_code = PayloadExecutionFailure("exit code 1").failure()
    for reason in (PayloadOutOfMemory("killed").failure(), NoLocalSpace("/scratch").failure()):
        told = first_of(exit_code, reason)
        assert told.code == reason.code
        assert told.causes == (exit_code,)


def test_what_follows_from_an_error_never_replaces_it() -> None:
    told = first_of(first_of(PayloadExecutionFailure("exit code 3").failure(), MissingOutputFile("a").failure()), LATER)
    assert told.code == 1305
    assert [cause.code for cause in told.causes] == [1165, 1137]


def test_the_same_error_twice_is_one() -> None:
    assert first_of(BAD, BAD) == BAD


def test_every_number_belongs_to_one_class_with_a_message() -> None:
    assert len(ERRORS) > 120
    for code, kind in ERRORS.items():
        assert kind.code == code
        assert len(str(kind())) > 8 and str(kind("detail")).endswith(": detail")
        failure = kind("x").failure()
        assert (failure.code, failure.name, failure.owner) == (code, kind.__name__, kind.owner)


def test_a_second_class_with_a_number_is_a_mistake_in_the_tree() -> None:
    with pytest.raises(TypeError, match="1144 belongs to PandaKill and"):
        type("Other", (PandaKill,), {"code": 1144, "__doc__": "Another."})


# whole lives

failures = some.sampled_from(
    [BAD, LATER, KILL, *(kind("x").failure() for kind in (PayloadExecutionFailure, NoLocalSpace, PayloadOutOfMemory))]
)
#: Each step of a life: a stop, or the reply to the order that is out (fine or failed).
steps = some.lists(some.one_of(failures.map(Stop), some.none(), failures), max_size=14)


@given(steps)
@settings(deadline=None, max_examples=300)
def test_whatever_happens_every_order_has_one_reply_and_the_way_ends_at_done(life: list[Stop | Failure | None]) -> None:
    job, phases, orders = Job("5.1"), [Phase.ACQUIRED], []
    errors: list[Failure] = []
    for step in life:
        event: Event = step if isinstance(step, Stop) else Reply(job.phase, step)
        if job.phase is Phase.DONE and isinstance(event, Reply):
            with pytest.raises(ImpossibleMove):
                decide(job, event)
            continue
        settled = job.phase in (Phase.REPORTING, Phase.DONE)
        after, order = decide(job, event)
        if isinstance(event, Stop):
            assert after.phase is job.phase
            assert order in (Order.NOTHING, Order.ABANDON)
        elif job.phase is Phase.REPORTING and event.failure is not None:
            assert after == job and order is Order.REPORT
        else:
            phases.append(after.phase)
            orders.append(order)
            assert order is entry_order(after)
        if event.failure is not None and not settled:
            errors.append(event.failure)
        assert bool(after.error) == bool(errors)
        job = after
    assert len(set(phases)) == len(phases), "no phase twice: one order each"
    assert phases == [p for p in Phase if p in phases], "always forwards"
    if Order.STAGE_OUT_LOG in orders:
        assert orders[-2:] in ([Order.STAGE_OUT_LOG, Order.REPORT], [Order.REPORT, Order.NOTHING]) or (
            orders[-1] is Order.STAGE_OUT_LOG
        ), "after a failure nothing is done but the log and the report"
    if job.error:
        known = sorted((f.code, f.message) for f in (job.error, *job.error.causes))
        assert known == sorted({(f.code, f.message) for f in errors}), "nothing is forgotten, nothing is told twice"
    if errors and Phase.STAGING_OUT in phases and job.phase is Phase.DONE:
        assert job.error is not None


@given(some.lists(failures, min_size=1, max_size=6))
def test_the_told_error_is_the_first_or_one_that_explains_it(found: list[Failure]) -> None:
    told: Failure | None = None
    for failure in found:
        told = first_of(told, failure)
    assert told is not None
    assert told.code == found[0].code or (found[0].code in (1305, 1137) and told.code in (1098, 1212))
