"""Series columns as the channels of one array that a net learns from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import pandas as pd

from fusion_automl.encoders.series_cells import without_gaps

MAX_LENGTH = 512


@dataclass(frozen=True, slots=True)
class SeriesReader:
    """Reads `(rows, columns, length)` float32: gaps interpolated, stretched to one length, and scaled with the means and
    deviations of the training rows; zeros where a series is missing."""

    columns: tuple[str, ...]
    length: int
    means: tuple[float, ...]
    stds: tuple[float, ...]

    @classmethod
    def fit(cls, frame: pd.DataFrame, columns: tuple[str, ...]) -> Self:
        """The length is that of the longest training series, 512 at most."""
        cells = {name: [steps for cell in frame[name] if (steps := without_gaps(cell)) is not None] for name in columns}
        longest = max((len(steps) for column in cells.values() for steps in column), default=1)
        joined = [np.concatenate([*column, np.zeros(0 if column else 1)]) for column in cells.values()]
        return cls(
            columns,
            min(longest, MAX_LENGTH),
            tuple(float(steps.mean()) for steps in joined),
            tuple(float(steps.std()) or 1.0 for steps in joined),
        )

    def read(self, frame: pd.DataFrame) -> tuple[npt.NDArray[np.float32]]:
        values = np.zeros((len(frame), len(self.columns), self.length), dtype=np.float32)
        for column, (name, mean, std) in enumerate(zip(self.columns, self.means, self.stds, strict=True)):
            for row, cell in enumerate(frame[name]):
                steps = without_gaps(cell)
                if steps is not None:
                    values[row, column] = (_stretch(steps, self.length) - mean) / std
        return (values,)

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Self:
        return cls(tuple(value["columns"]), value["length"], tuple(value["means"]), tuple(value["stds"]))


def _stretch(steps: npt.NDArray[np.float64], length: int) -> npt.NDArray[np.float64]:
    """The series at `length` evenly spaced moments, by linear interpolation."""
    if len(steps) == length:
        return steps
    return np.interp(np.linspace(0, len(steps) - 1, length), np.arange(len(steps)), steps)
