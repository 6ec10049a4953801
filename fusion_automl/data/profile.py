"""How the cells of a column were distributed in training, to be compared with those that come later."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from fusion_automl.data.schema import Kind, Schema

NUM_BINS = 10
MAX_VALUES = 100
SMALLEST_SHARE = 1e-4
"""A bin that was empty in training would make any cell in it an infinite surprise."""

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Profile:
    """The `shares` of training cells by bin. Numbers and moments (in nanoseconds) are cut at `edges` into bins of about equal
    share, words are their own bins with one more for all others; the last bin is that of missing cells."""

    shares: tuple[float, ...]
    edges: tuple[float, ...] = ()
    values: tuple[str, ...] = ()

    def counts(self, cells: pd.Series[Any]) -> Floats:
        """How many of these conformed cells fall into each bin."""
        missing = cells.isna().to_numpy()
        present = cells[~missing]
        bins: npt.NDArray[np.int64]
        if self.values:
            other = len(self.values)
            place = {value: index for index, value in enumerate(self.values)}
            bins = np.fromiter((place.get(cell, other) for cell in present.to_numpy()), np.int64, len(present))
        elif self.edges:
            bins = np.searchsorted(self.edges, _numbers(present), side="right")
        else:
            bins = np.zeros(len(present), dtype=np.int64)
        return np.append(np.bincount(bins, minlength=len(self.shares) - 1), missing.sum()).astype(np.float64)

    def instability(self, counts: Floats) -> float:
        """The population stability index of these counts against training: the sum over bins of (q - p) log(q / p). Below
        0.1 is usually taken for none, above 0.25 for much."""
        p = np.maximum(self.shares, SMALLEST_SHARE)
        q = np.maximum(counts / counts.sum(), SMALLEST_SHARE)
        return float(np.sum((q - p) * np.log(q / p)))

    def to_json(self) -> dict[str, Any]:
        return {"shares": list(self.shares), "edges": list(self.edges), "values": list(self.values)}

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> Profile:
        return cls(tuple(value["shares"]), tuple(value["edges"]), tuple(value["values"]))


def profiles(frame: pd.DataFrame, schema: Schema) -> dict[str, Profile]:
    """Of each used column of a conformed frame; of texts, images and series only how many are missing."""
    return {column.name: _profile(frame[column.name], column.kind) for column in schema.columns if column.modality}


def _profile(cells: pd.Series[Any], kind: Kind) -> Profile:
    present = cells.dropna()
    edges: Sequence[float] = ()
    values: Sequence[str] = ()
    if kind == "category":
        values = present.value_counts().index[:MAX_VALUES].tolist()
    elif kind in ("numeric", "boolean", "datetime") and len(present):
        # The lowest value is no edge: nothing of training would lie below it.
        cuts = np.quantile(_numbers(present), np.linspace(0, 1, NUM_BINS + 1)[1:-1], method="inverted_cdf")
        edges = [float(cut) for cut in np.unique(cuts) if cut > _numbers(present).min()]
    num_bins = (len(values) if values else len(edges)) + 2 if values or edges else 2
    counts = Profile((0.0,) * num_bins, tuple(edges), tuple(values)).counts(cells)
    return Profile(tuple((counts / max(1.0, counts.sum())).tolist()), tuple(edges), tuple(values))


def _numbers(cells: pd.Series[Any]) -> Floats:
    if pd.api.types.is_datetime64_any_dtype(cells.dtype):
        cells = cells.astype("int64")
    return cells.to_numpy(dtype=np.float64)
