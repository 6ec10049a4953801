"""What predicting costs, as it was measured when the parts were fitted: seconds and bytes, shared parts counted once."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from fusion_automl.errors import UserError
from fusion_automl.search.ledger import Trial
from fusion_automl.store.disk import Store
from fusion_automl.store.node import Ref


@dataclass(frozen=True, slots=True)
class Price:
    """`row_seconds` is what a row costs in a large batch, `latency_ms` what one row costs alone, `size_mb` (10^6 bytes)
    the fitted state on disk."""

    row_seconds: float
    latency_ms: float
    size_mb: float


@dataclass(frozen=True, slots=True)
class Limits:
    """The most that predicting may cost. Raises UserError for a limit that nothing could keep."""

    latency_ms: float = math.inf
    size_mb: float = math.inf
    row_seconds: float = math.inf

    def __post_init__(self) -> None:
        for option, limit, unit in (
            ("--max-latency-ms", self.latency_ms, "milliseconds for one row"),
            ("--max-size-mb", self.size_mb, "megabytes of the artifact"),
        ):
            if not limit > 0:
                raise UserError(f"{option}: got {limit:g}, expected {unit}, more than 0.")

    def load(self, price: Price) -> float:
        """The largest share of a limit that is used up; above 1 a limit is broken."""
        return max(
            price.latency_ms / self.latency_ms, price.size_mb / self.size_mb, price.row_seconds / self.row_seconds
        )

    def keep(self, price: Price) -> bool:
        return self.load(price) <= 1


class Prices:
    """Prices of trials of one store."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._nodes: dict[tuple[Ref, ...], frozenset[str]] = {}
        self._costs: dict[str, Any] = {}

    def of(self, trials: Sequence[Trial]) -> Price:
        """What these trials cost when they predict together, each with the models of all its folds."""
        return self._sum(frozenset().union(*map(self._needed, trials)))

    def of_one_fold(self, trials: Sequence[Trial]) -> Price:
        """What these trials would cost together with one model each in place of one for each fold."""
        return self._sum(frozenset(self._store.ancestry([trial.report.outputs[0].node for trial in trials])))

    def _needed(self, trial: Trial) -> frozenset[str]:
        """The nodes that predicting needs; a trial fits more, such as those that only teach its combiner."""
        outputs = trial.report.outputs  # not the key: a trial fitted again has the same one
        if outputs not in self._nodes:
            self._nodes[outputs] = frozenset(self._store.ancestry([ref.node for ref in outputs]))
        return self._nodes[outputs]

    def _sum(self, nodes: Iterable[str]) -> Price:
        costs = np.zeros(3) + sum((self._cost(node) for node in nodes), start=np.zeros(3))
        return Price(float(costs[0]), float(costs[1]), float(costs[2]))

    def _cost(self, node: str) -> Any:
        if node not in self._costs:
            stats = self._store.stats(node)
            self._costs[node] = np.array(
                [stats["apply_seconds_per_row"], 1e3 * stats["apply_seconds_one_row"], stats["state_bytes"] / 1e6]
            )
        return self._costs[node]
