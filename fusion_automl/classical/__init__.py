"""The table of classical models: a matrix -> predictions."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar, Literal, Protocol, Self, TypeAlias

import numpy as np
import numpy.typing as npt

from fusion_automl.deadline import Deadline
from fusion_automl.encoders import Matrix
from fusion_automl.task import Task

SampleWeight: TypeAlias = npt.NDArray[np.float64] | None
"""What each row counts, `(rows,)`, or `None` where all count the same."""


class FittedClassical(Protocol):
    def predict(self, X: Matrix) -> npt.NDArray[np.float64]:
        """`(rows, outputs)`: probabilities of all the task's classes (0 for classes absent in training), or values."""

    def save(self, folder: Path) -> None:
        """Writes the library's own format, or skops for scikit-learn, into an existing, empty folder; never pickle."""

    @classmethod
    def load(cls, folder: Path) -> Self: ...


class ClassicalModel(Protocol):
    """A frozen dataclass whose fields are hyperparameters with defaults (`str`, `int`, `float` or `bool`).

    `prefers` names the encoding of tables that suits it: `codes` (ordinal codes, missing values kept as nan) or `dense`
    (one-hot and scaled, nothing missing). `max_rows` is where its cost stops being worth it; `tasks` what it can do.
    """

    prefers: ClassVar[Literal["codes", "dense"]]
    requires: ClassVar[tuple[str, ...]]
    tasks: ClassVar[tuple[str, ...]]
    max_rows: ClassVar[int]

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
    ) -> FittedClassical:
        """Learns from all the rows given. `X` may be dense or CSR and may hold nan. Raises OutOfTime or FitError, the latter
        also where rows are weighted and the model has no use for weights."""


CLASSICAL: dict[str, str] = {
    "prior": "fusion_automl.classical.prior:Prior",
    "logistic": "fusion_automl.classical.logistic:Logistic",
    "ridge": "fusion_automl.classical.ridge:Ridge",
    "decision_tree": "fusion_automl.classical.decision_tree:DecisionTree",
    "random_forest": "fusion_automl.classical.forests:RandomForest",
    "extra_trees": "fusion_automl.classical.forests:ExtraTrees",
    "linear_svm": "fusion_automl.classical.linear_svm:LinearSVM",
    "kernel_svm": "fusion_automl.classical.kernel_svm:KernelSVM",
    "naive_bayes": "fusion_automl.classical.naive_bayes:NaiveBayes",
    "knn": "fusion_automl.classical.knn:KNearest",
    "adaboost": "fusion_automl.classical.adaboost:AdaBoost",
    "hist_boosting": "fusion_automl.classical.hist_boosting:HistBoosting",
    "xgboost": "fusion_automl.classical.xgboost:XGBoost",
    "lightgbm": "fusion_automl.classical.lightgbm:LightGBM",
    "catboost": "fusion_automl.classical.catboost:CatBoost",
    "mlp": "fusion_automl.classical.mlp:SmallMLP",
}
