"""The rows that a search learns from: conformed feature columns, targets, and a fingerprint of both.

A conformed frame has the schema's used columns in order, a `RangeIndex`, and one representation for each kind:

    numeric, boolean   float64, nan where missing
    category, text     object of str, None where missing
    datetime           datetime64[ns], NaT where missing
    image              object of bytes (an encoded image) or str (a path or URI), None where missing
    series             object of 1-d float32 arrays, of any length, nan inside allowed, None where missing
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from fusion_automl.data.schema import Schema
from fusion_automl.data.shards import Shards
from fusion_automl.target import FittedTarget
from fusion_automl.task import Task


@dataclass(frozen=True, slots=True)
class Dataset:
    """Conformed rows with their targets; `groups` and `times` steer the split and are never features.

    Where the rows are a sample of a table, `beyond` holds others of it, for what learns from some rows after the other.
    """

    frame: pd.DataFrame
    schema: Schema
    task: Task
    y: npt.NDArray[Any]
    fingerprint: str
    groups: npt.NDArray[Any] | None = None
    times: npt.NDArray[Any] | None = None
    beyond: Shards | None = None

    def __len__(self) -> int:
        return len(self.frame)

    def take(self, rows: npt.NDArray[np.int64]) -> Dataset:
        """These rows in this order."""
        return replace(
            self,
            frame=self.frame.iloc[rows].reset_index(drop=True),
            y=self.y[rows],
            groups=None if self.groups is None else self.groups[rows],
            times=None if self.times is None else self.times[rows],
        )

    def with_targets(self, y: npt.NDArray[Any]) -> Dataset:
        return replace(self, y=y)

    def bent(self, target: FittedTarget) -> Dataset:
        """With targets as a model learns them."""
        return replace(self, y=target.forward(self.y), beyond=self.beyond and replace(self.beyond, target=target))
