"""Random forests and extremely randomised trees, grown in portions so that the deadline can end them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal, Self

import numpy as np
import numpy.typing as npt

from fusion_automl.classical import SampleWeight
from fusion_automl.classical.matrix import prepare
from fusion_automl.classical.outputs import Outputs, learn_outputs
from fusion_automl.classical.rounds import check_time, prediction_threads
from fusion_automl.classical.trees import load_trees, save_trees
from fusion_automl.deadline import Deadline
from fusion_automl.encoders import Matrix
from fusion_automl.task import Task

TREES_PER_PORTION = 20
NUM_SUMS = 8
"""Trees are added up in as many parts, whatever the number of threads: other parts would round otherwise, and the same search
would find other scores on a machine of other cores."""


@dataclass(frozen=True, slots=True)
class FittedForest:
    """The mean of the trees' answers."""

    trees: tuple[Any, ...]
    outputs: Outputs

    def predict(self, X: Matrix) -> npt.NDArray[np.float64]:
        if X.shape[0] == 0:
            return self.outputs.none()
        X = prepare(X).astype(np.float32, copy=False)
        # The forest's own predict spends 12 ms a row on 300 trees, nearly all of it on checks; this takes 1 ms.
        portions = [self.trees[start::NUM_SUMS] for start in range(min(NUM_SUMS, len(self.trees)))]
        num_threads = prediction_threads(X.shape[0])
        if num_threads == 1:
            sums = [self._sum(trees, X) for trees in portions]
        else:
            with ThreadPoolExecutor(num_threads) as pool:
                sums = list(pool.map(lambda trees: self._sum(trees, X), portions))
        answers = np.sum(sums, axis=0) / len(self.trees)
        return self.outputs.probabilities(answers) if self.outputs.present else self.outputs.values(answers[:, 0])

    @staticmethod
    def _sum(trees: Sequence[Any], X: Matrix) -> npt.NDArray[np.float64]:
        total = trees[0].predict(X)
        for tree in trees[1:]:
            total += tree.predict(X)
        return np.asarray(total.reshape(X.shape[0], -1))

    def save(self, folder: Path) -> None:
        (folder / "model.json").write_text(json.dumps(self.outputs.to_json()))
        save_trees(self.trees, folder / "trees.npz")

    @classmethod
    def load(cls, folder: Path) -> Self:
        outputs = Outputs.from_json(json.loads((folder / "model.json").read_text()))
        return cls(tuple(load_trees(folder / "trees.npz")), outputs)


@dataclass(frozen=True, slots=True)
class RandomForest:
    """Bagged trees (Breiman, 2001); `max_features` is the share of columns tried at each split."""

    prefers: ClassVar[Literal["codes", "dense"]] = "codes"
    requires: ClassVar[tuple[str, ...]] = ()
    tasks: ClassVar[tuple[str, ...]] = ("binary", "multiclass", "regression")
    max_rows: ClassVar[int] = 200_000

    n_estimators: int = 300
    min_samples_leaf: int = 3
    max_features: float = 0.25

    def fit(
        self,
        X: Matrix,
        y: npt.NDArray[Any],
        *,
        task: Task,
        categorical: tuple[int, ...],
        seed: int,
        deadline: Deadline,
        threads: int,
        sample_weight: SampleWeight = None,
    ) -> FittedForest:
        from sklearn.ensemble import RandomForestClassifier, RandomForestRegressor

        forest = (RandomForestClassifier if task.is_classification else RandomForestRegressor)(
            min_samples_leaf=self.min_samples_leaf, max_features=self.max_features, random_state=seed, n_jobs=threads
        )
        return _grow(
            forest, X, y, num_trees=self.n_estimators, task=task, deadline=deadline, sample_weight=sample_weight
        )


@dataclass(frozen=True, slots=True)
class ExtraTrees:
    """Trees with random thresholds on all rows (Geurts et al., 2006); `max_features` as in RandomForest."""

    prefers: ClassVar[Literal["codes", "dense"]] = "codes"
    requires: ClassVar[tuple[str, ...]] = ()
    tasks: ClassVar[tuple[str, ...]] = ("binary", "multiclass", "regression")
    max_rows: ClassVar[int] = 200_000

    n_estimators: int = 300
    min_samples_leaf: int = 2
    max_features: float = 0.35

    def fit(
        self,
        X: Matrix,
        y: npt.NDArray[Any],
        *,
        task: Task,
        categorical: tuple[int, ...],
        seed: int,
        deadline: Deadline,
        threads: int,
        sample_weight: SampleWeight = None,
    ) -> FittedForest:
        from sklearn.ensemble import ExtraTreesClassifier, ExtraTreesRegressor

        forest = (ExtraTreesClassifier if task.is_classification else ExtraTreesRegressor)(
            min_samples_leaf=self.min_samples_leaf, max_features=self.max_features, random_state=seed, n_jobs=threads
        )
        return _grow(
            forest, X, y, num_trees=self.n_estimators, task=task, deadline=deadline, sample_weight=sample_weight
        )


def _grow(
    forest: Any,
    X: Matrix,
    y: npt.NDArray[Any],
    *,
    num_trees: int,
    task: Task,
    deadline: Deadline,
    sample_weight: SampleWeight,
) -> FittedForest:
    """Adds portions of trees until all stand or the deadline has passed; equal to one fit where time suffices."""
    check_time(deadline)
    outputs = learn_outputs(task, y)
    labels, X = outputs.encode(y), prepare(X)
    forest.set_params(warm_start=True)
    for grown in range(0, num_trees, TREES_PER_PORTION):
        if grown and deadline.passed():
            break
        forest.set_params(n_estimators=min(grown + TREES_PER_PORTION, num_trees)).fit(X, labels, sample_weight)
    return FittedForest(tuple(tree.tree_ for tree in forest.estimators_), outputs)
