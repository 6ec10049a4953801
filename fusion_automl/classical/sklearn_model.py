"""The fitted form of every scikit-learn model here: predicts all the task's classes, lives in a skops file."""

from __future__ import annotations

import json
import warnings
import zipfile
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from fusion_automl.classical import SampleWeight
from fusion_automl.classical.calibration import Calibration, calibrate, decision_values, fit_weighted
from fusion_automl.classical.matrix import fit_scaler, prepare, scale
from fusion_automl.classical.outputs import Outputs, learn_outputs
from fusion_automl.classical.rounds import check_time, prediction_threads
from fusion_automl.deadline import Deadline
from fusion_automl.encoders import Matrix
from fusion_automl.errors import ArtifactError
from fusion_automl.task import Task

TRUSTED = (
    "scipy.sparse._csr.csr_matrix",
    "sklearn.ensemble._hist_gradient_boosting.predictor.TreePredictor",
    "sklearn.tree._tree.Tree",
)
"""What may stand in a file beyond skops' own list: arrays, and trees that are arrays of nodes; nothing that runs."""


@dataclass(frozen=True, slots=True)
class FittedSklearn:
    """A fitted estimator over labels 0..k-1 or a standardised target, with what stands before and behind it."""

    estimator: Any
    outputs: Outputs
    scaler: Any = None
    calibration: Calibration | None = None
    dense: bool = False
    rounds: int | None = None

    def predict(self, X: Matrix) -> npt.NDArray[np.float64]:
        if X.shape[0] == 0:
            return self.outputs.none()
        with _prediction_pools(X.shape[0]):
            return self._predict(prepare(X, dense=self.dense))

    def _predict(self, X: Matrix) -> npt.NDArray[np.float64]:
        if self.scaler is not None:
            X = scale(self.scaler, X)
        if not self.outputs.present:
            return self.outputs.values(self.estimator.predict(X))
        if self.calibration is not None:
            return self.outputs.probabilities(self.calibration.probabilities(decision_values(self.estimator, X)))
        return self.outputs.probabilities(self.estimator.predict_proba(X))

    def save(self, folder: Path) -> None:
        calibration = self.calibration and {"slope": self.calibration.slope, "bias": self.calibration.bias}
        state = {"outputs": self.outputs.to_json(), "calibration": calibration, "dense": self.dense}
        (folder / "model.json").write_text(json.dumps(state))
        dump({"estimator": self.estimator, "scaler": self.scaler}, folder / "model.skops")

    @classmethod
    def load(cls, folder: Path) -> Self:
        state = json.loads((folder / "model.json").read_text())
        found = state["calibration"]
        return cls(
            **load(folder / "model.skops"),
            outputs=Outputs.from_json(state["outputs"]),
            calibration=Calibration(found["slope"], tuple(found["bias"])) if found else None,
            dense=state["dense"],
        )


def fit_sklearn(
    estimator: Any,
    X: Matrix,
    y: npt.NDArray[Any],
    *,
    task: Task,
    seed: int,
    deadline: Deadline,
    threads: int,
    sample_weight: SampleWeight = None,
    scaled: bool = False,
    calibrated: bool = False,
    dense: bool = False,
) -> FittedSklearn:
    """Fits `estimator` in one go. `scaled` for those that compare columns or refuse nan; `calibrated` for classifiers
    whose scores are not probabilities (regressors are left as they are); `dense` for those that refuse CSR."""
    check_time(deadline)
    outputs = learn_outputs(task, y)
    labels = outputs.encode(y)
    X = prepare(X, dense=dense)
    with quiet(threads):
        scaler = fit_scaler(X) if scaled else None
        X = scale(scaler, X) if scaled else X
        calibration = (
            calibrate(estimator, X, labels, seed=seed, sample_weight=sample_weight)
            if calibrated and outputs.present
            else None
        )
        fitted = fit_weighted(estimator, X, labels, sample_weight)
        return FittedSklearn(fitted, outputs, scaler, calibration, dense)


@contextmanager
def quiet(threads: int) -> Iterator[None]:
    """Bounds the threads of BLAS and OpenMP, and drops convergence warnings: iterations are bounded on purpose."""
    from sklearn.exceptions import ConvergenceWarning
    from threadpoolctl import threadpool_limits

    with warnings.catch_warnings(), threadpool_limits(limits=threads):
        warnings.simplefilter("ignore", ConvergenceWarning)
        yield


def _prediction_pools(num_rows: int) -> AbstractContextManager[Any]:
    """One thread for small batches: on a busy machine, waiting for the others took 160 ms a row instead of 3."""
    return _pools().limit(limits=1) if prediction_threads(num_rows) == 1 else nullcontext()


@cache
def _pools() -> Any:
    """The thread pools of this process; asked first when a model of scikit-learn, and so its pools, has been loaded."""
    from threadpoolctl import ThreadpoolController

    return ThreadpoolController()


def dump(value: Any, path: Path) -> None:
    """Writes a skops file; lightly compressed, which makes 300 trees six times smaller at no cost in time."""
    import skops.io

    skops.io.dump(value, path, compression=zipfile.ZIP_DEFLATED, compresslevel=1)


def load(path: Path) -> Any:
    """Reads a skops file. Raises ArtifactError where it holds a type that is not in `TRUSTED`."""
    import skops.io

    foreign = sorted(set(skops.io.get_untrusted_types(file=path)) - set(TRUSTED))
    if foreign:
        raise ArtifactError(
            f"{path}: holds the type {', '.join(foreign)}, which no model written by fusion_automl needs. "
            "The file was made or changed by something else; nothing was loaded from it."
        )
    return skops.io.load(path, trusted=list(TRUSTED))
