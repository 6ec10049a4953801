"""Brings any frame into the shape that models learn from and predict on, or says which cell stands in the way."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pandas as pd

from fusion_automl.component import unknown
from fusion_automl.data import cells
from fusion_automl.data.schema import Column, Schema
from fusion_automl.errors import DataError


@dataclass(frozen=True, slots=True)
class CellError:
    """What is wrong with one field of one row; `row` counts from 0."""

    row: int
    column: str
    message: str


def conform(frame: pd.DataFrame, schema: Schema, *, where: str) -> pd.DataFrame:
    """The schema's used columns, in order, in the representation of `data/dataset.py`; other columns are left out.

    Raises DataError for missing columns and for the first cell that cannot be of its column's kind.
    """
    check_columns(frame, schema, where=where)
    converted = {}
    index = pd.RangeIndex(len(frame))
    for column in schema.columns:
        if column.modality:
            cell_values, bad = cells.CONVERT[column.kind](frame[column.name])
            if bad and not column.num_unparsed:
                raise DataError(f"{where}: {_complaint(frame[column.name], column, bad)}")
            # Without a dtype, pandas would make its own string type of words.
            converted[column.name] = pd.Series(cell_values, index=index, dtype=cell_values.dtype, copy=False)
    return pd.DataFrame(converted, index=index, copy=False)


def check_columns(frame: pd.DataFrame, schema: Schema, *, where: str) -> None:
    """Raises DataError where `frame` lacks a column that the schema uses."""
    missing = [name for name in schema.used if name not in frame.columns]
    if len(missing) == 1:
        raise DataError(f"{where}: a column is missing: {unknown('column', missing[0], list(frame.columns))}")
    if missing:
        raise DataError(
            f"{where}: {len(missing)} columns are missing: {', '.join(missing[:10])}. Found: "
            f"{', '.join(list(frame.columns)[:20])}. Expected the columns of the training data."
        )


def row_errors(frame: pd.DataFrame, schema: Schema) -> list[CellError]:
    """Every cell that cannot be of its column's kind, images that do not open included; in row order."""
    from fusion_automl.data.images import image_errors

    check_columns(frame, schema, where="rows")
    errors = []
    for column in schema.columns:
        if column.modality and not column.num_unparsed:
            values, bad = cells.CONVERT[column.kind](frame[column.name])
            errors += [CellError(row, column.name, _message(frame[column.name].iloc[row], column)) for row in bad]
            if column.kind == "image":
                errors += [CellError(row, column.name, message) for row, message in image_errors(values)]
    return sorted(errors, key=lambda error: error.row)


def _message(cell: Any, column: Column) -> str:
    return f"expected {cells.EXPECTED[column.kind]}, found {cells.short(cell)}"


def _complaint(values: pd.Series[Any], column: Column, bad: list[int]) -> str:
    others = f" and {len(bad) - 1} more rows" if len(bad) > 1 else ""
    return (
        f"column '{column.name}', row {bad[0]}{others} (rows count from 0): {_message(values.iloc[bad[0]], column)}. "
        f"Mend or empty the cell, or give the column another kind ([columns] '{column.name}' = \"category\")."
    )
