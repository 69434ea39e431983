"""Batch systems signal a whole job at once, and wrappers pass signals on: the pilot is not misled by that."""

from __future__ import annotations

import os
import signal
import time

import pytest

from tests.pilots import Site, assert_reported_once


def started(site: Site, script: str, *options: str, trap: str = ":") -> tuple[int, int]:
    """A running job's number and the pid of its payload, which has set its trap."""
    number = site.shell(f"{trap}; echo $$ > ../pid.new; mv ../pid.new ../pid; {script}")
    site.start("--jobs", "1", *options)
    site.wait_for(lambda: (site.workdir / "pid").exists())
    return number, int((site.workdir / "pid").read_text())


@pytest.mark.parametrize(
    ("order", "error", "code"),
    [
        (signal.SIGTERM, 1201, 143),
        (signal.SIGUSR1, 1207, 138),
        (signal.SIGXCPU, 1204, 152),
        (signal.SIGUSR2, 1200, 140),
        (signal.SIGHUP, 1200, 129),
    ],
)
def test_a_payload_that_is_signalled_before_the_pilot_did_not_fail_by_itself(
    site: Site, order: signal.Signals, error: int, code: int
) -> None:
    number, payload = started(site, "sleep 60 & wait")
    os.kill(payload, order)
    time.sleep(0.05)
    site.pilots[-1].send_signal(order)
    assert site.pilots[-1].wait(20) == code, site.log()
    told = assert_reported_once(site, number, "failed")
    assert told["errors"]["pilot_error_code"] == error
    assert order.name in told["errors"]["pilot_error_diag"]
    assert list(site.outputs.glob("*.log.tgz"))
    site.assert_nothing_left()


def test_a_payload_that_is_ended_alone_is_told_as_that(site: Site) -> None:
    number, payload = started(site, "sleep 60 & wait")
    os.kill(payload, signal.SIGTERM)
    assert site.pilots[-1].wait(20) == 0, site.log()
    told = assert_reported_once(site, number, "failed")
    assert told["errors"]["pilot_error_code"] == 1305
    assert "SIGTERM" in told["errors"]["pilot_error_diag"]
    site.assert_nothing_left()


def test_a_signal_that_comes_twice_at_once_leaves_the_payload_its_time(site: Site) -> None:
    trap = "trap 'sleep 1; touch ../saved; exit 1' TERM"
    number, _ = started(site, "sleep 60 & wait", "--kill-after", "10", "--grace", "20", trap=trap)
    for _ in range(2):
        site.pilots[-1].send_signal(signal.SIGTERM)
        time.sleep(0.1)
    assert site.pilots[-1].wait(20) == 143, site.log()
    assert (site.workdir / "saved").exists(), site.log()
    assert_reported_once(site, number, "failed")


def test_a_second_signal_that_comes_later_ends_payloads_at_once(site: Site) -> None:
    options = ("--kill-after", "60", "--grace", "60")
    number, _ = started(site, "while :; do sleep 60; done", *options, trap="trap '' TERM")
    site.pilots[-1].send_signal(signal.SIGUSR1)
    time.sleep(2.2)
    site.pilots[-1].send_signal(signal.SIGTERM)
    assert site.pilots[-1].wait(20) == 138, site.log()
    assert assert_reported_once(site, number, "failed")["errors"]["pilot_error_code"] == 1207
    site.assert_nothing_left()


def test_a_pilot_that_was_started_to_outlive_its_terminal_does(site: Site) -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)  # as `nohup` does
    try:
        number, _ = started(site, "for i in $(seq 100); do [ -e ../go ] && break; sleep 0.1; done")
    finally:
        signal.signal(signal.SIGHUP, before)
    site.pilots[-1].send_signal(signal.SIGHUP)
    (site.workdir / "go").touch()
    assert site.pilots[-1].wait(20) == 0, site.log()
    assert_reported_once(site, number, "finished")
