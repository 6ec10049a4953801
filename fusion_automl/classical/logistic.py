"""Logistic regression on scaled columns."""

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
class Logistic:
    """L2-penalised; `class_weight` is `none` or `balanced`."""

    prefers: ClassVar[Literal["codes", "dense"]] = "dense"
    requires: ClassVar[tuple[str, ...]] = ()
    tasks: ClassVar[tuple[str, ...]] = ("binary", "multiclass")
    max_rows: ClassVar[int] = 200_000

    C: float = 5.0
    class_weight: str = "none"

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
        from sklearn.linear_model import LogisticRegression

        weight = None if self.class_weight == "none" else self.class_weight
        estimator = LogisticRegression(C=self.C, class_weight=weight, max_iter=300)
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
        )
