"""What an update does to a job at the server."""

from __future__ import annotations

import itertools

import pytest

from pilot.server.states import ACCEPTED, Standing, Verdict, command_fault, judge


def told(status: str, state: str, **more: object) -> Verdict:
    return judge(Standing(status, 1, **more), state, 1, None)  # type: ignore[arg-type]


@pytest.mark.parametrize(("status", "state"), [*itertools.product(("sent", "starting", "running"), ACCEPTED)])
def test_a_job_with_a_pilot_takes_every_accepted_state(status: str, state: str) -> None:
    expected = "holding" if state in ("finished", "failed") else state
    if (status, state) == ("running", "starting"):
        expected = "running"
    assert told(status, state) == Verdict(expected)


def test_an_unknown_job_is_to_be_killed() -> None:
    assert judge(None, "running", 1, None) == Verdict(None, "tobekilled")


def test_another_attempt_is_to_be_killed_and_no_attempt_is_not_checked() -> None:
    assert judge(Standing("running", 2), "running", 1, None).command == "tobekilled"
    assert judge(Standing("running", 2), "running", None, None).status == "running"


@pytest.mark.parametrize(
    ("recorded", "said", "command"),
    [
        ("a.1", "a.2", "tobekilled"),
        ("1", "2", None),
        ("a.1", "a.1", None),
        (None, "a.1", None),
        ("1", "a.1", "tobekilled"),
    ],
)
def test_another_batch_job_is_to_be_killed_unless_both_ids_are_numbers(
    recorded: str | None, said: str, command: str | None
) -> None:
    assert judge(Standing("running", 1, recorded), "running", 1, said).command == command


@pytest.mark.parametrize("state", sorted(ACCEPTED))
def test_a_failed_job_is_already_done_whatever_is_said(state: str) -> None:
    assert told("failed", state) == Verdict(None, "alreadydone")


@pytest.mark.parametrize("status", ["finished", "cancelled", "holding", "transferring"])
def test_a_second_final_report_is_already_done(status: str) -> None:
    assert told(status, "finished", finals=1) == Verdict(None, "alreadydone")


@pytest.mark.parametrize("status", ["finished", "cancelled", "closed", "activated"])
def test_a_heartbeat_of_a_job_that_is_not_active_is_to_be_killed(status: str) -> None:
    assert told(status, "running", finals=1) == Verdict(None, "tobekilled")


def test_a_heartbeat_while_the_adder_waits_is_already_done() -> None:
    assert told("holding", "running", finals=1) == Verdict(None, "alreadydone")


@pytest.mark.parametrize("status", ["holding", "transferring"])
def test_running_after_the_pilot_said_it_is_past_running_is_ignored_and_finished_is_not(status: str) -> None:
    assert told(status, "running") == Verdict(None)
    assert told(status, "finished") == Verdict("holding")


def test_orders_are_combined_and_repeated() -> None:
    assert told("running", "running", debug=True, kill=True).command == "debug,tobekilled"
    assert told("running", "running", softkill=True) == Verdict("running", "softkill")


def test_a_command_is_spent_when_it_is_told_and_waits_while_the_job_is_to_be_killed() -> None:
    assert told("running", "running", command="ls", debug=True) == Verdict("running", "ls", spent=True)
    assert told("running", "running", command="ls", kill=True) == Verdict("running", "tobekilled")


def test_a_final_report_gets_no_orders() -> None:
    assert told("running", "failed", kill=True, debug=True, command="ls") == Verdict("holding")


@pytest.mark.parametrize("command", ["", "  ", "ls\nrm", "x" * 251])
def test_a_command_is_one_line_of_at_most_250_characters(command: str) -> None:
    assert command_fault(command)
    assert command_fault("tail payload.stdout") is None
