"""Brings any frame into the shape that models learn from and predict on, or says which cell stands in the way."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy.typing as npt
import pandas as pd

from fusion_automl.component import unknown
from fusion_automl.data import cells
from fusion_automl.data.schema import Column, Schema
from fusion_automl.errors import DataError

Columns = Mapping[str, npt.NDArray[Any]]
Table = pd.DataFrame | Columns
"""Columns by name: a frame, or arrays of Python objects, of which a row needs none of the time that a frame takes to make."""


@dataclass(frozen=True, slots=True)
class CellError:
    """What is wrong with one field of one row; `row` counts from 0."""

    row: int
    column: str
    message: str


def conform(table: Table, schema: Schema, *, where: str) -> pd.DataFrame:
    """The schema's used columns, in order, in the representation of `data/dataset.py`; other columns are left out.

    Raises DataError for missing columns and for the first cell that cannot be of its column's kind.
    """
    return as_frame(conform_columns(table, schema, where=where), num_rows(table))


def conform_columns(table: Table, schema: Schema, *, where: str) -> Columns:
    """What `conform` gives, before it is a frame: making that takes three quarters of the time of a row."""
    check_columns(table, schema, where=where)
    converted = {}
    for column in schema.columns:
        if column.modality:
            found = table[column.name]
            cell_values, bad = cells.CONVERT[column.kind](found)
            if bad and not column.num_unparsed:
                raise DataError(f"{where}: {_complaint(found, column, bad)}")
            converted[column.name] = cell_values
    return converted


def as_frame(columns: Columns, num_rows: int) -> pd.DataFrame:
    index = pd.RangeIndex(num_rows)
    # Without a dtype, pandas would make its own string type of words.
    made = {
        name: pd.Series(cells, index=index, dtype=cells.dtype, copy=False, name=name) for name, cells in columns.items()
    }
    return pd.DataFrame(made, index=index, copy=False)


def num_rows(table: Table) -> int:
    return len(table) if isinstance(table, pd.DataFrame) else max(map(len, table.values()), default=0)


def check_columns(table: Table, schema: Schema, *, where: str) -> None:
    """Raises DataError where `table` lacks a column that the schema uses."""
    found = [str(name) for name in table]
    missing = [name for name in schema.used if name not in found]
    if len(missing) == 1:
        raise DataError(f"{where}: a column is missing: {unknown('column', missing[0], found)}")
    if missing:
        raise DataError(
            f"{where}: {len(missing)} columns are missing: {', '.join(missing[:10])}. Found: "
            f"{', '.join(found[:20])}. Expected the columns of the training data."
        )


def row_errors(table: Table, schema: Schema) -> list[CellError]:
    """Every cell that cannot be of its column's kind, images that do not open included; in row order."""
    from fusion_automl.data.images import image_errors

    check_columns(table, schema, where="rows")
    errors = []
    for column in schema.columns:
        if column.modality and not column.num_unparsed:
            values, bad = cells.CONVERT[column.kind](table[column.name])
            found = cells.objects(table[column.name]) if bad else ()
            errors += [CellError(row, column.name, _message(found[row], column)) for row in bad]
            if column.kind == "image":
                errors += [CellError(row, column.name, message) for row, message in image_errors(values)]
    return sorted(errors, key=lambda error: error.row)


def _message(cell: Any, column: Column) -> str:
    return f"expected {cells.EXPECTED[column.kind]}, found {cells.short(cell)}"


def _complaint(found: cells.Column, column: Column, bad: list[int]) -> str:
    others = f" and {len(bad) - 1} more rows" if len(bad) > 1 else ""
    return (
        f"column '{column.name}', row {bad[0]}{others} (rows count from 0): {_message(cells.objects(found)[bad[0]], column)}. "
        f"Mend or empty the cell, or give the column another kind ([columns] '{column.name}' = \"category\")."
    )
