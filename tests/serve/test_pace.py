"""How many rows a call may have follows from what calls took."""

from __future__ import annotations

import pytest

from fusion_automl.serve.pace import LEAST_ROWS, LONGEST_CALL_SECONDS, MAX_ROWS, Pace


def paced(*, fixed: float, each: float, sizes: tuple[int, ...] = (1, 32, 7)) -> Pace:
    pace = Pace()
    for rows in sizes:
        pace.add(rows, fixed + each * rows)
    return pace


def test_a_call_is_as_long_as_it_may_be() -> None:
    rows = paced(fixed=0.02, each=0.001).max_rows
    assert rows == pytest.approx((LONGEST_CALL_SECONDS - 0.02) / 0.001, abs=1)


def test_what_costs_much_for_any_rows_takes_many() -> None:
    assert paced(fixed=0.2, each=0.001).max_rows == pytest.approx(600, abs=1)


def test_slow_rows_and_quick_ones_have_a_bound() -> None:
    assert paced(fixed=0.0, each=0.5).max_rows == LEAST_ROWS
    assert paced(fixed=0.001, each=1e-7).max_rows == MAX_ROWS


def test_calls_of_one_size_tell_nothing() -> None:
    assert Pace().max_rows == MAX_ROWS
    assert paced(fixed=0.0, each=0.5, sizes=(1, 1, 1, 1)).max_rows == MAX_ROWS


def test_one_slow_call_does_not_bound_those_that_are_quick() -> None:
    pace = paced(fixed=0.0, each=0.01, sizes=(1, 32))
    for _ in range(300):
        pace.add(pace.max_rows, 0.001 + 0.0001 * pace.max_rows)
    assert pace.max_rows > 500


def test_calls_of_late_count_more() -> None:
    pace = paced(fixed=0.01, each=0.0001)
    before = pace.max_rows
    for rows in (1, 32) * 150:
        pace.add(rows, 0.01 + 0.001 * rows)
    assert pace.max_rows == pytest.approx(90, abs=2) and before > 500
