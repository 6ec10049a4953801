"""The guess from the target alone: class shares, or the median."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
import numpy.typing as npt

from fusion_automl.classical import SampleWeight
from fusion_automl.deadline import Deadline
from fusion_automl.encoders import Matrix
from fusion_automl.task import Task


@dataclass(frozen=True, slots=True)
class FittedPrior:
    guess: npt.NDArray[np.float64]  # (outputs,)

    def predict(self, X: Matrix) -> npt.NDArray[np.float64]:
        return np.tile(self.guess, (X.shape[0], 1))

    def save(self, folder: Path) -> None:
        np.savez(folder / "prior.npz", guess=self.guess)

    @classmethod
    def load(cls, folder: Path) -> FittedPrior:
        with np.load(folder / "prior.npz", allow_pickle=False) as arrays:
            return cls(arrays["guess"])


@dataclass(frozen=True, slots=True)
class Prior:
    """Predicts the training shares of the classes, or the training median, whatever the features say."""

    prefers: ClassVar[Literal["codes", "dense"]] = "codes"
    requires: ClassVar[tuple[str, ...]] = ()
    tasks: ClassVar[tuple[str, ...]] = ("binary", "multiclass", "regression")
    max_rows: ClassVar[int] = 10**12

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
    ) -> FittedPrior:
        if not task.is_classification:
            middle = np.median(y) if sample_weight is None else _weighted_median(y, sample_weight)
            return FittedPrior(np.array([middle], dtype=np.float64))
        counts = np.bincount(y, sample_weight, minlength=task.num_outputs)
        return FittedPrior(counts / counts.sum())


def _weighted_median(y: npt.NDArray[Any], weights: npt.NDArray[np.float64]) -> Any:
    return np.quantile(y, 0.5, weights=weights, method="inverted_cdf")
