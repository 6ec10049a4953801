"""Rows held out for early stopping."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fusion_automl.classical.rounds import hold_out, prediction_threads


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(0, 5), min_size=200, max_size=400), st.integers(0, 3))
def test_rows_are_split_once_and_every_class_stays_to_be_learned(labels: list[int], seed: int) -> None:
    y = np.array(labels)
    learn, held = hold_out(y, is_classification=True, seed=seed)
    assert sorted([*learn, *held]) == list(range(len(y)))
    assert set(y[learn]) == set(y)
    assert abs(len(held) - len(y) / 8) <= 7


def test_a_regression_target_is_held_out_over_its_whole_range() -> None:
    y = np.random.default_rng(0).lognormal(size=800)
    _, held = hold_out(y, is_classification=False, seed=0)
    assert len(held) == 100
    np.testing.assert_allclose(np.quantile(y[held], [0.1, 0.5, 0.9]), np.quantile(y, [0.1, 0.5, 0.9]), rtol=0.1)


def test_few_rows_are_all_learned_from() -> None:
    learn, held = hold_out(np.arange(199), is_classification=False, seed=0)
    assert (len(learn), len(held)) == (199, 0)


def test_large_batches_take_the_threads_that_were_reserved(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.sched_getaffinity", lambda _: range(8))
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    assert [prediction_threads(rows) for rows in (1, 999, 1000)] == [1, 1, 3]
    monkeypatch.setenv("OMP_NUM_THREADS", "64")
    assert prediction_threads(1000) == 8
    monkeypatch.delenv("OMP_NUM_THREADS")
    assert prediction_threads(1000) == 8
