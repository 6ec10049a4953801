"""`predict`: one table in this process, or a large dataset over a cluster."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

from fusion_automl.cli import show
from fusion_automl.errors import FusionError, UserError

SECONDS_BETWEEN_LINES = 10.0
MOST_PROBLEMS = 20
"""Shards that failed are told one by one up to here; the last line names them."""


def predict_file(run: str, data: str, *, out: Path) -> None:
    """Writes all predictions into one file."""
    from fusion_automl.artifact import load
    from fusion_automl.cli.tables import write_table

    table = load(run).predict_table(data)
    write_table(table, out)
    show.line(f"{len(table)} predictions in {out}")


def predict_shards(run: str, data: str, *, out: str, address: str, keep: Sequence[str]) -> None:
    """Scores shard by shard, with a line of progress now and then, and ends with a line of counts.

    Raises UserError or, where the fault is not the user's, FusionError with that line when shards failed.
    """
    from fusion_automl.batch.run import score

    scored = score(run, data, out=out, address=address, keep=keep, on_shard=_Progress())
    for problem in list(scored.problems.values())[:MOST_PROBLEMS]:
        show.line(problem)
    if scored.problems:
        raise (FusionError if scored.our_fault else UserError)(str(scored))
    show.line(f"{scored} They are in {out}.")


class _Progress:
    def __init__(self) -> None:
        self.started = self.told = time.monotonic()
        self.num_shards = self.num_rows = 0

    def __call__(self, num_rows: int, num_left: int) -> None:
        self.num_shards += 1
        self.num_rows += num_rows
        now = time.monotonic()
        if now - self.told >= SECONDS_BETWEEN_LINES and num_left:
            self.told = now
            speed = self.num_rows / (now - self.started)
            show.line(f"{self.num_shards:,} shards done, {num_left:,} left, {speed:,.0f} rows a second")
