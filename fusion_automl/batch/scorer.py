"""Scoring shard after shard with one artifact in one process, in parts that fit the memory that it may use."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from typing import Any

import pandas as pd
import pyarrow as pa

from fusion_automl.artifact import Artifact
from fusion_automl.batch.shards import Shard, is_broken
from fusion_automl.batch.stream import Rows, parts_of
from fusion_automl.data import storage
from fusion_automl.errors import DataError
from fusion_automl.search.memory import forget_peak, peak_bytes

logger = logging.getLogger(__name__)

PART_BYTES = 512 << 20
"""What the rows that are predicted at one go may take, with everything that is made of them on the way."""
FIRST_ROWS = 1024
"""Rows in the first two parts: the first pays for what libraries load late, the second tells what a row takes."""
LARGEST_PART = 65_536
"""Rows beyond which larger parts are not faster."""
SMALLEST_PART = 64
PAUSES = (1.0, 5.0, 20.0)
"""Seconds to wait before a shard is tried again that failed because storage did not answer."""


class Scorer:
    """Writes the predictions of a shard whole, or not at all."""

    def __init__(self, artifact: Artifact, out: str, keep: Sequence[str], *, part_bytes: int = PART_BYTES) -> None:
        self.artifact, self.out, self.keep, self.part_bytes = artifact, out, list(keep), part_bytes
        self.num_rows = FIRST_ROWS
        self._parts_seen = 0
        self._answer_types = answer_types(artifact)

    def score(self, shard: Shard) -> int:
        """Returns how many rows the shard has. Raises DataError that names the file for what a user can mend."""
        for pause in (*PAUSES, None):
            try:
                return self._score(shard)
            except DataError as error:
                if pause is None or not _may_pass(error):
                    raise
                logger.warning("%s again in %.0f s: %s", shard.output, pause, error)
                time.sleep(pause)
        raise AssertionError("the last try returns or raises")

    def _score(self, shard: Shard) -> int:
        from pyarrow import parquet

        done = 0
        parts = parts_of(shard, self.artifact.manifest.schema, keep=self.keep, num_rows=lambda: self.num_rows)
        with storage.replacing(storage.join(self.out, shard.output)) as file:
            writer = None
            try:
                forget_peak()
                before = peak_bytes()
                for part in parts:
                    table = self._predict(part, shard, done)
                    writer = writer or parquet.ParquetWriter(file, table.schema)
                    writer.write_table(table)
                    self._learn(peak_bytes() - before, len(part.frame))
                    done += len(part.frame)
                    forget_peak()
                    before = peak_bytes()
            finally:
                if writer is not None:
                    writer.close()
        return done

    def _predict(self, part: Rows, shard: Shard, start: int) -> pa.Table:
        where = f"{shard.source}, counted from row {start}" if start else shard.source
        if shard.first_group:
            where = f"{shard.source}, counted from row {start} of {shard.output}"
        try:
            answers = self.artifact.predict_table(part.frame)
        except DataError as error:
            raise DataError(f"{where}: {str(error).removeprefix('DATA: ')}") from error
        answered = pa.Table.from_pandas(answers, schema=self._answer_types, preserve_index=False)
        for name in reversed(self.keep):
            answered = answered.add_column(0, part.kept.schema.field(name), part.kept.column(name))
        return answered

    def _learn(self, grown: int, num_rows: int) -> None:
        """Sets the size of parts once it is known what a row takes."""
        self._parts_seen += 1
        if self._parts_seen == 2:
            self.num_rows = rows_within(self.part_bytes, grown, num_rows)


def rows_within(allowed: int, grown: int, num_rows: int) -> int:
    """How many rows fit into `allowed` bytes when so many took `grown` bytes."""
    return min(LARGEST_PART, max(SMALLEST_PART, int(num_rows * allowed / max(grown, 1))))


def answer_types(artifact: Artifact) -> pa.Schema:
    """The columns of `Artifact.predict_table` with their types, which do not depend on the rows."""
    names = artifact.predict_table(pd.DataFrame(columns=list(artifact.manifest.schema.used))).columns
    classes: Any = artifact.manifest.task.classes
    of_label = pa.array(classes).type if classes else pa.float64()
    return pa.schema([(name, of_label if name == "prediction" else pa.float64()) for name in names])


def _may_pass(error: DataError) -> bool:
    """Whether storage failed in a way that often passes: no answer, an error of the server, a connection that broke."""
    from botocore.exceptions import BotoCoreError, ClientError  # type: ignore[import-untyped]  # no stubs exist

    lasting = FileNotFoundError | PermissionError | FileExistsError | NotADirectoryError | IsADirectoryError
    cause: BaseException | None = error
    while isinstance(cause, DataError):
        cause = cause.__cause__
    if isinstance(cause, lasting) or is_broken(cause):
        return False
    return isinstance(cause, OSError | BotoCoreError | ClientError)
