"""Between a task's classes or values and what a library learns: labels 0..k-1 without gaps, or a scaled target."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from fusion_automl.errors import FitError
from fusion_automl.task import Task

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Outputs:
    """`present` holds the class codes seen in training, ascending, and is empty for regression."""

    num_outputs: int
    present: tuple[int, ...] = ()
    mean: float = 0.0
    scale: float = 1.0

    @property
    def num_present(self) -> int:
        return len(self.present)

    def encode(self, y: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Labels 0..k-1 (int64), or the target with mean 0 and deviation 1 (float64)."""
        if self.present:
            return np.searchsorted(self.present, y).astype(np.int64)
        return (np.asarray(y, dtype=np.float64) - self.mean) / self.scale

    def probabilities(self, present: npt.NDArray[Any]) -> Floats:
        """`(rows, classes present)` of any float type -> `(rows, num_outputs)`, 0 for the others; rows sum to 1."""
        result = np.zeros((len(present), self.num_outputs))
        chosen = np.clip(np.asarray(present, dtype=np.float64), 0.0, 1.0)
        result[:, self.present] = chosen / chosen.sum(axis=1, keepdims=True)
        return result

    def values(self, standardised: npt.NDArray[Any]) -> Floats:
        """`(rows,)` -> `(rows, 1)` in the target's own unit."""
        return (np.asarray(standardised, dtype=np.float64) * self.scale + self.mean).reshape(-1, 1)

    def none(self) -> Floats:
        """The answer to a batch of 0 rows, which most libraries refuse."""
        return np.empty((0, self.num_outputs))

    def to_json(self) -> dict[str, Any]:
        return {field: getattr(self, field) for field in self.__slots__}

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> Self:
        return cls(value["num_outputs"], tuple(value["present"]), value["mean"], value["scale"])


def learn_outputs(task: Task, y: npt.NDArray[Any]) -> Outputs:
    """Reads the classes present, or mean and deviation, from training targets. Raises FitError below two classes."""
    if len(y) == 0:
        raise FitError("there are no training rows")
    if not task.is_classification:
        values = np.asarray(y, dtype=np.float64)
        return Outputs(num_outputs=1, mean=float(values.mean()), scale=float(values.std()) or 1.0)
    present = tuple(int(code) for code in np.unique(y))
    if len(present) < 2:
        raise FitError(f"all {len(y)} training rows are of class {task.classes[present[0]]!r}; at least two are needed")
    return Outputs(task.num_outputs, present)
