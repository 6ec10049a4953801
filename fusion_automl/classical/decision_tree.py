"""One decision tree."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy.typing as npt

from fusion_automl.classical import SampleWeight
from fusion_automl.classical.sklearn_model import FittedSklearn, fit_sklearn
from fusion_automl.deadline import Deadline
from fusion_automl.encoders import Matrix
from fusion_automl.task import Task


@dataclass(frozen=True, slots=True)
class DecisionTree:
    """CART; its leaves are large enough for their class shares to be probabilities."""

    prefers: ClassVar[Literal["codes", "dense"]] = "codes"
    requires: ClassVar[tuple[str, ...]] = ()
    tasks: ClassVar[tuple[str, ...]] = ("binary", "multiclass", "regression")
    max_rows: ClassVar[int] = 1_000_000

    max_depth: int = 8
    min_samples_leaf: int = 30

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
    ) -> FittedSklearn:
        from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

        estimator = (DecisionTreeClassifier if task.is_classification else DecisionTreeRegressor)(
            max_depth=self.max_depth, min_samples_leaf=self.min_samples_leaf, random_state=seed
        )
        return fit_sklearn(
            estimator, X, y, task=task, seed=seed, deadline=deadline, threads=threads, sample_weight=sample_weight
        )
