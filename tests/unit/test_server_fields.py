"""What the server keeps of the fields of an update."""

from __future__ import annotations

from typing import Any

import pytest

from pilot.server.fields import FIELDS, stored


def facts(classic: bool = False, **given: Any) -> dict[str, Any]:
    return stored(given, classic=classic)[0]


@pytest.mark.parametrize(
    ("name", "limit"),
    [
        ("node", 128), ("pilot_id", 200), ("batch_id", 80), ("job_sub_status", 80), ("cpu_architecture_level", 20),
        ("exe_error_diag", 500), ("job_metrics", 500),
        ("pilot_error_diag", 500), ("grid", 50), ("source_site", 36), ("destination_site", 36),
    ],
)  # fmt: skip
def test_long_texts_are_cut(name: str, limit: int) -> None:
    assert facts(**{name: "x" * 1000})[name] == "x" * limit


@pytest.mark.parametrize("date", ["2026-01-31T10:20:30", "1769854830.0", "2026-01-31 10:20:30 "])
def test_a_date_in_another_form_is_dropped(date: str) -> None:
    assert facts(start_time=date) == {}
    assert facts(start_time="2026-01-31 10:20:30") == {"start_time": "2026-01-31 10:20:30"}


def test_bytes_become_kilobytes_of_at_most_ten_digits() -> None:
    assert facts(tot_rchar=4096) == {"tot_rchar": 4}
    assert facts(tot_rchar=10**15 * 1024) == {"tot_rchar": 10**10 - 1}


def test_rates_are_divided_in_v1_only() -> None:
    assert facts(rate_wchar=2048.0) == {"rate_wchar": 2}
    assert facts(classic=True, rate_wchar=2048.0) == {"rate_wchar": 2048}


def test_memory_is_made_whole() -> None:
    assert facts(max_pss=10.9) == {"max_pss": 10}


def test_a_minus_sign_of_the_pilot_error_code_is_a_mark() -> None:
    assert facts(pilot_error_code=-1137) == {"pilot_error_code": 1137, "recoverable": True}
    assert facts(pilot_error_code=1137) == {"pilot_error_code": 1137}


def test_the_debug_output_is_cut_in_the_classic_dialect_only() -> None:
    assert stored({"stdout": "a" + "x" * 3000}, classic=True)[1] == {"stdout": "a" + "x" * 2047}
    assert stored({"stdout": "x" * 3000}, classic=False)[1] == {"stdout": "x" * 3000}


def test_null_and_empty_texts_say_nothing() -> None:
    assert facts(node="", stdout="") == {}
    assert stored({field.v1: None for field in FIELDS}, classic=False) == ({}, {})


def test_no_name_is_used_twice_in_a_dialect() -> None:
    assert len({field.v1 for field in FIELDS}) == len({field.classic for field in FIELDS}) == len(FIELDS)
