"""Time series as a handful of statistics a channel: level, spread, trend, memory, spectrum."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
import numpy.typing as npt
import pandas as pd

from fusion_automl.data.dataset import Dataset
from fusion_automl.data.schema import Modality
from fusion_automl.deadline import Deadline
from fusion_automl.encoders.remembered import of_frame
from fusion_automl.encoders.series_cells import without_gaps
from fusion_automl.encoders.state import load_state, save_state
from fusion_automl.errors import OutOfTime, SpaceError

Numbers = npt.NDArray[np.float64]

QUANTILES = (0.1, 0.25, 0.5, 0.75, 0.9)
LAGS = (1, 2, 4, 8)
LARGEST_SCALED = 10.0


@dataclass(frozen=True, slots=True)
class SeriesStats:
    """Statistics of each series column (a channel), standardised; a missing series gives zeros and says so.

    The spectrum is summed over `bands` bands of equal ratio between one cycle in 64 steps and one in 2.
    """

    modality: ClassVar[Modality] = "series"
    requires: ClassVar[tuple[str, ...]] = ()

    bands: int = 8

    def __post_init__(self) -> None:
        if self.bands < 1:
            raise SpaceError(f"[encoders.series_stats]: bands must be >= 1, got {self.bands}.")

    def fit(self, data: Dataset, *, seed: int, deadline: Deadline, threads: int) -> FittedSeriesStats:
        if deadline.passed():
            raise OutOfTime("series_stats: no time left to start.")
        columns = data.schema.names("series")
        raw = np.hstack([_column_statistics(data.frame[name].to_numpy(), self.bands) for name in columns])
        present = np.isfinite(raw)
        count = np.maximum(present.sum(axis=0), 1)
        center = np.where(present, raw, 0).sum(axis=0) / count
        spread = np.sqrt((np.where(present, raw - center, 0) ** 2).sum(axis=0) / count)
        # Rounding alone makes a constant statistic vary in its 15th digit.
        constant = spread <= 1e-9 * np.maximum(np.abs(center), 1)
        return FittedSeriesStats(
            names=tuple(f"{column} {name}" for column in columns for name in _names(self.bands)),
            columns=columns,
            bands=self.bands,
            center=center,
            spread=np.where(constant, 1.0, spread),
        )


@dataclass(slots=True, eq=False)
class FittedSeriesStats:
    names: tuple[str, ...]
    columns: tuple[str, ...]
    bands: int
    center: Numbers
    spread: Numbers
    categorical: tuple[int, ...] = ()

    def transform(self, frame: pd.DataFrame) -> npt.NDArray[np.float32]:
        raw = of_frame(
            frame,
            ("series statistics", self.columns, self.bands),
            lambda: np.hstack([_column_statistics(frame[name].to_numpy(), self.bands) for name in self.columns]),
        )
        scaled = np.nan_to_num((raw - self.center) / self.spread, nan=0.0)
        return np.clip(scaled, -LARGEST_SCALED, LARGEST_SCALED).astype(np.float32)

    def save(self, folder: Path) -> None:
        values = {"names": self.names, "columns": self.columns, "bands": self.bands}
        save_state(folder, values, {"center": self.center, "spread": self.spread})

    @classmethod
    def load(cls, folder: Path) -> Self:
        values, arrays = load_state(folder)
        return cls(
            names=tuple(values["names"]),
            columns=tuple(values["columns"]),
            bands=values["bands"],
            center=arrays["center"],
            spread=arrays["spread"],
        )


def _names(bands: int) -> list[str]:
    return [
        *("mean", "std", "min", "max", "skewness", "kurtosis", "slope", "mean change", "crossings", "argmax", "argmin"),
        *(f"quantile {quantile}" for quantile in QUANTILES),
        *(f"autocorrelation {lag}" for lag in LAGS),
        *(f"band {band}" for band in range(bands)),
        *("length", "missing"),
    ]


def _column_statistics(cells: npt.NDArray[Any], bands: int) -> Numbers:
    """`(rows, statistics)`, nan for a missing series but for the last column, the share of its steps that are missing.

    Series of one length are stacked and reduced together, so that a row's result never depends on the other rows.
    """
    statistics = np.full((len(cells), len(_names(bands))), np.nan)
    series = [without_gaps(cell) for cell in cells]
    lengths = np.array([0 if steps is None else len(steps) for steps in series], dtype=np.int64)
    for length in np.unique(lengths[lengths > 0]):
        rows = np.flatnonzero(lengths == length)
        stacked = np.stack([series[row] for row in rows])
        statistics[rows, :-2] = _statistics(stacked, bands)
    statistics[:, -2] = np.where(lengths > 0, lengths, np.nan)
    statistics[:, -1] = [1.0 if lengths[row] == 0 else 1 - np.isfinite(cell).mean() for row, cell in enumerate(cells)]
    return statistics


def _statistics(x: Numbers, bands: int) -> Numbers:
    """Statistics of `(rows, length)` series without gaps; those of shape are taken from the standardised series."""
    length = x.shape[1]
    mean, std = x.mean(axis=1), x.std(axis=1)
    flat = std <= 1e-9 * np.maximum(np.abs(mean), 1e-9)
    z = (x - mean[:, None]) / np.where(flat, 1.0, std)[:, None]
    z[flat] = 0
    time = np.linspace(-0.5, 0.5, length) if length > 1 else np.zeros(1)
    slope = z @ time / max(float(time @ time), 1e-9)
    change = np.abs(np.diff(x, axis=1)).sum(axis=1) / max(length - 1, 1)
    crossings = (np.diff(z > 0, axis=1)).sum(axis=1) / max(length - 1, 1)
    lagged = [(z[:, lag:] * z[:, : max(length - lag, 0)]).sum(axis=1) / length for lag in LAGS]
    return np.column_stack(
        [
            *(
                mean,
                std,
                x.min(axis=1),
                x.max(axis=1),
                (z**3).mean(axis=1),
                (z**4).mean(axis=1),
                slope,
                change,
                crossings,
            ),
            *(x.argmax(axis=1) / length, x.argmin(axis=1) / length),
            *np.quantile(x, QUANTILES, axis=1),
            *lagged,
            *_band_energies(z, bands),
        ]
    )


def _band_energies(z: Numbers, bands: int) -> list[Numbers]:
    """The logarithm of each band's share of the energy, floored at one in a million."""
    length = z.shape[1]
    energy = np.abs(np.fft.rfft(z, axis=1)) ** 2
    frequency = np.fft.rfftfreq(length)
    edges = np.geomspace(1 / 64, 0.5, bands + 1)
    band = np.clip(np.searchsorted(edges, frequency, side="right") - 1, 0, bands - 1)
    total = np.maximum(energy[:, 1:].sum(axis=1), 1e-12)
    return [np.log10(energy[:, (band == index) & (frequency > 0)].sum(axis=1) / total + 1e-6) for index in range(bands)]
