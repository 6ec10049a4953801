"""Whether the rows that come still look like those of training, as figures for Prometheus."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import NamedTuple

import numpy as np
import pandas as pd
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from fusion_automl.data.conform import Columns, num_rows
from fusion_automl.data.profile import Floats, Profile

MAX_COUNTED = 500
"""Of more rows at once only every second or tenth is looked at: enough to see a shift, for a tenth of the time."""
HALF_LIFE_ROWS = 5_000
"""A row counts half as much after so many others."""
ENOUGH_ROWS = 200
"""With fewer, chance alone makes a column look unstable: of ten bins it adds about 9 / rows."""
COUNTED_AT_ONCE = 500
"""Rows that wait to be counted; one by one it would cost each request some hundred microseconds."""


class Drift:
    """Counts the rows of one replica by the bins of `profiles`; `add` is cheap, and may be called by several threads."""

    def __init__(self, profiles: Mapping[str, Profile], *, images: tuple[str, ...], labels: Mapping[str, str]) -> None:
        self._profiles = profiles
        self._images = list(images)
        self._labels = labels
        self._counts: dict[str, Floats] = {}
        self._rows = 0.0
        self._waiting: list[Columns] = []
        self._waiting_rows = 0
        self._lock = threading.Lock()

    def add(self, columns: Columns) -> None:
        """Takes conformed rows that were predicted."""
        if not self._profiles or not num_rows(columns):
            return
        # Only whether there is an image matters, and a photograph is large.
        small = {name: np.where(pd.isna(columns[name]), np.nan, 0.0) for name in self._images}
        with self._lock:
            self._waiting.append({**columns, **small})
            self._waiting_rows += num_rows(columns)
            if self._waiting_rows >= COUNTED_AT_ONCE:
                self._count()

    def _count(self) -> None:
        if not self._waiting:
            return
        waiting, self._waiting = self._waiting, []
        every = -(-self._waiting_rows // MAX_COUNTED)
        kept = 0.5 ** (self._waiting_rows / HALF_LIFE_ROWS)
        self._rows, self._waiting_rows = kept * self._rows + self._waiting_rows, 0
        for name, profile in self._profiles.items():
            cells = np.concatenate([columns[name] for columns in waiting])
            counts = profile.counts(pd.Series(cells[::every], dtype=cells.dtype)) * (len(cells) / len(cells[::every]))
            self._counts[name] = kept * self._counts.get(name, 0.0) + counts

    def fill(self, families: Families) -> None:
        """Adds what is known now."""
        own = list(self._labels.values())
        with self._lock:
            self._count()
            families.rows.add_metric(own, self._rows)
            for name, counts in self._counts.items() if self._rows >= ENOUGH_ROWS else ():
                families.psi.add_metric([*own, name], self._profiles[name].instability(counts))
                families.missing.add_metric([*own, name], counts[-1] / self._rows)
                if self._profiles[name].values:
                    families.unseen.add_metric([*own, name], counts[-2] / self._rows)


class Families(NamedTuple):
    psi: GaugeMetricFamily
    unseen: GaugeMetricFamily
    missing: GaugeMetricFamily
    rows: GaugeMetricFamily

    @classmethod
    def empty(cls) -> Families:
        names = ("model", "version", "column")
        return cls(
            GaugeMetricFamily("fusion_automl_input_psi", "Population stability index against training.", labels=names),
            GaugeMetricFamily(
                "fusion_automl_input_unseen", "Share of words that were rare or absent in training.", labels=names
            ),
            GaugeMetricFamily("fusion_automl_input_missing", "Share of cells that are missing.", labels=names),
            GaugeMetricFamily(
                "fusion_automl_input_rows", "Rows these figures are about, older ones counted less.", labels=names[:2]
            ),
        )


class Drifts(Collector):
    """Those of all versions that `current` names, each time anew: a family of figures may stand in an answer only once."""

    def __init__(self, current: Callable[[], Iterable[Drift]]) -> None:
        self._current = current

    def collect(self) -> Iterator[Metric]:
        families = Families.empty()
        for drift in self._current():
            drift.fill(families)
        yield from families
