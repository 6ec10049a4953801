"""Rows of vectors of which each row has its own number: what the frozen layers of a transformer say about each token."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np
import numpy.typing as npt

from fusion_automl.errors import FitError

Integers = npt.NDArray[np.int64]

LARGEST = 4_000_000_000
"""Bytes; 23,000 reviews of 100 words with MiniLM fill 2.3 GB."""
LARGEST_IN_MEMORY = 256_000_000
"""Bytes; larger ones lie in a temporary file, whose pages the system drops when it needs the memory."""


@dataclass(frozen=True, slots=True, eq=False)
class Sequences:
    """`values` is `(steps, size)` float16; row i has `values[starts[i] : starts[i] + lengths[i]]`.

    Choosing rows copies no values. There is one step at the least, also where all rows are empty.
    """

    values: npt.NDArray[np.float16]
    starts: Integers
    lengths: Integers

    @classmethod
    def empty(cls, lengths: Integers, size: int) -> Self:
        """Unfilled ones, in the order of the rows."""
        shape = (max(1, int(lengths.sum())), size)
        if 2 * shape[0] * size <= LARGEST_IN_MEMORY:
            values = np.zeros(shape, np.float16)
        else:
            with tempfile.TemporaryFile() as file:  # the mapping outlives the closed file
                values = np.memmap(file, np.float16, "w+", shape=shape)
        return cls(values, _starts(lengths), lengths)

    @property
    def shape(self) -> tuple[int, int]:
        """`(rows, size)`"""
        return len(self.lengths), self.values.shape[1]

    def __getitem__(self, rows: Integers) -> Self:
        return type(self)(self.values, self.starts[rows], self.lengths[rows])

    def row(self, row: int) -> npt.NDArray[np.float16]:
        """`(length, size)`, as a view."""
        return self.values[self.starts[row] : self.starts[row] + self.lengths[row]]

    def save(self, folder: Path, name: str) -> None:
        """Writes all values; only for sequences as `empty` made them, whose rows lie in order."""
        np.save(folder / f"{name}.npy", self.values, allow_pickle=False)
        np.save(folder / f"{name}.lengths.npy", self.lengths, allow_pickle=False)

    @staticmethod
    def lie_in(folder: Path, name: str) -> bool:
        """Whether `save` wrote them there."""
        return (folder / f"{name}.lengths.npy").exists()

    @classmethod
    def load(cls, folder: Path, name: str) -> Self:
        """Maps the file instead of reading it."""
        # Copy on write, though nobody writes: torch warns of arrays that it could not write to.
        values = np.load(folder / f"{name}.npy", mmap_mode="c", allow_pickle=False)
        lengths = np.load(folder / f"{name}.lengths.npy", allow_pickle=False)
        return cls(values, _starts(lengths), lengths)


def _starts(lengths: Integers) -> Integers:
    return np.cumsum(lengths) - lengths


def check_size(num_steps: int, size: int) -> None:
    """Raises FitError where so many vectors would fill more than `LARGEST` bytes of the disk."""
    if 2 * num_steps * size > LARGEST:
        raise FitError(
            f"the states of {num_steps:,} tokens or patches would fill {2e-9 * num_steps * size:.1f} GB, more than "
            f"{1e-9 * LARGEST:.0f}: use fewer rows, a smaller max_length or a smaller checkpoint"
        )
