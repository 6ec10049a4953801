"""From whatever holds a table (a file, a folder, an object store, memory) to a pandas frame."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import pyarrow as pa

from fusion_automl.data import storage
from fusion_automl.data.cells import BAD_CELL, picture
from fusion_automl.data.folder import read_folder, with_resolved_paths
from fusion_automl.data.formats import FORMATS, Format, check_names, from_arrow
from fusion_automl.data.sample import Bound, LeftOut, Sample, sample_frame
from fusion_automl.errors import DataError


class Rows(NamedTuple):
    """The rows that were kept of a table, how many it has, and where the others are; those of a table in memory are gone."""

    frame: pd.DataFrame
    num_rows: int
    left_out: LeftOut | None


def read_table(source: Any, *, where: str = "DATA", allow_empty: bool = False) -> pd.DataFrame:
    """The table in `source` with a `RangeIndex` and column names that are words and differ.

    `source` is a path or URI (CSV, TSV, Parquet, JSON lines, Arrow IPC; local, s3://), a folder of images or of Parquet
    parts, or a pandas, polars or Arrow table, a 2-d array, a dict of columns or a list of dicts. `where` names what is
    in memory in messages; files are named by their path. Raises DataError; for zero rows unless `allow_empty`.
    """
    return read_rows(source, Bound(), where=where, allow_empty=allow_empty).frame


def read_rows(
    source: Any, bound: Bound, *, target: str | None = None, where: str = "DATA", allow_empty: bool = False
) -> Rows:
    """As `read_table`, but a random sample of rows, in their order, where all of them are more than `bound` allows.

    The files are read once, and never is more than the bound in memory (with a batch, or a row group of a Parquet file, and
    a JSON array whole). Of each class of `target` some rows are kept; `data/sample.py` says how many.
    """
    files = _Files(bound, target)
    if isinstance(source, str | Path):
        where = str(source)
        frame = _from_path(where, files)
    else:
        frame = _from_memory(source, where)
    num_rows = max(files.num_rows, len(frame))
    frame = _with_plain_names(frame.reset_index(drop=True))
    check_names(frame.columns.tolist(), where)
    if not len(frame.columns) and not (allow_empty and not len(frame)):
        raise DataError(f"{where}: the table is empty: it has no columns.")
    if not len(frame) and not allow_empty:
        raise DataError(f"{where}: the table has columns ({', '.join(frame.columns[:10])}) but no rows.")
    return Rows(_with_plain_images(sample_frame(frame, bound, target)), num_rows, files.left_out)


def _from_path(path: str, files: _Files) -> pd.DataFrame:
    suffix = PurePosixPath(path.rstrip("/")).suffix.lower()
    if suffix in FORMATS and (storage.is_remote(path) or not Path(path).is_dir()):
        return files.read([path])[0]
    if storage.is_folder(path):
        return read_folder(path, files.read)
    if not storage.exists(path):
        raise storage.not_found(path)
    raise DataError(f"{path}: unknown kind of file '{suffix}'. Expected one of {', '.join(FORMATS)}, or a folder.")


def read_file(path: str) -> pd.DataFrame:
    """One table file, by its suffix, with relative paths of images resolved against its folder."""
    return _Files(Bound(), None).read([path])[0]


def frame_of(rows: pa.Table, path: str) -> pd.DataFrame:
    """Some rows of a table in a file, as they came by, as `read_rows` gives them."""
    return _with_plain_images(_with_plain_names(_frame(rows, path)))


def _frame(rows: pa.Table, path: str) -> pd.DataFrame:
    return with_resolved_paths(format_of(path).frame(rows, path), path.rpartition("/")[0] or ".")


def format_of(path: str) -> Format:
    return FORMATS[PurePosixPath(path).suffix.lower()]


class _Files:
    """Reads the files of one table, all of the same format, within a bound; `num_rows` is how many they have together."""

    def __init__(self, bound: Bound, target: str | None) -> None:
        self.bound = bound
        self.target = target
        self.num_rows = 0
        self.left_out: LeftOut | None = None

    def read(self, paths: Sequence[str]) -> list[pd.DataFrame]:
        """A frame of the rows kept of each file, with relative paths of images resolved against its folder."""
        form, target = format_of(paths[0]), self.target
        sample = Sample(self.bound, None if target is None else lambda rows: form.labels(rows, target))
        for part, path in enumerate(paths):
            with storage.opened(path) as file:
                for rows in form.stream(file, path):
                    sample.add(part, rows)
        sample.close()
        self.num_rows, self.left_out = sample.num_seen, sample.left_out(paths)
        return [_frame(sample.take(part), path) for part, path in enumerate(paths)]


def _from_memory(source: Any, where: str) -> pd.DataFrame:
    if isinstance(source, pd.DataFrame):
        return source
    if isinstance(source, pa.Table | pa.RecordBatch):
        return from_arrow(pa.table(source), where)
    if type(source).__module__.partition(".")[0] == "polars":  # known without importing polars
        collected = source.collect() if hasattr(source, "collect") else source
        return from_arrow(collected.to_arrow(), where)
    if isinstance(source, np.ndarray) and source.ndim == 2:
        return pd.DataFrame(source, columns=[f"x{i}" for i in range(source.shape[1])])
    try:
        if isinstance(source, Mapping):
            return pd.DataFrame(
                {n: list(v) if isinstance(v, np.ndarray) and v.ndim > 1 else v for n, v in source.items()}
            )
        if isinstance(source, list) and all(isinstance(row, Mapping) for row in source):
            return pd.DataFrame(source)
    except ValueError as error:
        raise DataError(f"{where}: not a table: {error}.") from error
    raise DataError(
        f"{where}: cannot read a table from {type(source).__name__}. Expected a path, a pandas, polars or Arrow table, "
        f"a 2-d array, a dict of columns, or a list of dicts."
    )


def _with_plain_names(frame: pd.DataFrame) -> pd.DataFrame:
    frame.columns = pd.Index([str(name) for name in frame.columns], dtype=object)
    return frame


def _with_plain_images(frame: pd.DataFrame) -> pd.DataFrame:
    """Turns the {bytes, path} structs in which Hugging Face's datasets keep images into bytes or paths."""
    replaced = {}
    for name in frame.columns[[pd.api.types.is_object_dtype(dtype) for dtype in frame.dtypes]]:
        present = frame[name].dropna()
        if len(present) and isinstance(present.iloc[0], dict) and {"bytes", "path"} >= set(present.iloc[0]):
            try:
                plain = [picture(cell) if isinstance(cell, dict) else cell for cell in frame[name]]
            except BAD_CELL:
                continue  # not images after all; inference will say what the column is
            replaced[name] = pd.Series(plain, dtype=object)
    return frame.assign(**replaced) if replaced else frame
