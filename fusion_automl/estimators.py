"""The same search as scikit-learn estimators."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any, Self

import numpy as np
import numpy.typing as npt
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin
from sklearn.utils.validation import check_is_fitted

from fusion_automl.artifact import Artifact
from fusion_automl.assemble import Preset
from fusion_automl.data.read import read_table
from fusion_automl.errors import DataError
from fusion_automl.finish import Result
from fusion_automl.fitting import Engine, fit
from fusion_automl.search.clock import DEFAULT_BUDGET

_TARGET = "target"


class _FusionEstimator(BaseEstimator):
    """`fit` runs a search of `budget`; `result_` holds its summary and `artifact_` the ensemble.

    X may be a pandas, polars or Arrow table, or a NumPy array. Without `out` the run folder is gone after `fit`; what is
    needed to predict is in memory.
    """

    _task_kind: str | None = None

    def __init__(
        self,
        *,
        budget: str | float = DEFAULT_BUDGET,
        metric: str | None = None,
        space: str = "default",
        folds: int | None = None,
        max_trials: int | None = None,
        preset: Preset = "best-quality",
        max_latency_ms: float | None = None,
        max_size_mb: float | None = None,
        engine: Engine = "inline",
        out: str | None = None,
        seed: int = 0,
    ) -> None:
        self.budget = budget
        self.metric = metric
        self.space = space
        self.folds = folds
        self.max_trials = max_trials
        self.preset = preset
        self.max_latency_ms = max_latency_ms
        self.max_size_mb = max_size_mb
        self.engine = engine
        self.out = out
        self.seed = seed

    def fit(self, X: Any, y: Any) -> Self:
        """Searches for the best fusion. Raises UserError for data that cannot be learned from."""
        frame = read_table(_table(X), where="X").copy()
        values = np.asarray(y)
        if len(values) != len(frame):
            raise DataError(f"X has {len(frame)} rows and y has {len(values)}; they must be equally many.")
        target = _free_name(frame.columns)
        self.n_features_in_ = frame.shape[1]
        self.feature_names_in_ = np.asarray(frame.columns, dtype=object)
        frame[target] = values
        with tempfile.TemporaryDirectory(prefix="fusion_automl_") as temporary:
            self.result_: Result = fit(
                frame,
                target=target,
                out=self.out or Path(temporary) / "run",
                budget=self.budget,
                metric=self.metric,
                space=self.space,
                folds=self.folds,
                max_trials=self.max_trials,
                preset=self.preset,
                max_latency_ms=self.max_latency_ms,
                max_size_mb=self.max_size_mb,
                engine=self.engine,
                seed=self.seed,
                task=self._task_kind,
            )
            self.artifact_: Artifact = self.result_.load()
        return self

    def predict(self, X: Any) -> npt.NDArray[Any]:
        """Labels or values `(rows,)`."""
        check_is_fitted(self, "artifact_")
        return self.artifact_.predict(_table(X))


class FusionClassifier(ClassifierMixin, _FusionEstimator):
    """Searches for the best fusion that tells classes apart."""

    def fit(self, X: Any, y: Any) -> Self:
        """Searches for the best fusion. Raises UserError for data that cannot be learned from."""
        self._task_kind = "binary" if len(set(np.asarray(y).tolist())) == 2 else "multiclass"
        super().fit(X, y)
        self.classes_ = np.asarray(self.artifact_.manifest.task.classes)
        return self

    def predict_proba(self, X: Any) -> npt.NDArray[np.float64]:
        """Probabilities `(rows, classes)` in the order of `classes_`."""
        check_is_fitted(self, "artifact_")
        return self.artifact_.probabilities(_table(X))


class FusionRegressor(RegressorMixin, _FusionEstimator):
    """Searches for the best fusion that predicts a number."""

    _task_kind = "regression"


def _table(X: Any) -> Any:
    """An array gets the column names x0, x1, ...; anything else is read as it is."""
    if not isinstance(X, np.ndarray):
        return X
    if X.ndim != 2:
        raise DataError(f"X has {X.ndim} dimensions; a table has two (rows, columns).")
    return {f"x{index}": X[:, index] for index in range(X.shape[1])}


def _free_name(columns: Any) -> str:
    name = _TARGET
    while name in columns:
        name += "_"
    return name
