"""Ridge regression, for classes on targets of -1 and 1 with probabilities by Platt scaling."""

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
class Ridge:
    """Least squares with an L2 penalty: the cheapest linear model on wide matrices."""

    prefers: ClassVar[Literal["codes", "dense"]] = "dense"
    requires: ClassVar[tuple[str, ...]] = ()
    tasks: ClassVar[tuple[str, ...]] = ("binary", "multiclass", "regression")
    max_rows: ClassVar[int] = 500_000

    alpha: float = 1.0

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
        from sklearn.linear_model import Ridge as RidgeRegressor
        from sklearn.linear_model import RidgeClassifier

        estimator = (RidgeClassifier if task.is_classification else RidgeRegressor)(alpha=self.alpha)
        return fit_sklearn(
            estimator,
            X,
            y,
            task=task,
            seed=seed,
            deadline=deadline,
            threads=threads,
            sample_weight=sample_weight,
            scaled=True,
            calibrated=True,
        )
