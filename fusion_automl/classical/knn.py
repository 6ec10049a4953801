"""Nearest neighbours on scaled columns."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy.typing as npt

from fusion_automl.classical import SampleWeight
from fusion_automl.classical.sklearn_model import FittedSklearn, fit_sklearn
from fusion_automl.deadline import Deadline
from fusion_automl.encoders import Matrix
from fusion_automl.errors import FitError
from fusion_automl.task import Task


@dataclass(frozen=True, slots=True)
class KNearest:
    """Neighbours vote, `weights` being `uniform` or `distance`; `metric` is `euclidean`, `manhattan` or `cosine`."""

    prefers: ClassVar[Literal["codes", "dense"]] = "dense"
    requires: ClassVar[tuple[str, ...]] = ()
    tasks: ClassVar[tuple[str, ...]] = ("binary", "multiclass", "regression")
    max_rows: ClassVar[int] = 50_000

    n_neighbors: int = 20
    weights: str = "distance"
    metric: str = "euclidean"

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
        if sample_weight is not None:
            raise FitError("knn has no use for weights of rows; repeat or draw rows instead")
        from sklearn.neighbors import KNeighborsClassifier, KNeighborsRegressor

        estimator = (KNeighborsClassifier if task.is_classification else KNeighborsRegressor)(
            n_neighbors=min(self.n_neighbors, len(y)),
            weights=self.weights,
            metric=self.metric,
            algorithm="brute",  # trees of points do not pay off beyond some 20 columns
        )
        return fit_sklearn(estimator, X, y, task=task, seed=seed, deadline=deadline, threads=threads, scaled=True)
