"""Forests answer small batches by another way than large ones, and grow in portions."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from sklearn.ensemble import RandomForestClassifier

from fusion_automl.classical.forests import FittedForest, RandomForest
from fusion_automl.deadline import Deadline
from fusion_automl.errors import ArtifactError
from fusion_automl.task import Task

RNG = np.random.default_rng(0)
X = RNG.normal(size=(1200, 4)).astype(np.float32)
X[RNG.random(X.shape) < 0.1] = np.nan
y = (np.nan_to_num(X[:, 0]) > 0.3).astype(np.int64)


@pytest.fixture(scope="module")
def forest() -> FittedForest:
    model = RandomForest(n_estimators=50, max_features=0.5)
    task = Task("binary", "target", ("no", "yes"))
    return model.fit(X, y, task=task, categorical=(), seed=3, deadline=Deadline.never(), threads=1)


def test_any_number_of_threads_gives_the_same_to_the_last_bit(
    forest: FittedForest, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = []
    for threads in ("1", "2"):
        monkeypatch.setenv("OMP_NUM_THREADS", threads)
        found.append(forest.predict(X))
    np.testing.assert_array_equal(*found)
    np.testing.assert_array_equal(found[0][:7], forest.predict(X[:7]))


def test_portions_give_the_forest_that_one_fit_gives(forest: FittedForest) -> None:
    at_once = RandomForestClassifier(50, max_features=0.5, min_samples_leaf=3, random_state=3).fit(X, y)
    np.testing.assert_allclose(forest.predict(X), at_once.predict_proba(X), atol=1e-12)


def test_trees_are_written_small_and_read_back_exactly(forest: FittedForest, tmp_path: Path) -> None:
    forest.save(tmp_path)
    np.testing.assert_array_equal(FittedForest.load(tmp_path).predict(X), forest.predict(X))
    assert (tmp_path / "trees.npz").stat().st_size < 400_000


@pytest.mark.parametrize(
    ("field", "value", "sentence"),
    [
        ("left_child", 10**6, "points outside it"),
        ("right_child", 0, "points outside it"),
        ("feature", 99, "asks for a feature"),
    ],
)
def test_a_tree_that_would_lead_astray_is_refused(
    forest: FittedForest, tmp_path: Path, field: str, value: int, sentence: str
) -> None:
    forest.save(tmp_path)
    with np.load(tmp_path / "trees.npz") as file:
        arrays = {name: file[name] for name in file.files}
    arrays[field][0] = value  # the first node is the root of the first tree
    np.savez(tmp_path / "trees.npz", **arrays)
    with pytest.raises(ArtifactError, match=sentence):
        FittedForest.load(tmp_path)
