"""Why a payload failed, and with which code a pilot ends."""

from __future__ import annotations

import logging

import pytest

from pilot.cli.compat import OPTIONS, translate
from pilot.core.diagnose import Surroundings, diagnose
from pilot.core.errors import ERRORS, PayloadExecutionFailure
from pilot.core.exitcodes import exit_code_of, exit_code_of_signal, meaning
from pilot.core.job import Exit
from pilot.core.update import JobUpdate, State
from pilot.lib.redact import RedactingFormatter, Redactor

CASES = [
    (Exit(3), "", Surroundings(), 1305),
    (Exit(3), "", Surroundings(remote_open=True), 1368),
    (Exit(2), "", Surroundings(), 1305),
    (Exit(2), "", Surroundings(alrb=True), 1378),
    (Exit(251), "", Surroundings(), 1315),
    (Exit(255), "", Surroundings(), 1315),
    (Exit(126), "sh: x: Permission denied", Surroundings(), 1143),
    (Exit(127), "sh: tf.py: command not found", Surroundings(), 1346),
    (Exit(1), "terminate called: std::bad_alloc", Surroundings(), 1223),
    (Exit(1), "x\nMemoryError\n", Surroundings(), 1212),
    (Exit(1), "no MemoryError here", Surroundings(), 1305),
    (Exit(1), "fork: Cannot allocate memory", Surroundings(), 1212),
    (Exit(1), "write: No space left on device", Surroundings(), 1098),
    (Exit(1), "tf: error: unrecognized arguments: --x", Surroundings(), 1349),
    (Exit(signal=9), "", Surroundings(oom_kills=1), 1212),
    (Exit(137), "", Surroundings(oom_kills=1), 1212),
    (Exit(signal=9), "", Surroundings(), 1305),
    (Exit(signal=11), "", Surroundings(), 1328),
    (Exit(139), "", Surroundings(), 1328),
    (Exit(signal=24), "", Surroundings(), 1204),
]


def test_a_payload_that_wrote_no_errors_is_quoted_from_its_output_and_that_is_told() -> None:
    found = diagnose(Exit(4), "42\n", around=Surroundings(on_stdout=True))
    assert found is not None and found.message.endswith("exit code 4; on stdout it said: 42")
    found = diagnose(Exit(4), "42\n", (7, "its own report"), Surroundings(on_stdout=True))
    assert found is not None and found.message.endswith("exit code 4; it said: its own report")


@pytest.mark.parametrize(("exit", "stderr", "around", "code"), CASES)
def test_a_failed_payload_has_the_error_that_explains_it(
    exit: Exit, stderr: str, around: Surroundings, code: int
) -> None:
    failure = diagnose(exit, stderr, None, around)
    assert failure is not None and failure.code == code


def test_a_payload_that_ended_well_has_none() -> None:
    assert diagnose(Exit(0), "std::bad_alloc") is None


def test_the_exit_code_and_the_last_words_are_always_told() -> None:
    failure = diagnose(Exit(7), "first\nno such histogram: m_mumu\n\n")
    assert failure is not None and "exit code 7; it said: no such histogram: m_mumu" in failure.message
    killed = diagnose(Exit(signal=15), "")
    assert killed is not None and "ended by SIGTERM" in killed.message
    odd = diagnose(Exit(signal=60), "")
    assert odd is not None and "signal 60" in odd.message


def test_what_the_payload_says_of_itself_comes_first() -> None:
    failure = diagnose(Exit(1), "std::bad_alloc", (42, "bad calibration"))
    assert failure is not None and failure.code == 1305 and "bad calibration" in failure.message


EXITS = {0: 0, 1008: 65, 1199: 66, 1103: 67, 1163: 68, 1098: 69, 1301: 70, 1116: 71, 1117: 72, 1186: 73, 1330: 74}
EXITS |= {1332: 75, 1342: 76, 1331: 77, 1359: 78, 1318: 79, 1382: 80, 1213: 81, 1385: 82, 1386: 83, 1377: 64}
EXITS |= {1208: 130, 1202: 131, 1206: 135, 1200: 137, 1207: 138, 1203: 139, 1201: 143, 1204: 152, 1305: 1}


