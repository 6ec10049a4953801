"""AdaBoost over small trees."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy.typing as npt

from fusion_automl.classical import SampleWeight
from fusion_automl.classical.calibration import NUM_FOLDS
from fusion_automl.classical.matrix import prepare
from fusion_automl.classical.outputs import learn_outputs
from fusion_automl.classical.rounds import check_time
from fusion_automl.classical.sklearn_model import FittedSklearn, fit_sklearn
from fusion_automl.deadline import Deadline
from fusion_automl.encoders import Matrix
from fusion_automl.task import Task


@dataclass(frozen=True, slots=True)
class AdaBoost:
    """SAMME for classes (Zhu et al., 2009), AdaBoost.R2 for values (Drucker, 1997), over trees of `max_depth`.

    scikit-learn's rounds cannot be interrupted: one tree is timed first, and the rounds are cut to what fits.
    """

    prefers: ClassVar[Literal["codes", "dense"]] = "codes"
    requires: ClassVar[tuple[str, ...]] = ()
    tasks: ClassVar[tuple[str, ...]] = ("binary", "multiclass", "regression")
    max_rows: ClassVar[int] = 20_000

    n_estimators: int = 100
    learning_rate: float = 0.5
    max_depth: int = 4

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
        from sklearn.ensemble import AdaBoostClassifier, AdaBoostRegressor
        from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

        check_time(deadline)
        tree = (DecisionTreeClassifier if task.is_classification else DecisionTreeRegressor)(max_depth=self.max_depth)
        started = time.monotonic()
        tree.fit(prepare(X), learn_outputs(task, y).encode(y), sample_weight)
        seconds_per_round = 1.5 * (time.monotonic() - started) * (NUM_FOLDS if task.is_classification else 1)
        affordable = max(1.0, deadline.seconds_left() / seconds_per_round)
        estimator = (AdaBoostClassifier if task.is_classification else AdaBoostRegressor)(
            tree,
            n_estimators=int(min(self.n_estimators, affordable)),
            learning_rate=self.learning_rate,
            random_state=seed,
        )
        # Scaling changes nothing for trees, but fills in nan, which AdaBoost refuses.
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
