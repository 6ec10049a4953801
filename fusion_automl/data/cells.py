"""From cells as they came to the one representation of a kind that `data/dataset.py` documents.

Each converter reports the cells that hold something which cannot be of the kind; the callers decide whether that is an
error (`conform`), a field of a request to complain about (`row_errors`), or evidence against a kind (`infer`).
"""

from __future__ import annotations

import contextlib
import datetime
import math
from collections.abc import Callable, Sequence
from decimal import Decimal
from functools import lru_cache, singledispatch
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd

from fusion_automl.data.schema import Kind

MISSING_WORDS = frozenset({"", "NA", "N/A", "n/a", "NaN", "nan", "null", "NULL", "<NA>", "#N/A", "?"})
"""What stands for a missing number where numbers are stored as words."""
TRUTH = {"true": 1.0, "yes": 1.0, "y": 1.0, "t": 1.0, "1": 1.0, "1.0": 1.0} | {
    "false": 0.0, "no": 0.0, "n": 0.0, "f": 0.0, "0": 0.0, "0.0": 0.0
}  # fmt: skip
BAD_CELL = (ValueError, TypeError, OverflowError, KeyError)
"""What the functions for one cell raise when the cell cannot be of the kind."""


Column = pd.Series | npt.NDArray[Any]
"""Cells as they came: a column of a frame, or an array of Python objects."""
MANY_ROWS = 500
"""From so many on, pandas finds the different words of a column faster than a loop: 10,000 in 1.2 ms instead of 3.4."""
PLAIN_NUMBERS = {int, float, bool, type(None)}
PLAIN_WORDS = {str, type(None)}


class Converted(NamedTuple):
    """`values` is `(rows,)` in the kind's representation, missing where `bad`; `bad` holds row numbers in order."""

    values: npt.NDArray[Any]
    bad: list[int]


def objects(column: Column) -> npt.NDArray[np.object_]:
    """The cells as a fresh array of Python objects, None where missing, whatever the column's dtype."""
    cells: npt.NDArray[Any] = (
        column.astype(object) if isinstance(column, np.ndarray) else column.to_numpy(dtype=object, copy=True)
    )
    cells[pd.isna(cells)] = None
    return cells


def _each(cells: npt.NDArray[np.object_], convert: Callable[[Any], Any], out: npt.NDArray[Any]) -> Converted:
    """Fills `out` (which starts as all missing) with the converted cells, one by one."""
    bad = []
    for row, cell in enumerate(cells):
        if cell is not None:
            try:
                out[row] = convert(cell)
            except BAD_CELL:
                bad.append(row)
    return Converted(out, bad)


def _missing(rows: int, dtype: type[Any]) -> npt.NDArray[Any]:
    return np.full(rows, np.nan if dtype is float else None, dtype=dtype)


def _number(cell: Any) -> float:
    if isinstance(cell, str):
        cell = cell.strip()
        if cell in MISSING_WORDS:
            return math.nan
        if "_" in cell:  # float("2020_01") is 202001.0
            raise ValueError(cell)
    elif not isinstance(cell, int | float | np.number | np.bool_ | Decimal):
        raise TypeError(cell)
    value = float(cell)
    return value if math.isfinite(value) else math.nan


def numeric(column: Column) -> Converted:
    if pd.api.types.is_bool_dtype(column.dtype) or pd.api.types.is_any_real_numeric_dtype(column.dtype):
        return Converted(_finite(pd.Series(column).to_numpy(dtype=np.float64, na_value=np.nan, copy=True)), [])
    if column.dtype.kind == "m":
        return Converted(pd.Series(column).dt.total_seconds().to_numpy(dtype=np.float64), [])
    cells = objects(column)
    if set(map(type, cells)) <= PLAIN_NUMBERS:
        with contextlib.suppress(OverflowError):  # a whole number that no float can hold: which one, the loop tells
            return Converted(_finite(cells.astype(np.float64)), [])
    return _each(cells, _number, _missing(len(column), float))


