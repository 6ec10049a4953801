"""The cells of a table as a sentence for a pretrained net, which knows what numbers and names mean; nothing is learned."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pandas as pd

from fusion_automl.data.schema import Schema

TableColumns = tuple[tuple[str, str], ...]
"""Names of columns and their kinds."""

_WRITE: dict[str, Callable[[Any], str]] = {
    "numeric": lambda number: f"{number:.4g}",
    "boolean": lambda flag: "yes" if flag else "no",
    "datetime": lambda moment: f"{moment:%Y-%m-%d}",
    "category": str,
}


def table_columns(schema: Schema) -> TableColumns:
    """The columns that can be written, in table order."""
    return tuple((column.name, column.kind) for column in schema.columns if column.kind in _WRITE)


def table_sentences(frame: pd.DataFrame, columns: TableColumns) -> list[str]:
    """`size 12.5, colour red, used yes`: for each row the cells that are not missing."""
    rows: list[list[str]] = [[] for _ in range(len(frame))]
    for name, kind in columns:
        cells = frame[name]
        for row, cell, missing in zip(rows, cells, cells.isna(), strict=True):
            if not missing:
                row.append(f"{name} {_WRITE[kind](cell)}")
    return [", ".join(row) for row in rows]
