"""From a source to the rows that a search learns from, and to rows that a fitted model predicts on."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from fusion_automl.component import unknown
from fusion_automl.data import cells
from fusion_automl.data.conform import conform
from fusion_automl.data.dataset import Dataset
from fusion_automl.data.files import read_dataset, write_dataset
from fusion_automl.data.fingerprint import fingerprint
from fusion_automl.data.infer import infer_schema
from fusion_automl.data.override import read_overrides
from fusion_automl.data.read import read_rows, read_table
from fusion_automl.data.sample import Bound, LeftOut
from fusion_automl.data.schema import Schema
from fusion_automl.data.target import encode_target, infer_task, missing_targets, target_column
from fusion_automl.errors import DataError
from fusion_automl.task import Task

__all__ = ["Prepared", "prepare", "prepare_rows", "read_dataset", "source_name", "write_dataset"]


EVERYTHING = Bound()


@dataclass(frozen=True, slots=True)
class Prepared:
    """A dataset ready to split; `notes` are sentences about what was decided on the way, for people. `left_out` says where
    the rows are that a sample of files does not have."""

    dataset: Dataset
    notes: tuple[str, ...]
    left_out: LeftOut | None = None


def prepare(
    source: Any,
    *,
    target: str,
    ignore: Collection[str] = (),
    group: str | None = None,
    time: str | None = None,
    overrides: str | Path | Mapping[str, Any] | None = None,
    task_kind: str | None = None,
    bound: Bound = EVERYTHING,
) -> Prepared:
    """Reads, checks, infers, conforms and encodes a training table. Raises DataError for what a user can mend.

    `overrides` is a TOML file or mapping as in `data/override.py`; `task_kind` goes before the task named there. Of a table
    larger than `bound` a random sample is read.
    """
    chosen = read_overrides(overrides)
    kind = task_kind or chosen.task_kind
    frame, num_rows, left_out = read_rows(source, bound, target=None if kind == "regression" else target)
    notes = [] if len(frame) == num_rows else [_sampled(len(frame), num_rows, bound)]
    where = source_name(source)
    column = target_column(frame, target, where=where)
    for what, names in (
        ("--ignore", ignore),
        ("--group", [group] if group else []),
        ("--time", [time] if time else []),
    ):
        for name in names:
            if name not in frame.columns:
                raise DataError(f"{what}: {unknown('column', name, list(frame.columns))}")
            if name == target:
                raise DataError(f"{what}: '{name}' is the target; choose another column.")
    task = infer_task(column, target, kind=kind)
    missing = missing_targets(column)
    if missing.any():
        notes.append(f"{missing.sum()} of {len(frame)} rows have no value in the target '{target}' and are left out.")
        frame = frame[~missing].reset_index(drop=True)
    y = encode_target(frame[target], task, where=where)
    aside = {target, *ignore, *(name for name in (group, time) if name)}
    schema = infer_schema(frame, exclude=aside, overrides=_for_features(chosen.columns, frame, aside))
    if not schema.used:
        raise DataError(f"{where}: no column to learn from is left. {_why_unused(schema)}")
    notes += _notes(schema)
    conformed = conform(frame, schema, where=where)
    return Prepared(
        Dataset(
            frame=conformed,
            schema=schema,
            task=task,
            y=y,
            fingerprint=fingerprint(conformed, schema, y),
            groups=None if group is None else _groups(frame[group], group),
            times=None if time is None else _times(frame[time], time),
        ),
        tuple(notes),
        left_out,
    )


def prepare_rows(
    source: Any, schema: Schema, task: Task, *, where: str, with_target: bool = True
) -> tuple[pd.DataFrame, npt.NDArray[Any] | None]:
    """Conformed rows to predict on, zero rows included, and their targets.

    The targets are None where the target's column is not there or `with_target` is false. Raises DataError for cells
    that do not fit the schema, and for targets that are missing or of a class that training did not have.
    """
    frame = read_table(source, where=where, allow_empty=True)
    y = None
    if with_target and task.target in frame.columns:
        y = encode_target(frame[task.target], task, where=where)
    return conform(frame, schema, where=where), y


def source_name(source: Any) -> str:
    """What to call a source in a message: its path, or DATA for what is in memory."""
    return str(source) if isinstance(source, str | Path) else "DATA"


def _sampled(num_kept: int, num_rows: int, bound: Bound) -> str:
    what = f"A random sample of {num_kept:,} of the {num_rows:,} rows is used"
    if bound.max_rows is not None:
        return f"{what}, as --max-rows asks; a larger number uses more of them."
    return (
        f"{what}, because all would fill more than the {bound.max_bytes / 1e6:,.0f} MB that a table may take of the free "
        "memory; a machine with more memory, or a number given by --max-rows, uses more of them."
    )


def _for_features(columns: Mapping[str, str], frame: pd.DataFrame, aside: set[str]) -> dict[str, str]:
    """Overrides of the target's kind and the like do nothing, as a printed schema may name any column."""
    return {name: kind for name, kind in columns.items() if name not in aside or name not in frame.columns}


def _why_unused(schema: Schema) -> str:
    if not schema.columns:
        return "There is none besides the target and the columns set aside by --ignore, --group and --time."
    found = ", ".join(f"'{column.name}' is {column.kind}" for column in schema.columns[:10])
    return f"Found: {found}. Give one another kind ([columns] in a TOML file) or add columns."


def _notes(schema: Schema) -> list[str]:
    notes = []
    for kind in ("identifier", "constant"):
        names = schema.names(kind)
        if names:
            notes.append(f"Not used, because {kind}: {', '.join(names[:20])}{' ...' if len(names) > 20 else ''}.")
    for column in schema.columns:
        if column.num_unparsed:
            notes.append(
                f"Column '{column.name}': {column.num_unparsed} cells are not {cells.EXPECTED[column.kind]}; "
                f"such cells count as missing, now and when predicting."
            )
    return notes


def _groups(column: pd.Series[Any], name: str) -> npt.NDArray[np.int64]:
    words = cells.category(column).values
    lost = [row for row, word in enumerate(words) if word is None]
    if lost:
        raise DataError(
            f"--group: column '{name}' names no group in row {lost[0]} (rows count from 0; {len(lost)} such rows). "
            f"Fill it, or leave these rows out."
        )
    return pd.factorize(words)[0].astype(np.int64)


def _times(column: pd.Series[Any], name: str) -> npt.NDArray[Any]:
    """int64 nanoseconds where the column holds dates, else float64."""
    of_dates = pd.api.types.is_datetime64_any_dtype(column.dtype) or cells.numeric(column).bad
    values = (cells.moments(column) if of_dates else cells.numeric(column)).values
    lost = np.flatnonzero(pd.isna(values))
    if len(lost):
        raise DataError(
            f"--time: column '{name}' must hold a number or an ISO date in each row; row {lost[0]} (from 0) "
            f"holds {cells.short(column.iloc[lost[0]])}."
        )
    return values.astype(np.int64) if values.dtype.kind == "M" else values
