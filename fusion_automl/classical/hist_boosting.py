"""scikit-learn's histogram gradient boosting: needs no library beyond the core."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np
import numpy.typing as npt

from fusion_automl.classical import SampleWeight
from fusion_automl.classical.matrix import prepare
from fusion_automl.classical.outputs import learn_outputs
from fusion_automl.classical.rounds import check_time, hold_out, weights_of
from fusion_automl.classical.sklearn_model import FittedSklearn, quiet
from fusion_automl.deadline import Deadline
from fusion_automl.encoders import Matrix
from fusion_automl.task import Task

ROUNDS_PER_PORTION = 20
PATIENCE = 20
MAX_CATEGORIES = 255
"""The library's own limit; columns with more categories are treated as numbers."""


@dataclass(frozen=True, slots=True)
class HistBoosting:
    """Boosted trees on binned columns with early stopping; sparse matrices are made dense."""

    prefers: ClassVar[Literal["codes", "dense"]] = "codes"
    requires: ClassVar[tuple[str, ...]] = ()
    tasks: ClassVar[tuple[str, ...]] = ("binary", "multiclass", "regression")
    max_rows: ClassVar[int] = 1_000_000
    goes_by: ClassVar[str] = "max_iter"

    learning_rate: float = 0.05
    max_iter: int = 400
    max_leaf_nodes: int = 12
    min_samples_leaf: int = 20
    l2_regularization: float = 1.0
    early_stopping: bool = True

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
        from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor

        check_time(deadline)
        outputs = learn_outputs(task, y)
        labels, table = outputs.encode(y), np.asarray(prepare(X, dense=True))
        learn, held = hold_out(
            labels, is_classification=task.is_classification, seed=seed, early_stopping=self.early_stopping
        )
        booster = (HistGradientBoostingClassifier if task.is_classification else HistGradientBoostingRegressor)(
            learning_rate=self.learning_rate,
            max_leaf_nodes=self.max_leaf_nodes,
            min_samples_leaf=self.min_samples_leaf,
            l2_regularization=self.l2_regularization,
            categorical_features=[column for column in categorical if _num_codes(table[:, column]) <= MAX_CATEGORIES],
            early_stopping=len(held) > 0,
            n_iter_no_change=PATIENCE,
            warm_start=True,
            random_state=seed,
        )
        watched = {"X_val": table[held], "y_val": labels[held]} if len(held) else {}
        learn_weights, held_weights = weights_of(sample_weight, learn), weights_of(sample_weight, held)
        if len(held) and held_weights is not None:
            watched["sample_weight_val"] = held_weights
        with quiet(threads):
            for done in range(0, self.max_iter, ROUNDS_PER_PORTION):
                if done and (deadline.passed() or booster.n_iter_ < done):
                    break
                booster.set_params(max_iter=min(done + ROUNDS_PER_PORTION, self.max_iter))
                booster.fit(table[learn], labels[learn], learn_weights, **watched)
        if booster._preprocessor is not None:
            # Numbers pass through a check of their type, whose function no skops file of ours may hold; floats need none.
            booster._preprocessor.set_params(numerical__func=None)
            booster._preprocessor.named_transformers_["numerical"].set_params(func=None)
        return FittedSklearn(booster, outputs, dense=True, rounds=booster.n_iter_)


def _num_codes(column: npt.NDArray[Any]) -> int:
    return int(np.nanmax(column, initial=0)) + 1
