"""The cells of a table as words, so that a text net reads them like the texts beside them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import pandas as pd

from fusion_automl.data.dataset import Dataset
from fusion_automl.encoders.tabular import TabularColumns

NUM_BINS = 10


@dataclass(frozen=True, slots=True)
class TableWords:
    """One word a cell: `colour=red`, `size=3` for a number in the fourth tenth of the training rows, `size=missing`.

    Numbers are cut into tenths so that words repeat. No word of a text holds a "=" between letters, so the two do not mix.
    """

    columns: TabularColumns
    edges: tuple[tuple[float, ...], ...]  # one entry a number column, ascending

    @classmethod
    def fit(cls, data: Dataset) -> Self:
        """Learns the tenths from training rows."""
        columns = TabularColumns.of(data)
        numbers = columns.numbers(data.frame)
        inner = np.arange(1, NUM_BINS) / NUM_BINS
        present = [column[~np.isnan(column)] for column in numbers.T]
        return cls(columns, tuple(tuple(np.unique(np.quantile(c, inner)).tolist()) if len(c) else () for c in present))

    def __len__(self) -> int:
        return len(self.edges) + len(self.columns.category)

    def read(self, frame: pd.DataFrame) -> list[tuple[str, ...]]:
        """The words of each row, in table order of numbers, then categories."""
        words = []
        numbers = self.columns.numbers(frame).T
        for name, values, edges in zip(self.columns.number_names, numbers, self.edges, strict=True):
            tenths = np.searchsorted(edges, values, side="left").tolist()
            gaps = np.isnan(values).tolist()
            words.append([f"{name}={'missing' if gap else tenth}" for tenth, gap in zip(tenths, gaps, strict=True)])
        for name in self.columns.category:
            words.append([f"{name}={'missing' if cell is None else cell}" for cell in frame[name]])
        return list(zip(*words, strict=True)) if words else [()] * len(frame)

    def to_json(self) -> dict[str, Any]:
        return {"columns": self.columns.to_json(), "edges": self.edges}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Self:
        return cls(TabularColumns.from_json(value["columns"]), tuple(map(tuple, value["edges"])))
