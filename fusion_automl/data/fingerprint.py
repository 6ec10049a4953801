"""A name for the content of a dataset, equal in every process, different after any change of a cell."""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from fusion_automl.candidate import digest
from fusion_automl.data.schema import Schema


def fingerprint(frame: pd.DataFrame, schema: Schema, y: npt.NDArray[Any]) -> str:
    """The first 16 hex digits of the SHA-256 of a conformed frame, its schema and its targets."""
    state = hashlib.sha256(digest(schema.to_json()).encode())
    state.update(f"{y.dtype.str}{len(y)}".encode() + np.ascontiguousarray(y).tobytes())
    for name in frame.columns:
        state.update(_column(frame[name]))
    return state.hexdigest()[:16]


def _column(column: pd.Series[Any]) -> bytes:
    if column.dtype != object:
        return column.to_numpy().tobytes()
    state = hashlib.sha256()
    for cell in column:
        # The type and length go first: b"ab" + b"c" is not b"a" + b"bc", and a path is not the bytes of its letters.
        if isinstance(cell, str):
            content = cell.encode("utf-8", "surrogatepass")
        else:
            content = b"" if cell is None else bytes(cell)
        state.update(f"{type(cell).__name__}{len(content)}:".encode() + content)
    return state.digest()
