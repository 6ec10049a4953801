"""From decision values to probabilities: Platt scaling for any number of classes, fitted out of fold.

J. Platt, Probabilistic outputs for support vector machines, 1999. For k classes p = softmax(slope * decision + bias),
which for two is Platt's sigmoid. Written here because scikit-learn's calibrator refuses classes with fewer rows than
folds.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from fusion_automl.classical import SampleWeight
from fusion_automl.encoders import Matrix

Floats = npt.NDArray[np.float64]
NUM_FOLDS = 3


@dataclass(frozen=True, slots=True)
class Calibration:
    """`bias` has one entry per class."""

    slope: float
    bias: tuple[float, ...]

    def probabilities(self, decisions: Floats) -> Floats:
        """`(rows, classes)` -> the same shape."""
        return _softmax(self.slope * decisions + np.asarray(self.bias))


def decision_values(estimator: Any, X: Matrix) -> Floats:
    """`(rows, classes)`, each row with mean 0: a classifier's decision function (naive Bayes: joint log-likelihood)."""
    decide = getattr(estimator, "decision_function", None) or estimator.predict_joint_log_proba
    values = np.asarray(decide(X), dtype=np.float64)
    if values.ndim == 1:
        return np.column_stack([-values, values]) / 2
    return values - values.mean(axis=1, keepdims=True)


def fit_weighted(estimator: Any, X: Matrix, y: npt.NDArray[Any], sample_weight: SampleWeight) -> Any:
    """`estimator`, fitted on rows that count so much; in a pipeline the weights are for its last step."""
    if sample_weight is None:
        return estimator.fit(X, y)
    steps = getattr(estimator, "steps", None)
    return estimator.fit(X, y, **{f"{steps[-1][0]}__sample_weight" if steps else "sample_weight": sample_weight})


def calibrate(
    estimator: Any, X: Matrix, y: npt.NDArray[np.int64], *, seed: int, sample_weight: SampleWeight = None
) -> Calibration:
    """Fits clones of `estimator` on two thirds of the rows and the scaling on the rest, thrice; labels are 0..k-1."""
    from sklearn.base import clone

    num_classes = int(y.max()) + 1
    fold = assign_folds(y, seed=seed)
    decisions = np.zeros((len(y), num_classes))
    for held_out in range(NUM_FOLDS):
        rows = np.flatnonzero(fold == held_out)
        if len(rows):
            learn = fold != held_out
            weights = None if sample_weight is None else sample_weight[learn]
            fitted = fit_weighted(clone(estimator), X[learn], y[learn], weights)
            decisions[rows] = decision_values(fitted, X[rows])
    known = fold >= 0
    weights = np.ones(len(y)) if sample_weight is None else sample_weight
    return _fit(decisions[known], y[known], weights[known], num_classes)


def assign_folds(y: npt.NDArray[np.int64], *, seed: int) -> npt.NDArray[np.int64]:
    """Stratified fold of each row; -1 (never held out) for the only row of a class: every fit must see all classes."""
    shuffled = np.random.default_rng([seed, len(y)]).permutation(len(y))
    by_class = shuffled[np.argsort(y[shuffled], kind="stable")]
    fold = np.empty(len(y), dtype=np.int64)
    fold[by_class] = np.arange(len(y)) % NUM_FOLDS
    fold[np.bincount(y)[y] == 1] = -1
    return fold


def _fit(decisions: Floats, y: npt.NDArray[np.int64], weights: Floats, num_classes: int) -> Calibration:
    from scipy.optimize import minimize

    if len(y) == 0:
        return Calibration(1.0, (0.0,) * num_classes)
    unit = float(decisions.std()) or 1.0
    # Platt's smoothed targets: they keep the slope finite where the classes can be separated.
    targets = (np.eye(num_classes)[y] * len(y) + 1.0) / (len(y) + num_classes)
    share = (weights / weights.sum()).reshape(-1, 1)

    def loss(parameters: Floats) -> tuple[float, Floats]:
        probabilities = _softmax(parameters[0] * decisions / unit + parameters[1:])
        wrong = (probabilities - targets) * share
        gradient = np.concatenate([[(wrong * decisions).sum() / unit], wrong.sum(axis=0)])
        return -float((share * targets * np.log(probabilities + 1e-300)).sum()), gradient

    start = np.concatenate([[1.0], np.zeros(num_classes)])
    # A slope below 0 would say that the decisions are worse than chance; then they say nothing.
    found = minimize(loss, start, jac=True, method="L-BFGS-B", bounds=[(0.0, None)] + [(None, None)] * num_classes).x
    return Calibration(float(found[0]) / unit, tuple(float(value) for value in found[1:]))


def _softmax(values: Floats) -> Floats:
    powers = np.exp(values - values.max(axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True)
