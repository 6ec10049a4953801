"""Convex combinations: the plain mean, and the one that fits the holdout rows best."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from fusion_automl.store.combiners import Floats
from fusion_automl.store.combiners.scores import SMALLEST
from fusion_automl.task import Task


@dataclass(frozen=True, slots=True)
class WeightedMean:
    """A convex combination of member predictions."""

    weights: Floats  # (members,), >= 0, sum 1

    def combine(self, members: Sequence[Floats]) -> Floats:
        """Members' `(rows, outputs)` -> `(rows, outputs)`."""
        return np.asarray(sum(weight * member for weight, member in zip(self.weights, members, strict=True)))

    def outputs(self, members: Sequence[Floats]) -> dict[str, Floats]:
        return {"prediction": self.combine(members)}

    def save(self, folder: Path) -> None:
        np.savez(folder / "weights.npz", weights=self.weights)

    @classmethod
    def load(cls, folder: Path) -> WeightedMean:
        with np.load(folder / "weights.npz", allow_pickle=False) as arrays:
            return cls(arrays["weights"])


@dataclass(frozen=True, slots=True)
class Average:
    """The plain mean of `members` predictions; nothing to learn."""

    members: int = 2

    def fit(self, members: Sequence[Floats], y: npt.NDArray[Any], *, task: Task, seed: int) -> WeightedMean:
        return WeightedMean(np.full(self.members, 1 / self.members))


@dataclass(frozen=True, slots=True)
class Weighted:
    """The convex combination with the least log loss (classes) or squared error (values) on the rows given.

    Minimised over the simplex through a softmax, from equal weights, with a pull of `shrinkage` towards them.
    """

    shrinkage: float = 0.01

    def fit(self, members: Sequence[Floats], y: npt.NDArray[Any], *, task: Task, seed: int) -> WeightedMean:
        from scipy.optimize import minimize
        from scipy.special import softmax

        if task.is_classification:
            truth = np.stack([member[np.arange(len(y)), y] for member in members])  # (members, rows)
        else:
            scale = float(np.std(y)) or 1.0
            truth = np.stack([(member[:, 0] - y) / scale for member in members])

        def loss(logits: Floats) -> float:
            mixed = softmax(logits) @ truth
            fit = -np.log(np.clip(mixed, SMALLEST, 1)).mean() if task.is_classification else (mixed**2).mean()
            return float(fit + self.shrinkage * (logits**2).mean())

        return WeightedMean(softmax(minimize(loss, np.zeros(len(members)), method="L-BFGS-B").x))
