from __future__ import annotations

import numpy as np
import pandas as pd
from hypothesis import given, settings
from hypothesis import strategies as st

from fusion_automl.encoders.remembered import remember_frame
from fusion_automl.encoders.tabular import (
    DATE_PARTS,
    TabularColumns,
    date_parts,
    frequent_levels,
    level_counts,
    look_up,
)

from .tables import dataset


@settings(max_examples=50, deadline=None)
@given(
    st.datetimes(
        min_value=pd.Timestamp("1700-01-01").to_pydatetime(), max_value=pd.Timestamp("2250-01-01").to_pydatetime()
    )
)
def test_date_parts_agree_with_pandas(moment: pd.Timestamp) -> None:
    stamp = pd.Timestamp(moment)
    parts = dict(zip(DATE_PARTS, date_parts(np.array([stamp.to_datetime64()]), 100.0)[0], strict=True))
    assert [parts[name] for name in ("year", "month", "day", "weekday")] == [
        stamp.year,
        stamp.month,
        stamp.day,
        stamp.weekday(),
    ]
    since_midnight = (stamp - stamp.normalize()).total_seconds()
    assert abs(parts["hour"] - since_midnight / 3600) < 1e-5
    assert abs(parts["days since first"] - ((stamp - pd.Timestamp(0)).total_seconds() / 86_400 - 100)) < 1e-6


def test_a_missing_date_gives_missing_parts() -> None:
    assert np.isnan(date_parts(np.array(["NaT"], dtype="datetime64[ns]"), 0.0)).all()


def test_days_count_from_the_first_training_date() -> None:
    data = dataset(day=("datetime", ["2024-03-05", "2024-03-01", None]))
    numbers = TabularColumns.of(data).numbers(data.frame)
    np.testing.assert_array_equal(numbers[:, -1], [4, 0, np.nan])


def test_infinite_numbers_become_very_large_ones() -> None:
    data = dataset(size=("numeric", [np.inf, -np.inf, np.nan, 1]))
    np.testing.assert_array_equal(TabularColumns.of(data).numbers(data.frame)[:, 0], [1e30, -1e30, np.nan, 1])


def test_levels_are_ordered_by_frequency_then_by_name() -> None:
    counts = level_counts(["b", "c", None, "a", "c", "b", "d"])
    assert list(counts.items()) == [("b", 2), ("c", 2), ("a", 1), ("d", 1)]
    assert frequent_levels(counts, min_frequency=2, max_categories=9) == ["b", "c"]
    assert frequent_levels(counts, min_frequency=1, max_categories=3) == ["b", "c", "a"]


def test_inside_remember_frame_each_frame_is_asked_for_its_own_cells() -> None:
    codes = {"red": 1, "blue": 2}
    first = dataset(colour=("category", ["red", None, "red"])).frame
    second = dataset(colour=("category", ["blue", "green"])).frame
    with remember_frame():
        for frame, expected in ((first, [1, 0, 1]), (second, [2, 0]), (first, [1, 0, 1])):
            assert look_up(frame, "colour", codes, other=0, dtype=np.int64).tolist() == expected
            assert look_up(frame, "colour", {None: 7}, other=0, dtype=np.int64)[0] == 0
