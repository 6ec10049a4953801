"""A random sample of rows that are seen once, one after the other, so that a table may be larger than memory.

Each row draws a number when it goes by, and the rows with the smallest numbers stay. The sample is uniform, needs neither a
second pass nor the number of rows beforehand, and does not depend on how the rows come in batches.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from fusion_automl.data.target import MAX_INTEGER_CLASSES

ROWS_OF_A_CLASS = 10
"""A class that is rarer than this in the sample keeps so many rows, or all it has: none may vanish, and none can be learned
from a single row."""
MAX_CLASSES = 1000
"""With more distinct labels the target is taken for a quantity or a text, of which nothing need be kept."""
SLACK = 1.25
"""Rows are let go when the bound is exceeded by this factor, since each time costs a look at all that are kept."""

Codes = npt.NDArray[np.int64]
Draws = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]
Labels = Callable[[pa.Table], pa.ChunkedArray | None]
"""The target of some rows as words; None where they have no such column, or it holds what are no labels."""


@dataclass(frozen=True, slots=True)
class Bound:
    """How much of a table is kept: `max_rows` rows, and no more than fill `max_bytes`; `seed` decides which."""

    max_rows: int | None = None
    max_bytes: float = math.inf
    seed: int = 0

    def draws(self) -> np.random.Generator:
        """Where the rows' numbers come from; the splits of the same seed draw others."""
        return np.random.default_rng([self.seed, 3])


@dataclass(frozen=True, slots=True)
class LeftOut:
    """The rows of files that their sample does not have: those that drew `lowest` or more, and none of the numbers `kept`.

    `paths` are the files in the order in which their rows drew. With the sample's they are `num_rows`; the sample's fill
    `num_bytes`.
    """

    paths: tuple[str, ...]
    bound: Bound
    num_rows: int
    num_bytes: int
    lowest: float
    kept: Draws

    def __len__(self) -> int:
        return self.num_rows - len(self.kept)

    def dealt(self, draws: Draws, num_parts: int) -> Codes:
        """`(rows,)`: in which of as many random parts, alike in size, each row is; -1 for rows of the sample."""
        places = np.searchsorted(self.kept, draws).clip(max=len(self.kept) - 1)
        parts = ((draws - self.lowest) * (num_parts / (1 - self.lowest))).astype(np.int64).clip(max=num_parts - 1)
        return np.where((draws < self.lowest) | (self.kept[places] == draws), -1, parts)


class _Piece(NamedTuple):
    part: int
    draws: Draws
    rows: pa.Table


