"""Rows held out for early stopping, and models that need none as they are told how long to learn."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fusion_automl.candidate import Spec
from fusion_automl.classical import CLASSICAL
from fusion_automl.classical.rounds import hold_out, prediction_threads, settled, without_rounds
from fusion_automl.component import build, component_class, hyperparameters
from fusion_automl.deadline import Deadline
from tests.contracts.matrices import make_rows
from tests.contracts.rows import TASKS


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(0, 5), min_size=200, max_size=400), st.integers(0, 3))
def test_rows_are_split_once_and_every_class_stays_to_be_learned(labels: list[int], seed: int) -> None:
    y = np.array(labels)
    learn, held = hold_out(y, is_classification=True, seed=seed, early_stopping=True)
    assert sorted([*learn, *held]) == list(range(len(y)))
    assert set(y[learn]) == set(y)
    assert abs(len(held) - len(y) / 8) <= 7


def test_a_regression_target_is_held_out_over_its_whole_range() -> None:
    y = np.random.default_rng(0).lognormal(size=800)
    _, held = hold_out(y, is_classification=False, seed=0, early_stopping=True)
    assert len(held) == 100
    np.testing.assert_allclose(np.quantile(y[held], [0.1, 0.5, 0.9]), np.quantile(y, [0.1, 0.5, 0.9]), rtol=0.1)


def test_few_rows_are_all_learned_from() -> None:
    learn, held = hold_out(np.arange(199), is_classification=False, seed=0, early_stopping=True)
    assert (len(learn), len(held)) == (199, 0)


GO_BY_ROUNDS = [
    name
    for name in CLASSICAL
    if "early_stopping" in hyperparameters(component_class(CLASSICAL, name, where="classical"))
]


def fitted(spec: Spec) -> Any:
    X, y = make_rows("binary", "codes", rows=400)
    model = build(CLASSICAL, spec, where="classical")
    return model.fit(X, y, task=TASKS["binary"], categorical=(), seed=0, deadline=Deadline.never(), threads=1)


@pytest.mark.parametrize("name", GO_BY_ROUNDS)
def test_a_settled_model_learns_from_all_rows_for_as_long_as_it_is_told(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = Spec.of(name)
    bound = hyperparameters(component_class(CLASSICAL, name, where="classical"))
    goes_by = component_class(CLASSICAL, name, where="classical").goes_by
    stopped = fitted(spec).rounds
    assert 0 < stopped < bound[goes_by]
    again = settled(spec, stopped + 7)
    held: list[int] = []

    def spy(*args: Any, **words: Any) -> Any:
        rows = hold_out(*args, **words)
        held.append(len(rows[1]))
        return rows

    monkeypatch.setattr(f"fusion_automl.classical.{name}.hold_out", spy)
    assert (fitted(again).rounds, held) == (stopped + 7, [0])
    assert settled(spec, 10**6) == Spec.of(name, **{goes_by: bound[goes_by]}, early_stopping=False)
    assert without_rounds(again) == without_rounds(spec) == without_rounds(settled(again, 3))


def test_rounds_are_those_that_were_kept() -> None:
    model = fitted(Spec.of("xgboost"))
    assert model.booster.num_boosted_rounds() == model.rounds


def test_what_goes_by_rounds_is_boosting_and_the_small_net() -> None:
    assert GO_BY_ROUNDS == ["hist_boosting", "xgboost", "lightgbm", "catboost", "mlp"]
    assert without_rounds(Spec.of("random_forest", n_estimators=9)) == Spec.of("random_forest", n_estimators=9)


def test_large_batches_take_the_threads_that_were_reserved(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.sched_getaffinity", lambda _: range(8))
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    assert [prediction_threads(rows) for rows in (1, 999, 1000)] == [1, 1, 3]
    monkeypatch.setenv("OMP_NUM_THREADS", "64")
    assert prediction_threads(1000) == 8
    monkeypatch.delenv("OMP_NUM_THREADS")
    assert prediction_threads(1000) == 8
