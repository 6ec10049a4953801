"""Tables as the numbers and codes that a net learns from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import pandas as pd

from fusion_automl.data.dataset import Dataset
from fusion_automl.encoders.tabular import TabularColumns, frequent_levels, level_counts, look_up

NUM_KNOTS = 256
MAX_CATEGORIES = 100


@dataclass(frozen=True, slots=True)
class QuantileScale:
    """Maps numbers to normal quantiles of their training ranks, ties to the middle of theirs; missing to the median, 0."""

    knots: tuple[float, ...]
    levels: tuple[float, ...]

    @classmethod
    def fit(cls, values: npt.NDArray[np.float64]) -> Self:
        from scipy.special import ndtri

        distinct, counts = np.unique(values[~np.isnan(values)], return_counts=True)
        middle_ranks = (np.cumsum(counts) - 0.5 * counts) / max(1, counts.sum())
        picked = np.unique(np.linspace(0, len(distinct) - 1, min(NUM_KNOTS, len(distinct))).round().astype(int))
        return cls(tuple(distinct[picked].tolist()), tuple(ndtri(middle_ranks[picked]).tolist()))

    @property
    def varies(self) -> bool:
        return len(self.knots) > 1

    def __call__(self, values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        return np.where(np.isnan(values), 0.0, np.interp(values, self.knots, self.levels))


@dataclass(frozen=True, slots=True)
class TableReader:
    """Reads `(rows, numbers)` float32, quantile-scaled, and `(rows, codes)` int64.

    Numbers that do not vary in training are left out. `gaps` are the numbers that some training row lacks: each gets a
    code, 1 where missing. Codes of categories are 0 for missing, rare and unseen ones.
    """

    columns: TabularColumns
    scales: dict[int, QuantileScale]
    gaps: tuple[int, ...]
    categories: tuple[dict[str | None, int], ...]

    @classmethod
    def fit(cls, data: Dataset) -> Self:
        columns = TabularColumns.of(data)
        numbers = columns.numbers(data.frame)
        scales = {index: QuantileScale.fit(numbers[:, index]) for index in range(numbers.shape[1])}
        missing = np.isnan(numbers)
        categories: list[dict[str | None, int]] = []
        for name in columns.category:
            counts = level_counts(data.frame[name])
            kept = frequent_levels(counts, min_frequency=2, max_categories=MAX_CATEGORIES)
            categories.append({level: code for code, level in enumerate(kept, start=1)})
        return cls(
            columns,
            {index: scale for index, scale in scales.items() if scale.varies},
            tuple(np.flatnonzero(missing.any(axis=0) & ~missing.all(axis=0)).tolist()),
            tuple(categories),
        )

    @property
    def cardinalities(self) -> list[int]:
        """How many values each code has."""
        return [len(codes) + 1 for codes in self.categories] + [2] * len(self.gaps)

    def read(self, frame: pd.DataFrame) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.int64]]:
        numbers = self.columns.numbers(frame)
        scaled = np.empty((len(frame), len(self.scales)), dtype=np.float32)
        for place, (index, scale) in enumerate(self.scales.items()):
            scaled[:, place] = scale(numbers[:, index])
        codes = np.empty((len(frame), len(self.cardinalities)), dtype=np.int64)
        for place, (name, known) in enumerate(zip(self.columns.category, self.categories, strict=True)):
            codes[:, place] = look_up(frame, name, known, other=0, dtype=np.int64)
        codes[:, len(self.categories) :] = np.isnan(numbers[:, list(self.gaps)])
        return scaled, codes

    def to_json(self) -> dict[str, Any]:
        return {
            "columns": self.columns.to_json(),
            "scales": [[index, scale.knots, scale.levels] for index, scale in self.scales.items()],
            "gaps": self.gaps,
            "categories": [list(codes) for codes in self.categories],
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Self:
        return cls(
            TabularColumns.from_json(value["columns"]),
            {index: QuantileScale(tuple(knots), tuple(levels)) for index, knots, levels in value["scales"]},
            tuple(value["gaps"]),
            tuple({level: code for code, level in enumerate(levels, start=1)} for levels in value["categories"]),
        )