class Sample:
    """Rows that go by, a batch at a time, of which a sample within a bound is kept; all of them while they fit.

    It never holds more than the bound by `SLACK`, and the batch on its way.
    """

    def __init__(self, bound: Bound, labels: Labels | None) -> None:
        self.num_seen = 0
        self._bound = bound
        self._labels = labels
        self._rng = bound.draws()
        self._max_rows = math.inf if bound.max_rows is None else bound.max_rows
        self._max_bytes = bound.max_bytes
        self._pieces: list[_Piece] = []
        self._num_rows = 0
        self._num_bytes = 0
        self._highest = 1.0  # rows that drew more are not among the kept ones, but for small classes
        self._large: pa.Array | None = None  # labels of which enough rows drew less than that
        self._lowest_let_go = 1.0

    def add(self, part: int, rows: pa.Table) -> None:
        """Looks at rows of part `part` (of a table in several files), in the order in which they lie there."""
        draws = self._rng.random(len(rows))
        self.num_seen += len(rows)
        if self._highest < 1:
            wanted = (draws < self._highest) | self._of_small_classes(rows)
            self._lowest_let_go = draws[~wanted].min(initial=self._lowest_let_go)
            draws, rows = draws[wanted], rows.filter(pa.array(wanted))
        self._hold(_Piece(part, draws, rows))
        if self._num_rows > SLACK * self._max_rows or self._num_bytes > SLACK * self._max_bytes:
            self._let_go()

    def close(self) -> None:
        """Brings what is kept within the bound exactly; no rows can be added any more."""
        num_rows = self._num_rows_allowed()
        if num_rows < self._num_rows:
            self._keep(chosen(self._draws(), self._codes()[0], num_rows))

    def left_out(self, paths: Sequence[str]) -> LeftOut | None:
        """The other rows of the files that the parts are, once the sample is closed; None where it has all."""
        if self._num_rows == self.num_seen:
            return None
        kept, lowest = np.sort(self._draws()), float(self._lowest_let_go)
        return LeftOut(tuple(paths), self._bound, self.num_seen, self._num_bytes, lowest, kept)

    def take(self, part: int) -> pa.Table:
        """The rows kept of a part, in their order; they are let go here, so that a frame of them need not lie beside them."""
        found = [piece.rows for piece in self._pieces if piece.part == part]
        self._pieces = [piece for piece in self._pieces if piece.part != part]
        return pa.concat_tables(found)

    def _hold(self, piece: _Piece) -> None:
        self._pieces.append(piece)
        self._num_rows += len(piece.rows)
        self._num_bytes += piece.rows.nbytes

    def _draws(self) -> Draws:
        return np.concatenate([piece.draws for piece in self._pieces])

    def _num_rows_allowed(self) -> int:
        if self._num_bytes > self._max_bytes:
            self._max_rows = min(self._max_rows, max(1, int(self._num_rows * self._max_bytes / self._num_bytes)))
        return int(min(self._max_rows, self._num_rows))

    def _let_go(self) -> None:
        num_rows, draws, (codes, labels) = self._num_rows_allowed(), self._draws(), self._codes()
        self._highest = float(np.partition(draws, num_rows - 1)[num_rows - 1])
        keep = draws <= self._highest
        if codes is not None:
            large = np.bincount(codes[keep], minlength=len(labels)) >= ROWS_OF_A_CLASS
            self._large = pa.array(labels[large], pa.string(), from_pandas=True)
            keep |= _places(draws, codes) < ROWS_OF_A_CLASS
        self._keep(keep)

    def _keep(self, keep: Mask) -> None:
        self._lowest_let_go = self._draws()[~keep].min(initial=self._lowest_let_go)
        pieces, self._pieces, self._num_rows, self._num_bytes = self._pieces[::-1], [], 0, 0
        while pieces:  # one by one, so that what is copied and what was there are never whole side by side
            part, draws, rows = pieces.pop()
            here, keep = keep[: len(draws)], keep[len(draws) :]
            self._hold(_Piece(part, draws[here], rows.filter(pa.array(here))))

    def _of_small_classes(self, rows: pa.Table) -> Mask | bool:
        labels = self._labels(rows) if self._labels else None
        if labels is None:
            return False
        found: Mask = ~pc.is_in(labels, value_set=self._large).to_numpy()
        return found

    def _codes(self) -> tuple[Codes | None, pd.Index[Any]]:
        """Which label each kept row has; None, now and from now on, where the target names no classes."""
        columns = [self._labels(piece.rows) if self._labels else None for piece in self._pieces]
        words = [chunk for column in columns if column is not None for chunk in column.chunks]
        codes, labels = factorize(pa.chunked_array(words, pa.string()).to_pandas())
        if None in columns or not _are_classes(labels):
            self._labels = None
            return None, labels
        return codes, labels


def factorize(words: pd.Series[Any]) -> tuple[Codes, pd.Index[Any]]:
    """Words as numbers; a missing one is a label too."""
    codes, labels = pd.factorize(words, use_na_sentinel=False)
    return codes.astype(np.int64), pd.Index(labels)


def _are_classes(labels: pd.Index[Any]) -> bool:
    if len(labels) <= MAX_INTEGER_CLASSES:
        return True
    return len(labels) <= MAX_CLASSES and bool(pd.to_numeric(pd.Series(labels), errors="coerce").isna().mean() > 0.5)


def chosen(draws: Draws, codes: Codes | None, num_rows: int) -> Mask:
    """`(rows,)`: true for the `num_rows` rows that drew least, once each class has `ROWS_OF_A_CLASS` of its own."""
    places = np.zeros(len(draws)) if codes is None else np.minimum(_places(draws, codes), ROWS_OF_A_CLASS)
    keep = np.zeros(len(draws), dtype=bool)
    keep[np.lexsort((draws, places))[:num_rows]] = True
    return keep


def _places(draws: Draws, codes: Codes) -> Codes:
    """How many rows of its class drew less than each row."""
    order = np.lexsort((draws, codes))
    counts = np.bincount(codes)
    places = np.empty(len(draws), dtype=np.int64)
    places[order] = np.arange(len(draws)) - np.repeat(np.cumsum(counts) - counts, counts)
    return places


def sample_frame(frame: pd.DataFrame, bound: Bound, target: str | None) -> pd.DataFrame:
    """`bound.max_rows` rows of a frame in memory, in their order."""
    if bound.max_rows is None or len(frame) <= bound.max_rows:
        return frame
    codes = None
    if target in frame.columns:
        found, labels = factorize(frame[target].astype(str))
        codes = found if _are_classes(labels) else None
    return frame[chosen(bound.draws().random(len(frame)), codes, bound.max_rows)].reset_index(drop=True)
