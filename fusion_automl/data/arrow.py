"""Conformed columns as Arrow arrays, and back."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa

from fusion_automl.data.schema import Kind, Schema

Objects = npt.NDArray[Any]


def to_arrow(frame: pd.DataFrame, schema: Schema, beside: Mapping[str, Objects]) -> pa.Table:
    """A conformed frame, and arrays `beside` it that have an entry a row."""
    kinds = {column.name: column.kind for column in schema.columns}
    features = [_TO_ARROW[kinds[name]](frame[name].to_numpy()) for name in frame.columns]
    # Positions, not names, are the names in the file: a feature may be called y.
    names = [f"{position}" for position in range(len(features))] + list(beside)
    return pa.Table.from_arrays([*features, *map(pa.array, beside.values())], names=names)


def from_arrow(table: pa.Table, schema: Schema, columns: Sequence[str]) -> pd.DataFrame:
    """These columns of a table that `to_arrow` made."""
    kinds = {column.name: column.kind for column in schema.columns}
    positions = {name: f"{position}" for position, name in enumerate(schema.used)}
    cells = {name: _FROM_ARROW[kinds[name]](table.column(positions[name]).combine_chunks()) for name in columns}
    return pd.DataFrame({name: pd.Series(values, dtype=values.dtype, copy=False) for name, values in cells.items()})


def _plain_to_arrow(values: Objects) -> pa.Array:
    return pa.array(values, from_pandas=False)


def _plain_from_arrow(array: pa.Array) -> Objects:
    return array.to_numpy(zero_copy_only=False).copy()


def _words_to_arrow(values: Objects) -> pa.Array:
    return pa.array(values, type=pa.large_string())


def _images_to_arrow(values: Objects) -> pa.Array:
    """A path and the bytes of a file are told apart by a flag: both are bytes in the file."""
    is_path = np.array([isinstance(cell, str) for cell in values], dtype=bool)
    contents = [cell.encode() if isinstance(cell, str) else cell for cell in values]
    return pa.StructArray.from_arrays(
        [pa.array(contents, pa.large_binary()), pa.array(is_path)], ["content", "is_path"]
    )


def _images_from_arrow(array: pa.StructArray) -> Objects:
    contents = array.field("content").to_numpy(zero_copy_only=False)
    for row in np.flatnonzero(array.field("is_path").to_numpy(zero_copy_only=False)):
        contents[row] = contents[row].decode()
    return contents


def _series_to_arrow(values: Objects) -> pa.Array:
    missing = np.array([cell is None for cell in values], dtype=bool)
    lengths = np.array([0 if cell is None else len(cell) for cell in values], dtype=np.int64)
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    flat = np.concatenate([np.empty(0, np.float32), *(cell for cell in values if cell is not None)])
    return pa.LargeListArray.from_arrays(pa.array(offsets), pa.array(flat), mask=pa.array(missing))


def _series_from_arrow(array: pa.LargeListArray) -> Objects:
    flat = array.values.to_numpy().copy()  # one copy for all: views of a memory map cannot be written to
    offsets = array.offsets.to_numpy()
    values = np.full(len(array), None, dtype=object)
    for row in np.flatnonzero(array.is_valid().to_numpy(zero_copy_only=False)):
        values[row] = flat[offsets[row] : offsets[row + 1]]
    return values


_TO_ARROW: dict[Kind, Callable[[Objects], pa.Array]] = {
    "numeric": _plain_to_arrow,
    "boolean": _plain_to_arrow,
    "datetime": _plain_to_arrow,
    "category": _words_to_arrow,
    "text": _words_to_arrow,
    "image": _images_to_arrow,
    "series": _series_to_arrow,
}
_FROM_ARROW: dict[Kind, Callable[[Any], Objects]] = {
    "numeric": _plain_from_arrow,
    "boolean": _plain_from_arrow,
    "datetime": _plain_from_arrow,
    "category": _plain_from_arrow,
    "text": _plain_from_arrow,
    "image": _images_from_arrow,
    "series": _series_from_arrow,
}
