"""Linear support vector machine, with probabilities by Platt scaling."""

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
class LinearSVM:
    """Squared hinge loss for classes, epsilon-insensitive loss for values, on scaled columns."""

    prefers: ClassVar[Literal["codes", "dense"]] = "dense"
    requires: ClassVar[tuple[str, ...]] = ()
    tasks: ClassVar[tuple[str, ...]] = ("binary", "multiclass", "regression")
    max_rows: ClassVar[int] = 100_000

    C: float = 0.3

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
        from sklearn.svm import LinearSVC, LinearSVR

        # The primal solver's cost does not grow with C; for LinearSVR it needs the squared loss.
        estimator = (
            LinearSVC(C=self.C, dual=False, random_state=seed)
            if task.is_classification
            else LinearSVR(C=self.C, dual=False, loss="squared_epsilon_insensitive", random_state=seed)
        )
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
