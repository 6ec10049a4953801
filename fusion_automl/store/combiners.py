"""The table of combiners: the predictions of several members -> one prediction.

A combiner learns on rows which none of its members learned from.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from fusion_automl.task import Task

Floats = npt.NDArray[np.float64]
COMBINERS: dict[str, str] = {
    "average": "fusion_automl.store.combiners:Average",
    "weighted": "fusion_automl.store.combiners:Weighted",
    "stack": "fusion_automl.store.combiners:Stack",
}
_SMALLEST = 1e-6  # probabilities are kept this far from 0 before a logarithm


@dataclass(frozen=True, slots=True)
class WeightedMean:
    """A convex combination of member predictions."""

    weights: Floats  # (members,), >= 0, sum 1

    def combine(self, members: Sequence[Floats]) -> Floats:
        """Members' `(rows, outputs)` -> `(rows, outputs)`."""
        return np.asarray(sum(weight * member for weight, member in zip(self.weights, members, strict=True)))

    def save(self, folder: Path) -> None:
        np.savez(folder / "weights.npz", weights=self.weights)

    @classmethod
    def load(cls, folder: Path) -> WeightedMean:
        with np.load(folder / "weights.npz", allow_pickle=False) as arrays:
            return cls(arrays["weights"])


@dataclass(frozen=True, slots=True)
class LinearMeta:
    """A linear model on member log-probabilities (softmax on top) or on member values."""

    coefficients: Floats  # (inputs, outputs)
    intercept: Floats  # (outputs,)
    is_classification: bool

    def combine(self, members: Sequence[Floats]) -> Floats:
        scores = _meta_features(members, self.is_classification) @ self.coefficients + self.intercept
        if not self.is_classification:
            return scores
        exponents = np.exp(scores - scores.max(axis=1, keepdims=True))
        return np.asarray(exponents / exponents.sum(axis=1, keepdims=True))

    def save(self, folder: Path) -> None:
        np.savez(
            folder / "meta.npz",
            coefficients=self.coefficients,
            intercept=self.intercept,
            is_classification=self.is_classification,
        )

    @classmethod
    def load(cls, folder: Path) -> LinearMeta:
        with np.load(folder / "meta.npz", allow_pickle=False) as arrays:
            return cls(arrays["coefficients"], arrays["intercept"], bool(arrays["is_classification"]))


def _meta_features(members: Sequence[Floats], is_classification: bool) -> Floats:
    """Members side by side; probabilities as logarithms centred over the classes, so that a weight of 1 repeats a member."""
    if not is_classification:
        return np.hstack(members)
    logs = [np.log(np.clip(member, _SMALLEST, 1.0)) for member in members]
    return np.hstack([log - log.mean(axis=1, keepdims=True) for log in logs])


@dataclass(frozen=True, slots=True)
class Average:
    """The plain mean of `members` predictions; nothing to learn."""

    members: int = 2

    def fit(self, members: Sequence[Floats], y: npt.NDArray[Any], *, task: Task) -> WeightedMean:
        return WeightedMean(np.full(self.members, 1 / self.members))


@dataclass(frozen=True, slots=True)
class Weighted:
    """The convex combination with the least log loss (classes) or squared error (values) on the rows given.

    Minimised over the simplex through a softmax, from equal weights, with a pull of `shrinkage` towards them.
    """

    shrinkage: float = 0.01

    def fit(self, members: Sequence[Floats], y: npt.NDArray[Any], *, task: Task) -> WeightedMean:
        from scipy.optimize import minimize
        from scipy.special import softmax

        if task.is_classification:
            truth = np.stack([member[np.arange(len(y)), y] for member in members])  # (members, rows)
        else:
            scale = float(np.std(y)) or 1.0
            truth = np.stack([(member[:, 0] - y) / scale for member in members])

        def loss(logits: Floats) -> float:
            mixed = softmax(logits) @ truth
            fit = -np.log(np.clip(mixed, _SMALLEST, 1)).mean() if task.is_classification else (mixed**2).mean()
            return float(fit + self.shrinkage * (logits**2).mean())

        return WeightedMean(softmax(minimize(loss, np.zeros(len(members)), method="L-BFGS-B").x))


@dataclass(frozen=True, slots=True)
class Stack:
    """A meta-model over the members (Wolpert 1992): multinomial logistic regression or ridge, with strength `C`."""

    C: float = 0.1

    def fit(self, members: Sequence[Floats], y: npt.NDArray[Any], *, task: Task) -> LinearMeta:
        features = _meta_features(members, task.is_classification)
        if not task.is_classification:
            return self._fit_values(features, y, len(members))
        from sklearn.linear_model import LogisticRegression

        model = LogisticRegression(C=self.C, max_iter=500).fit(features, y)
        coefficients, intercept = model.coef_.T, model.intercept_
        if len(model.classes_) == 2:
            coefficients, intercept = np.hstack([-coefficients, coefficients]) / 2, np.r_[-intercept, intercept] / 2
        # A class that is not among these rows keeps a score which softmax turns into nearly nothing.
        full = np.zeros((features.shape[1], task.num_outputs))
        offset = np.full(task.num_outputs, -30.0)
        full[:, model.classes_.astype(np.int64)], offset[model.classes_.astype(np.int64)] = coefficients, intercept
        return LinearMeta(full, offset, True)

    def _fit_values(self, features: Floats, y: npt.NDArray[Any], num_members: int) -> LinearMeta:
        """Ridge pulled towards the plain mean: it learns what the mean leaves over, so few rows do little harm."""
        from sklearn.linear_model import Ridge

        rest = y - features.mean(axis=1)
        spread = float(features.std()) or 1.0
        model = Ridge(alpha=1 / self.C).fit(features / spread, rest)
        coefficients = (model.coef_ / spread + 1 / num_members).reshape(-1, 1)
        return LinearMeta(coefficients, np.array([float(model.intercept_)]), False)
