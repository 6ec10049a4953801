"""Rows as JSON values and back: images as base64, series as lists, moments as ISO text, missing cells as null."""

from __future__ import annotations

import base64
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from fusion_automl.data.schema import Kind, Schema


def _number(cell: Any) -> Any:
    return None if cell is None or not np.isfinite(cell) else float(cell)


def _image(cell: Any) -> Any:
    content = cell if isinstance(cell, bytes) or cell is None else Path(cell).read_bytes()
    return None if content is None else base64.b64encode(content).decode()


def _series(cell: Any) -> Any:
    return None if cell is None else [None if np.isnan(value) else float(value) for value in cell]


def _moment(cell: Any) -> Any:
    return None if pd.isna(cell) else pd.Timestamp(cell).isoformat()


_PLAIN: dict[Kind, Callable[[Any], Any]] = {
    "numeric": _number,
    "boolean": lambda cell: None if _number(cell) is None else bool(cell),
    "image": _image,
    "series": _series,
    "datetime": _moment,
}


def to_plain(frame: pd.DataFrame, schema: Schema) -> list[dict[str, Any]]:
    """A conformed frame as rows of JSON values; an image given as a path is read."""
    plain = [(column.name, _PLAIN.get(column.kind, lambda cell: cell)) for column in schema.columns if column.modality]
    columns = {name: [convert(cell) for cell in frame[name]] for name, convert in plain}
    return [{name: cells[row] for name, cells in columns.items()} for row in range(len(frame))]


def from_plain(rows: Sequence[dict[str, Any]], schema: Schema) -> dict[str, npt.NDArray[np.object_]]:
    """Rows of JSON values as columns for `conform`; each row names every column that the schema uses, and an image may be
    bytes already.

    Raises ValueError, with `row: column: reason`, for an image that is not base64.
    """
    columns = {name: [row[name] for row in rows] for name in schema.used}
    for name in schema.names("image"):
        columns[name] = [_bytes(cell, row, name) for row, cell in enumerate(columns[name])]
    return {name: np.fromiter(cells, object, len(rows)) for name, cells in columns.items()}


def _bytes(cell: Any, row: int, column: str) -> bytes | None:
    if cell is None or isinstance(cell, bytes):
        return cell
    try:
        return base64.b64decode(cell, validate=True)
    except (ValueError, TypeError):
        raise ValueError(f"{row}: {column}: expected an encoded image as base64 text") from None
