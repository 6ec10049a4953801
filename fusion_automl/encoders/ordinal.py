"""Tables for trees and boosting: numbers as they are, categories as codes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
import numpy.typing as npt
import pandas as pd

from fusion_automl.data.dataset import Dataset
from fusion_automl.data.schema import Modality
from fusion_automl.deadline import Deadline
from fusion_automl.encoders.state import load_state, save_state
from fusion_automl.encoders.tabular import TabularColumns, frequent_levels, level_counts, look_up
from fusion_automl.errors import OutOfTime


@dataclass(frozen=True, slots=True)
class Ordinal:
    """Numbers, booleans and date parts unscaled with nan kept; categories as codes 1, 2, ... in order of frequency.

    Code 0 stands for missing, unseen, rarer than `min_frequency`, and beyond the `max_categories` most frequent (254 by
    default: boosting libraries bin a feature into 255). A category which was cut there also gets a column with each
    level's share of the training rows, so that its rare levels are not all alike.
    """

    modality: ClassVar[Modality] = "tabular"
    requires: ClassVar[tuple[str, ...]] = ()

    min_frequency: int = 2
    max_categories: int = 254

    def fit(self, data: Dataset, *, seed: int, deadline: Deadline, threads: int) -> FittedOrdinal:
        if deadline.passed():
            raise OutOfTime("ordinal: no time left to start.")
        columns = TabularColumns.of(data)
        codes, shares = [], {}
        for name in columns.category:
            counts = level_counts(data.frame[name])
            kept = frequent_levels(counts, min_frequency=self.min_frequency, max_categories=self.max_categories)
            codes.append({level: code for code, level in enumerate(kept, start=1)})
            if len(counts) > self.max_categories:
                shares[name] = {level: count / len(data) for level, count in counts.items()}
        first = len(columns.number_names)
        return FittedOrdinal(
            names=(*columns.number_names, *columns.category, *(f"{name} share" for name in shares)),
            categorical=tuple(range(first, first + len(columns.category))),
            columns=columns,
            codes=codes,
            shares=shares,
        )


@dataclass(slots=True, eq=False)
class FittedOrdinal:
    names: tuple[str, ...]
    categorical: tuple[int, ...]
    columns: TabularColumns
    codes: list[dict[str, int]]
    shares: dict[str, dict[str, float]]

    def transform(self, frame: pd.DataFrame) -> npt.NDArray[np.float32]:
        encoded = np.empty((len(frame), len(self.names)), dtype=np.float32)
        numbers = self.columns.numbers(frame)
        encoded[:, : numbers.shape[1]] = numbers
        lookups: list[tuple[str, Mapping[Any, float]]] = [
            *zip(self.columns.category, self.codes, strict=True),
            *self.shares.items(),
        ]
        for index, (name, table) in enumerate(lookups, start=numbers.shape[1]):
            encoded[:, index] = look_up(frame, name, table, other=0, dtype=np.float32)
        return encoded

    def save(self, folder: Path) -> None:
        values = {
            "names": self.names,
            "categorical": self.categorical,
            "columns": self.columns.to_json(),
            "codes": self.codes,
            "shares": self.shares,
        }
        save_state(folder, values, {})

    @classmethod
    def load(cls, folder: Path) -> Self:
        values, _ = load_state(folder)
        return cls(
            names=tuple(values["names"]),
            categorical=tuple(values["categorical"]),
            columns=TabularColumns.from_json(values["columns"]),
            codes=values["codes"],
            shares=values["shares"],
        )
