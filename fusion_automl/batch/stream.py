"""The rows of a shard in parts, so that a large one is never in memory whole (Parquet), or only once (other formats)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import pandas as pd
import pyarrow as pa

from fusion_automl.batch.shards import Shard
from fusion_automl.component import unknown
from fusion_automl.data import storage
from fusion_automl.data.conform import check_columns
from fusion_automl.data.folder import with_resolved_paths
from fusion_automl.data.formats import check_names, from_arrow
from fusion_automl.data.read import read_file
from fusion_automl.data.schema import Schema
from fusion_automl.errors import DataError

STEP = 1024
"""Rows that are taken from a Parquet file at once; parts are made of whole steps."""


@dataclass(frozen=True, slots=True)
class Rows:
    """Rows to predict on, and of the same rows the columns to carry over as they lie in the file."""

    frame: pd.DataFrame
    kept: pa.Table


def parts_of(shard: Shard, schema: Schema, *, keep: Sequence[str], num_rows: Callable[[], int]) -> Iterator[Rows]:
    """The shard's rows in order, about `num_rows()` at a time; a shard without rows is one part without rows.

    Raises DataError where the file cannot be read, or lacks a column.
    """
    reader = _from_parquet if shard.source.endswith(".parquet") else _from_whole_file
    return reader(shard, schema, keep, num_rows)


def _from_parquet(shard: Shard, schema: Schema, keep: Sequence[str], num_rows: Callable[[], int]) -> Iterator[Rows]:
    from pyarrow import parquet

    source = shard.source
    with storage.opened(source) as file:
        try:
            table_file = parquet.ParquetFile(file)
            names = table_file.schema_arrow.names
            check_names(names, source)
            _check(names, schema, keep, source)
            wanted = list(dict.fromkeys([*schema.used, *keep]))
            end = table_file.num_row_groups if shard.end_group is None else shard.end_group
            batches = (  # a group at a time, since pyarrow keeps the bytes of all that it is asked for until the end
                batch
                for group in range(shard.first_group, end)
                for batch in table_file.iter_batches(STEP, row_groups=[group], columns=wanted)
            )
            waiting: list[pa.RecordBatch] = []
            empty = True
            for batch in batches:
                waiting.append(batch)
                if sum(map(len, waiting)) >= num_rows():
                    yield _rows(pa.Table.from_batches(waiting), schema, keep, source)
                    waiting, empty = [], False
            if waiting or empty:
                arrow_schema = pa.schema([table_file.schema_arrow.field(name) for name in wanted])
                yield _rows(pa.Table.from_batches(waiting, arrow_schema), schema, keep, source)
        except pa.ArrowInvalid as error:
            raise DataError(f"{source}: not a readable Parquet file: {error}.") from error


def _rows(table: pa.Table, schema: Schema, keep: Sequence[str], source: str) -> Rows:
    frame = from_arrow(table.select(schema.used), source)
    return Rows(with_resolved_paths(frame, source.rpartition("/")[0]), table.select(keep))


def _from_whole_file(shard: Shard, schema: Schema, keep: Sequence[str], num_rows: Callable[[], int]) -> Iterator[Rows]:
    """Whether a column of a text format holds numbers is seen from all of its cells, so these files are read whole."""
    frame = read_file(shard.source)
    frame.columns = pd.Index([str(name) for name in frame.columns], dtype=object)
    _check(list(frame.columns), schema, keep, shard.source)
    kept = pa.Table.from_pandas(frame[list(keep)], preserve_index=False)
    frame = frame[list(schema.used)]
    start = 0
    while start < len(frame) or start == 0:
        end = start + max(1, num_rows())
        yield Rows(frame.iloc[start:end].reset_index(drop=True), kept.slice(start, end - start))
        start = end


def _check(names: list[str], schema: Schema, keep: Sequence[str], source: str) -> None:
    check_columns(pd.DataFrame(columns=names), schema, where=source)
    for name in keep:
        if name not in names:
            raise DataError(f"{source}: --keep: {unknown('column', name, names)}")