def test_every_exit_code_follows_from_its_error() -> None:
    assert {error: exit_code_of(error) for error in EXITS} == EXITS
    assert set(EXITS) - {0} <= set(ERRORS)
    assert exit_code_of(-1318) == 79
    assert exit_code_of_signal(15) == 143


def test_an_exit_code_can_be_put_in_words() -> None:
    assert meaning(78) == "queue not active"
    assert meaning(143) == "ended by SIGTERM"
    assert meaning(3) == meaning(255) == "unknown exit code"


KNOWN = ["--queue", "--label", "--url", "--lifetime", "--workdir", "--cleanup", "--log-level", "--resource-type"]


def test_a_wrappers_command_line_becomes_ours() -> None:
    line = (
        "--pilot-user generic -q SITE_Q -i PR -j managed --url https://h --lifetime=100 -a /w -d --cleanup False "
        "-w generic -r R --resource-type SCORE -z"
    )
    words, notes = translate(line.split(), KNOWN)
    assert " ".join(words) == (
        "--queue SITE_Q --label managed --url https://h --lifetime 100 --workdir /w --log-level debug "
        "--cleanup none --resource-type SCORE"
    )
    assert any("--pilot-user" in note for note in notes) and any("-w is taken" in note for note in notes)


def test_our_own_options_and_unknown_ones_pass_unchanged() -> None:
    line = ["--cleanup", "records", "--slots", "2", "--nonsense", "-qX", "--", "-q", "f.json"]
    assert translate(line, KNOWN)[0] == [
        "--cleanup", "records", "--slots", "2", "--nonsense", "--queue", "X", "--", "-q", "f.json",
    ]  # fmt: skip


def test_no_option_is_in_the_table_twice() -> None:
    names = [name for old in OPTIONS for name in old.names]
    assert len(names) == len(set(names))
    assert all(old.becomes or old.note for old in OPTIONS)


SECRET = 's3cr"t/val+ue'


def test_a_secret_is_blacked_out_in_every_form() -> None:
    redactor = Redactor([SECRET, "short"])
    for form in (SECRET, "s3cr%22t%2Fval%2Bue", 's3cr\\"t/val+ue', "czNjciJ0L3ZhbCt1ZQ=="):
        assert redactor.scrub(f"before {form} after") == "before [secret] after"
    assert redactor.scrub("a short word") == "a short word"
    assert redactor.scrub_bytes(b"\xff" + SECRET.encode()) == b"\xff[secret]"


def test_a_struct_is_cleaned_at_any_depth_and_stays_one() -> None:
    update = JobUpdate(
        1234567, 1, State.FAILED, 1.0, error=PayloadExecutionFailure(f"it said: {SECRET}").failure(),
        metadata={"a": [SECRET, 1234567], SECRET: None}, metrics={"m": "1234567"},
    )  # fmt: skip
    cleaned = Redactor([SECRET, "1234567"]).clean(update)
    assert isinstance(cleaned, JobUpdate) and cleaned.error is not None and cleaned.error.message.endswith("[secret]")
    assert cleaned.metadata == {"a": ["[secret]", 1234567], "[secret]": None}
    assert (cleaned.job_id, cleaned.state, cleaned.metrics) == (1234567, State.FAILED, {"m": "[secret]"})
    assert Redactor().clean(update) is update and Redactor(["not-in-there"]).clean(update) is update


def test_every_line_of_a_key_is_a_secret() -> None:
    redactor = Redactor(["-----BEGIN KEY-----\nabcdefghij\nklmnopqrst\n-----END KEY-----\n"])
    assert redactor.scrub("x klmnopqrst y -----BEGIN KEY-----") == "x [secret] y -----BEGIN KEY-----"


def test_a_log_line_and_its_traceback_are_scrubbed() -> None:
    formatter = RedactingFormatter(logging.Formatter("%(message)s"), Redactor(["my-secret-1"]))
    try:
        raise ValueError("with my-secret-1")
    except ValueError as error:
        record = logging.LogRecord("n", 20, "f", 1, "%s", ("my-secret-1",), (ValueError, error, error.__traceback__))
    text = formatter.format(record)
    assert "my-secret-1" not in text and text.count("[secret]") == 3
