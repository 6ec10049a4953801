"""A second pass over files of which a sample is in memory: it writes other rows of theirs as shards, in flat memory."""

from __future__ import annotations

import logging
import shutil
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa

from fusion_automl.data import storage
from fusion_automl.data.arrow import to_arrow
from fusion_automl.data.conform import conform
from fusion_automl.data.dataset import Dataset
from fusion_automl.data.read import format_of, frame_of
from fusion_automl.data.sample import LeftOut
from fusion_automl.data.schema import Schema
from fusion_automl.data.shards import Shards, shard_path
from fusion_automl.data.target import encode_target, learnable_targets

logger = logging.getLogger(__name__)

MAX_SHARDS = 16
"""A net seldom has more epochs, and each learns from one shard."""
SHARD_SHARE = 0.7
"""Rows of a shard for each one of the sample: an epoch takes as many as a fold learns from, and these are 0.57 of the sample in
three folds and 0.69 in one or five."""
WAITING_BYTES = 4 << 20
"""So much waits for each shard until it is conformed and written as a row group."""
LOOK = 0.05
"""Share of the rows after which the pass looks at the clock."""


def with_shards(
    dataset: Dataset, left_out: LeftOut, folder: Path, *, seconds: float, max_bytes: float
) -> tuple[Dataset, str]:
    """The sample `dataset` with rows beyond it as `write_shards` puts them by, where that may be; and a note on it."""
    if dataset.groups is not None or dataset.times is not None:
        note = "Nets learn from the sample alone, too: other rows may be of groups or times that it is judged by."
        return dataset, note
    shards = write_shards(left_out, dataset, folder, seconds=seconds, max_bytes=max_bytes)
    if shards is None:
        return dataset, (
            f"Nets learn from the sample alone, too: the other rows are few, or {seconds:.0f} s and {max_bytes / 1e6:,.0f} MB "
            "do not suffice to put them by. A larger budget gives more time to it."
        )
    return replace(dataset, beyond=shards), (
        f"Nets learn from {sum(shards.num_rows):,} of the other rows as well, in each epoch after the first from the next of "
        f"{len(shards)} shards; all else, and every score, goes by the sample."
    )


def write_shards(
    left_out: LeftOut, dataset: Dataset, folder: Path, *, seconds: float, max_bytes: float
) -> Shards | None:
    """Shards of the rows that the sample `dataset` left out, in the new folder `folder`, with an empty `DONE`.

    There are as many as the rows give and fit into `max_bytes`; when it shows that the pass would take more than `seconds`,
    half of them are given up. Those that stay are whole, so it does not matter how the table is sorted. None where none stay:
    few rows were left out, there is no time or room, or the files have changed since the sample was drawn.
    """
    shutil.rmtree(folder, ignore_errors=True)
    num_parts = round(len(left_out) / (SHARD_SHARE * len(left_out.kept)))
    num_shards = min(MAX_SHARDS, num_parts, int(max_bytes / (SHARD_SHARE * left_out.num_bytes)))
    if num_shards < 1:
        return None
    folder.mkdir(parents=True)
    shards = [_Shard(shard_path(folder, number), dataset) for number in range(num_shards)]
    rng, pace, num_seen = left_out.bound.draws(), _Pace(left_out.num_rows, seconds), 0
    for path, rows in _streamed(left_out.paths):
        parts = left_out.dealt(rng.random(len(rows)), num_parts)
        for number, shard in enumerate(shards):
            shard.add(rows.filter(pa.array(parts == number)), path)
        num_seen += len(rows)
        if pace.too_slow(num_seen):
            for shard in shards[len(shards) // 2 :]:
                shard.give_up()
            del shards[len(shards) // 2 :]
            logger.info("%s shards=%d rows=%d too slow", folder, len(shards), num_seen)
        if not shards:
            return None
    num_rows = tuple(shard.close() for shard in shards)
    if num_seen != left_out.num_rows or not all(num_rows):
        shutil.rmtree(folder)
        return None
    (folder / "DONE").touch()
    return Shards(folder, num_rows, dataset.schema)


def _streamed(paths: Sequence[str]) -> Iterator[tuple[str, pa.Table]]:
    for path in paths:
        with storage.opened(path) as file:
            for rows in format_of(path).stream(file, path):
                yield path, rows


class _Pace:
    """Foretells, now and then, whether all rows will have gone by in time, from how fast the last ones did."""

    def __init__(self, num_rows: int, seconds: float) -> None:
        self._num_rows = num_rows
        self._looked_at, self._looked = 0, time.monotonic()
        self._ends = self._looked + seconds

    def too_slow(self, num_seen: int) -> bool:
        since = num_seen - self._looked_at
        if since < LOOK * self._num_rows or num_seen >= self._num_rows:
            return False
        now = time.monotonic()
        arrives = now + (self._num_rows - num_seen) * (now - self._looked) / since
        self._looked_at, self._looked = num_seen, now
        return arrives > self._ends


class _Shard:
    """A shard on its way to its file."""

    def __init__(self, path: Path, dataset: Dataset) -> None:
        self._path = path
        self._task = dataset.task
        # One cell in a million rows that is not of its column's kind should not end the run: it counts as missing.
        self._schema = Schema(tuple(replace(column, num_unparsed=1) for column in dataset.schema.columns))
        self._waiting: list[pa.Table] = []
        self._waiting_bytes = 0
        self._last_path = ""
        self._writer: Any = None
        self._num_rows = 0

    def add(self, rows: pa.Table, path: str) -> None:
        if self._waiting and rows.schema != self._waiting[0].schema:  # of another file
            self._write()
        if len(rows):
            self._waiting.append(rows)
            self._waiting_bytes += rows.nbytes
            self._last_path = path
        if self._waiting_bytes > WAITING_BYTES:
            self._write()

    def _write(self) -> None:
        import pyarrow.parquet

        frame = frame_of(pa.concat_tables(self._waiting), self._last_path)
        self._waiting, self._waiting_bytes = [], 0
        target = self._task.target
        frame = frame[learnable_targets(frame[target], self._task)].reset_index(drop=True)
        y = encode_target(frame[target], self._task, where=self._last_path)
        table = to_arrow(conform(frame, self._schema, where=self._last_path), self._schema, {"y": y})
        self._writer = self._writer or pyarrow.parquet.ParquetWriter(self._path, table.schema)
        self._writer.write_table(table)
        self._num_rows += len(table)

    def close(self) -> int:
        """The number of rows."""
        if self._waiting:
            self._write()
        if self._writer:
            self._writer.close()
        return self._num_rows

    def give_up(self) -> None:
        self._waiting = []
        self.close()
        self._path.unlink(missing_ok=True)
