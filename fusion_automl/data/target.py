"""What the target column asks for, and the target as numbers.

Two distinct values are binary. Words and booleans are classes. Whole numbers are classes when there are at most 20 of
them and each occurs at least twice (a rating from 1 to 5 is five classes), otherwise quantities; numbers with fractions
are quantities. `kind` overrules.
"""

from __future__ import annotations

import math
from collections.abc import Collection
from typing import Any, get_args

import numpy as np
import numpy.typing as npt
import pandas as pd

from fusion_automl.component import unknown
from fusion_automl.data import cells
from fusion_automl.errors import DataError
from fusion_automl.task import Label, Task, TaskKind

MAX_INTEGER_CLASSES = 20


def target_column(frame: pd.DataFrame, target: str, *, where: str) -> pd.Series[Any]:
    """The target's column. Raises DataError where there is none of that name."""
    if target not in frame.columns:
        raise DataError(f"{where}: {unknown('target column', target, list(frame.columns))}")
    return frame[target]


def missing_targets(column: pd.Series[Any]) -> npt.NDArray[np.bool_]:
    """`(rows,)`, true where there is nothing to learn from: no value, or a blank word."""
    missing = column.isna().to_numpy(dtype=bool)
    if pd.api.types.is_string_dtype(column.dtype):
        missing = missing | np.array([isinstance(cell, str) and not cell.strip() for cell in column], dtype=bool)
    return missing


def infer_task(column: pd.Series[Any], target: str, *, kind: str | None = None) -> Task:
    """The task that the column asks for, `kind` first. Raises DataError where nothing can be learned from it."""
    if kind is not None and kind not in get_args(TaskKind):
        raise DataError(f"target '{target}': {unknown('task', kind, list(get_args(TaskKind)))}")
    present = column[~missing_targets(column)]
    if not len(present):
        raise DataError(
            f"target '{target}': all {len(column)} values are missing. Choose another column with --target."
        )
    labels, counts = _labels(present, target)
    if len(labels) == 1:
        raise DataError(
            f"target '{target}': every row has the same value {labels[0]!r}; there is nothing to predict. "
            f"Expected at least two different values."
        )
    if kind == "regression" or (kind is None and _is_quantity(present, labels, counts)):
        encode_target(present, Task("regression", target), where="DATA")
        return Task("regression", target)
    if kind == "binary" and len(labels) > 2:
        raise DataError(f"target '{target}': expected 2 classes for a binary task, found {len(labels)}.")
    _check_classes(labels, counts, target)
    return Task("binary" if len(labels) == 2 else "multiclass", target, tuple(labels))


def _labels(present: pd.Series[Any], target: str) -> tuple[list[Label], list[int]]:
    """The distinct labels in order, each of one Python type, and how often each occurs."""
    dtype = present.dtype
    if pd.api.types.is_datetime64_any_dtype(dtype):
        raise DataError(
            f"target '{target}': dates cannot be predicted. Turn them into numbers (days since a day) first."
        )
    if pd.api.types.is_bool_dtype(dtype) or pd.api.types.is_any_real_numeric_dtype(dtype):
        distinct, counts = np.unique(present.to_numpy(), return_counts=True)
        return [_plain(value) for value in distinct], counts.tolist()
    words = _words(present, f"target '{target}'")
    if len(present) and all(isinstance(cell, bool | np.bool_) for cell in present):
        values, counts = np.unique(present.to_numpy(dtype=bool), return_counts=True)
        return [bool(value) for value in values], counts.tolist()
    distinct, counts = np.unique(words, return_counts=True)
    return [str(value) for value in distinct], counts.tolist()


def _plain(value: Any) -> Label:
    """A NumPy scalar as a bool, an int (whole floats too: a missing cell made them float), or a float."""
    if isinstance(value, bool | np.bool_):
        return bool(value)
    number = float(value)
    return int(value) if number.is_integer() else number


def _words(column: pd.Series[Any], where: str) -> npt.NDArray[Any]:
    words, bad = cells.category(column)
    if bad:
        found = cells.short(column.iloc[bad[0]])
        raise DataError(f"{where}: expected a class or a number in each row, found {found} in row {bad[0]} (from 0).")
    return words


def _is_quantity(present: pd.Series[Any], labels: list[Label], counts: list[int]) -> bool:
    if any(isinstance(label, float) and not math.isfinite(label) for label in labels):
        return True
    if len(labels) == 2:
        return False
    if isinstance(labels[0], str):
        if len(labels) <= MAX_INTEGER_CLASSES:
            return False
        values, bad = cells.numeric(present)
        return not bad and not np.isnan(values).all()
    return not (
        all(isinstance(label, int) for label in labels) and len(labels) <= MAX_INTEGER_CLASSES and min(counts) >= 2
    )


def _check_classes(labels: list[Label], counts: list[int], target: str) -> None:
    lone = [label for label, count in zip(labels, counts, strict=True) if count < 2]
    if len(lone) > len(labels) // 2 and len(labels) > 2:
        raise DataError(
            f"target '{target}': {len(lone)} of its {len(labels)} classes have a single row, as in a column of "
            f"identifiers or text. Expected classes that repeat, or numbers."
        )
    if lone:
        raise DataError(
            f"target '{target}': a class needs at least 2 rows (one to learn from, one to check on); only 1 row for "
            f"{_some(lone)}. Drop these rows, merge the classes, or add rows."
        )


def _some(labels: Collection[Label], *, limit: int = 5) -> str:
    shown = ", ".join(repr(label) for label in list(labels)[:limit])
    return f"{shown} and {len(labels) - limit} more" if len(labels) > limit else shown


def encode_target(column: pd.Series[Any], task: Task, *, where: str) -> npt.NDArray[Any]:
    """Class codes (int64) or values (float64), `(rows,)`; 1, 1.0 and "1" are the same class.

    Raises DataError for a missing or infinite target and for a class that the task does not have.
    """
    missing = np.flatnonzero(missing_targets(column))
    if len(missing):
        raise DataError(
            f"{where}: target '{task.target}' is missing in row {missing[0]} (rows count from 0; {len(missing)} "
            f"such rows). Fill it or leave these rows out."
        )
    if not task.is_classification:
        return _values(column, task, where)
    codes = {cells.word(label): code for code, label in enumerate(task.classes)}
    words = _words(column, f"{where}: target '{task.target}'")
    unseen = sorted({str(word) for word in words if word not in codes})
    if unseen:
        raise DataError(
            f"{where}: target '{task.target}' holds {_some(unseen)}, which training did not have. "
            f"Known classes: {_some(task.classes, limit=20)}. Leave these rows out or train again with them."
        )
    return np.array([codes[word] for word in words], dtype=np.int64)


def learnable_targets(column: pd.Series[Any], task: Task) -> npt.NDArray[np.bool_]:
    """`(rows,)`, true where `encode_target` has nothing to complain about."""
    if not task.is_classification:
        return ~np.isnan(cells.numeric(column).values)
    known = {cells.word(label) for label in task.classes}
    return ~missing_targets(column) & np.array([word in known for word in cells.category(column).values], dtype=bool)


def _values(column: pd.Series[Any], task: Task, where: str) -> npt.NDArray[np.float64]:
    values = cells.numeric(column).values
    wrong = np.flatnonzero(np.isnan(values))  # a missing target was refused before: these are words and infinities
    if len(wrong):
        found = cells.short(column.iloc[wrong[0]])
        raise DataError(
            f"{where}: target '{task.target}': expected a finite number, found {found} in row {wrong[0]} (rows count "
            f"from 0). Mend the cell or leave the row out."
        )
    return values
