"""Stacking with a linear meta-model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from fusion_automl.store.combiners import Floats
from fusion_automl.store.combiners.scores import meta_features, softmax
from fusion_automl.task import Task


@dataclass(frozen=True, slots=True)
class LinearMeta:
    """A linear model on member log-probabilities (softmax on top) or on member values."""

    coefficients: Floats  # (inputs, outputs)
    intercept: Floats  # (outputs,)
    is_classification: bool

    def combine(self, members: Sequence[Floats]) -> Floats:
        """Members' `(rows, outputs)` -> `(rows, outputs)`."""
        features = meta_features(members, is_classification=self.is_classification)
        scores = features @ self.coefficients + self.intercept
        return softmax(scores) if self.is_classification else scores

    def outputs(self, members: Sequence[Floats]) -> dict[str, Floats]:
        return {"prediction": self.combine(members)}

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


@dataclass(frozen=True, slots=True)
class Stack:
    """A meta-model over the members (Wolpert 1992): multinomial logistic regression or ridge, with strength `C`."""

    C: float = 0.1

    def fit(self, members: Sequence[Floats], y: npt.NDArray[Any], *, task: Task, seed: int) -> LinearMeta:
        features = meta_features(members, is_classification=task.is_classification)
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