def _finite(values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    values[~np.isfinite(values)] = np.nan
    return values


def boolean(column: Column) -> Converted:
    if pd.api.types.is_bool_dtype(column.dtype):
        return numeric(column)

    def truth(cell: Any) -> float:
        word = str(cell).strip()
        return math.nan if word in MISSING_WORDS else TRUTH[word.casefold()]

    return _each(objects(column), truth, _missing(len(column), float))


@singledispatch
def word(cell: Any) -> str | None:
    """One spelling for one category, so that 3, 3.0 and "3" are the same in CSV, Parquet and JSON."""
    raise TypeError(f"{type(cell).__name__} is not a category")


@word.register
def _(cell: str) -> str | None:
    return cell.strip() or None


@word.register
def _(cell: bytes) -> str | None:
    return cell.decode().strip() or None


@word.register(bool)
@word.register(np.bool_)
def _(cell: bool) -> str | None:
    return str(bool(cell))


@word.register(int)
@word.register(np.integer)
@word.register(Decimal)
@word.register(datetime.date)
@word.register(datetime.time)
@word.register(np.datetime64)
def _(cell: Any) -> str | None:
    return str(cell)


@word.register(float)
@word.register(np.floating)
def _(cell: float) -> str | None:
    if not math.isfinite(cell):
        return None
    return str(int(cell)) if cell == int(cell) and abs(cell) < 1e15 else str(cell)


def category(column: Column) -> Converted:
    # Categories repeat, and looking one up costs a tenth of making it.
    if isinstance(column.dtype, pd.StringDtype) and len(column) >= MANY_ROWS:
        places, levels = pd.factorize(column)  # -1, the last of the words, where missing
        return Converted(np.array([*map(word, levels), None], dtype=object)[places], [])
    cells = objects(column)
    if set(map(type, cells)) <= PLAIN_WORDS:
        words = {cell: None if cell is None else word(cell) for cell in set(cells)}
        return Converted(np.array([words[cell] for cell in cells], dtype=object), [])
    convert = lru_cache(maxsize=1 << 14, typed=True)(word)  # typed, because 1 == True
    return _each(cells, convert, _missing(len(column), object))


@singledispatch
def _sentence(cell: Any) -> str | None:
    return word(cell)


@_sentence.register
def _(cell: str) -> str | None:
    return cell if cell and not cell.isspace() else None


@_sentence.register(list)
@_sentence.register(tuple)
@_sentence.register(np.ndarray)
def _(cell: Sequence[Any]) -> str | None:
    """Lists of words, such as tags, read as one text."""
    return _sentence(" ".join(word(item) or "" for item in cell))


def text(column: Column) -> Converted:
    return _each(objects(column), _sentence, _missing(len(column), object))


# Nanoseconds in 64 bits reach from 1677 to 2262; dates outside (9999-12-31 for "never") count as missing.
_FIRST_MOMENT, _LAST_MOMENT = np.datetime64("1678-01-01"), np.datetime64("2262-01-01")


def moments(column: Column) -> Converted:
    """ISO 8601 words, dates and datetimes; moments with a time zone become UTC."""
    if column.dtype.kind == "M" or isinstance(column.dtype, pd.DatetimeTZDtype):
        parsed, bad = pd.DatetimeIndex(pd.to_datetime(column, utc=True)), []
    else:
        cells = objects(column)
        dates = str | datetime.date | np.datetime64
        words = [None if cell is None else str(cell) if isinstance(cell, dates) else "not a date" for cell in cells]
        words = [None if w is not None and w.strip() in MISSING_WORDS else w for w in words]
        parsed = pd.to_datetime(np.array(words, dtype=object), format="ISO8601", errors="coerce", utc=True)
        bad = [row for row in np.flatnonzero(parsed.isna()).tolist() if words[row] is not None]
    values = parsed.tz_localize(None).to_numpy(copy=True)
    values[(values < _FIRST_MOMENT) | (values > _LAST_MOMENT)] = np.datetime64("NaT")
    return Converted(values.astype("datetime64[ns]"), bad)


@singledispatch
def picture(cell: Any) -> bytes | str | None:
    """An image as encoded bytes, or as the path or URI of a file."""
    raise TypeError(f"{type(cell).__name__} is not an image")


@picture.register(bytes)
@picture.register(bytearray)
@picture.register(memoryview)
def _(cell: bytes) -> bytes | str | None:
    return bytes(cell) or None


@picture.register
def _(cell: str) -> bytes | str | None:
    return cell.strip() or None


@picture.register
def _(cell: dict) -> bytes | str | None:  # type: ignore[type-arg]  # singledispatch takes classes, not generics
    """The form in which Hugging Face's datasets keep images."""
    return picture(cell["bytes"] if cell.get("bytes") is not None else cell["path"])


def image(column: Column) -> Converted:
    return _each(objects(column), picture, _missing(len(column), object))


def numbers(cell: Any) -> npt.NDArray[np.float32] | None:
    """A list or array of numbers as a fresh 1-d float32 array, None when it is empty. Raises for anything else."""
    if not isinstance(cell, list | tuple | np.ndarray):
        raise TypeError(f"{type(cell).__name__} is not a list of numbers")
    if isinstance(cell, np.ndarray) and cell.dtype != object:
        plain = cell.dtype.kind in "iufb"
    else:
        plain = not any(isinstance(item, str | bytes) for item in cell)
    if not plain:
        raise TypeError("words in a list of numbers")
    with np.errstate(over="ignore"):
        values = np.array(cell, dtype=np.float32)
    if values.ndim != 1:
        raise ValueError(f"a list of numbers has one dimension, got {values.ndim}")
    values[np.isinf(values)] = np.nan
    return values if len(values) else None


def series(column: Column) -> Converted:
    return _each(objects(column), numbers, _missing(len(column), object))


def _nothing(column: Column) -> Converted:
    return Converted(_missing(len(column), object), [])


CONVERT: dict[Kind, Callable[[Column], Converted]] = {
    "numeric": numeric,
    "category": category,
    "boolean": boolean,
    "datetime": moments,
    "text": text,
    "image": image,
    "series": series,
    "identifier": _nothing,
    "constant": _nothing,
}
EXPECTED: dict[Kind, str] = {
    "numeric": "a number",
    "category": "a word or a number",
    "boolean": "true or false",
    "datetime": "a date such as 2024-05-31 or 2024-05-31T13:30:00",
    "text": "text in UTF-8",
    "image": "the bytes of an image, or the path of an image file",
    "series": "a list of numbers",
}
"""What a cell of the kind should be, for messages."""


def short(value: object, *, limit: int = 40) -> str:
    """A cell's value in a message: quoted, on one line, cut at `limit` characters."""
    if isinstance(value, bytes | bytearray):
        return f"{len(value)} bytes"
    shown = repr(value).replace("\n", " ")
    return shown if len(shown) <= limit else f"{shown[: limit - 3]}..."
