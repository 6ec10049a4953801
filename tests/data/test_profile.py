"""How columns were distributed, and how far others are from that."""

from __future__ import annotations

import json
import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fusion_automl.data.profile import Profile, profiles
from fusion_automl.data.schema import Column, Schema

SCHEMA = Schema(
    (
        Column("size", "numeric"),
        Column("sold", "boolean"),
        Column("shop", "category"),
        Column("day", "datetime"),
        Column("note", "text"),
        Column("id", "identifier"),
    )
)


def rows(number: int, *, seed: int = 0, shift: float = 0.0, shops: str = "abc") -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    size = rng.normal(shift, 1.0, number)
    size[: number // 10] = np.nan
    return pd.DataFrame(
        {
            "size": size,
            "sold": rng.integers(2, size=number).astype(float),
            "shop": pd.Series(rng.choice(list(shops), number), dtype=object),
            "day": pd.Timestamp("2026-01-01") + pd.to_timedelta(rng.integers(0, 365, number), unit="D"),
            "note": pd.Series([None, "word"] * (number // 2), dtype=object),
        }
    )


def test_bins_are_about_equal_and_missing_cells_have_one_of_their_own() -> None:
    found = profiles(rows(10_000), SCHEMA)
    assert set(found) == {"size", "sold", "shop", "day", "note"}
    assert found["size"].shares[:-1] == pytest.approx([0.09] * 10, abs=0.001) and found["size"].shares[-1] == 0.1
    assert len(found["sold"].shares) == 3 and found["sold"].shares[0] == pytest.approx(0.5, abs=0.02)
    assert sorted(found["shop"].values) == ["a", "b", "c"] and found["shop"].shares[-2:] == (0.0, 0.0)
    assert len(found["day"].edges) == 9
    assert found["note"].shares == (0.5, 0.5)
    assert all(sum(one.shares) == pytest.approx(1) for one in found.values())


def test_other_rows_of_the_same_kind_are_stable_and_others_are_not() -> None:
    found = profiles(rows(10_000), SCHEMA)
    same, shifted = rows(4000, seed=1), rows(4000, seed=2, shift=1.0, shops="abz")
    for name, profile in found.items():
        assert profile.instability(profile.counts(same[name])) < 0.02
    assert found["size"].instability(found["size"].counts(shifted["size"])) > 0.25
    counts = found["shop"].counts(shifted["shop"])
    assert counts[-2] == (shifted["shop"] == "z").sum()
    assert found["shop"].instability(counts) > 0.25
    assert found["day"].instability(found["day"].counts(shifted["day"] + pd.Timedelta(days=400))) > 0.25


def test_the_index_is_that_of_the_formula() -> None:
    profile = Profile((0.5, 0.3, 0.2), edges=(1.0,))
    expected = 0.1 * math.log(0.6 / 0.5) - 0.1 * math.log(0.2 / 0.3)
    assert profile.instability(np.array([6.0, 2.0, 2.0])) == pytest.approx(expected)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.none() | st.floats(allow_nan=False, allow_infinity=False), max_size=30))
def test_any_numbers_are_counted_once(values: list[float | None]) -> None:
    frame = pd.DataFrame({"x": pd.Series(values, dtype=np.float64)})
    (profile,) = profiles(frame, Schema((Column("x", "numeric"),))).values()
    assert Profile.from_json(json.loads(json.dumps(profile.to_json()))) == profile
    assert profile.counts(frame["x"]).sum() == len(values)
    assert profile.counts(pd.Series([1e300, -1e300, np.nan])).sum() == 3
