"""Rows of a table beyond the sample that is in memory, in files that are read one at a time."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from fusion_automl.candidate import digest
from fusion_automl.data.arrow import from_arrow
from fusion_automl.data.schema import Schema
from fusion_automl.target import FittedTarget

SHARDS = "shards"
"""Their folder, in that of the dataset."""


@dataclass(frozen=True, slots=True)
class Shards:
    """Conformed rows in Parquet files, each a random sample of what the dataset in memory does not have; no row is in two.

    `num_rows` has an entry a file; targets are bent by `target` as they are read.
    """

    folder: Path
    num_rows: tuple[int, ...]
    schema: Schema
    target: FittedTarget = field(default_factory=FittedTarget)

    def __len__(self) -> int:
        return len(self.num_rows)

    @property
    def name(self) -> str:
        """Tells shards of a dataset from others of it, as there are more of them where there was more time."""
        return digest(list(self.num_rows), length=16)

    def read(self, number: int, *, limit: int, seed: int) -> tuple[pd.DataFrame, npt.NDArray[Any]]:
        """At the most `limit` rows of a shard, drawn with `seed`, and their targets. Rows are left out whose target cannot be
        bent, as rows in memory never saw its like."""
        import pyarrow.parquet

        table = pyarrow.parquet.read_table(shard_path(self.folder, number), memory_map=True)
        if len(table) > limit:
            rng = np.random.default_rng([seed, 5])
            table = table.take(np.sort(rng.choice(len(table), limit, replace=False)))
        with np.errstate(divide="ignore", invalid="ignore"):
            y = self.target.forward(table.column("y").to_numpy())
        frame, known = from_arrow(table, self.schema, self.schema.used), np.isfinite(y)
        return (frame, y) if known.all() else (frame[known].reset_index(drop=True), y[known])


def shard_path(folder: Path, number: int) -> Path:
    return folder / f"{number:02}.parquet"
