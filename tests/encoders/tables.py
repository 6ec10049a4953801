"""Small conformed datasets written down by hand, and the public ones where they are at hand."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from fusion_automl.data.dataset import Dataset
from fusion_automl.data.schema import Column, Kind, Schema
from fusion_automl.task import Task


def dataset(**columns: tuple[Kind, Sequence[Any]]) -> Dataset:
    """`dataset(colour=("category", ["red", None]))`: a dataset whose targets are all 0."""
    frame = pd.DataFrame({name: _conformed(kind, values) for name, (kind, values) in columns.items()})
    schema = Schema(tuple(Column(name, kind) for name, (kind, _) in columns.items()))
    return Dataset(frame, schema, Task("regression", "target"), np.zeros(len(frame)), fingerprint="by hand")


def _conformed(kind: Kind, values: Sequence[Any]) -> pd.Series:
    if kind in ("numeric", "boolean"):
        return pd.Series(values, dtype=np.float64)
    if kind == "datetime":
        return pd.Series(pd.to_datetime(list(values)).astype("datetime64[ns]"))
    cells = np.empty(len(values), dtype=object)
    for row, value in enumerate(values):
        cells[row] = value
    return pd.Series(cells, dtype=object)


def public_dataset(name: str, part: str) -> pd.DataFrame:
    """A table of the public datasets in `$FUSION_DATA`, or in `../shared/data` beside the repository."""
    root = Path(os.environ.get("FUSION_DATA", Path(__file__).parents[3] / "shared" / "data"))
    path = root / name / f"{part}.parquet"
    if not path.exists():
        pytest.skip(f"the public dataset {name} is not here; set FUSION_DATA to the folder that holds it")
    return pd.read_parquet(path)
