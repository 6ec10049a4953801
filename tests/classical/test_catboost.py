"""CatBoost is given categories behind numbers, wherever they stand in a matrix."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from fusion_automl.classical.catboost import CatBoost, FittedCatBoost
from fusion_automl.deadline import Deadline
from fusion_automl.task import Task

RNG = np.random.default_rng(0)
CATEGORY = 1


def test_a_category_between_numbers_is_a_category_and_stays_one_in_a_file(tmp_path: Path) -> None:
    X = RNG.normal(size=(900, 3)).astype(np.float32)
    X[:, CATEGORY] = RNG.integers(0, 40, 900)
    X[::50, CATEGORY] = np.nan
    likes = RNG.permutation(40) % 2  # no threshold on the codes tells the classes apart
    y = np.where(np.isnan(X[:, CATEGORY]), 0, likes[np.nan_to_num(X[:, CATEGORY]).astype(int)]).astype(np.int64)
    task = Task("binary", "target", ("no", "yes"))
    fitted = CatBoost(iterations=60).fit(
        X, y, task=task, categorical=(CATEGORY,), seed=0, deadline=Deadline.never(), threads=1
    )
    assert (fitted.predict(X).argmax(axis=1) == y).mean() > 0.95
    fitted.save(tmp_path)
    loaded = FittedCatBoost.load(tmp_path)
    np.testing.assert_array_equal(loaded.predict(X), fitted.predict(X))
    np.testing.assert_allclose(loaded.predict(X[:1]), fitted.predict(X)[:1], atol=1e-12)
