"""The guess from the target alone: class shares, or the median."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
import numpy.typing as npt

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
    ) -> FittedPrior:
        if not task.is_classification:
            return FittedPrior(np.array([np.median(y)], dtype=np.float64))
        return FittedPrior(np.bincount(y, minlength=task.num_outputs) / len(y))
