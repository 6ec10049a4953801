"""The table of combiners: the predictions of several members -> one prediction.

A combiner learns on rows which none of its members learned from. Members are `(rows, outputs)` each, all of one shape.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol, Self

import numpy as np
import numpy.typing as npt

from fusion_automl.task import Task

Floats = npt.NDArray[np.float64]


class FittedCombiner(Protocol):
    def outputs(self, members: Sequence[Floats]) -> dict[str, Floats]:
        """`prediction` `(rows, outputs)`, and `deviation` `(rows, 1)` where it is known how far off a value may be."""

    def save(self, folder: Path) -> None:
        """Writes the state into an existing, empty folder, without pickle."""

    @classmethod
    def load(cls, folder: Path) -> Self: ...


class Combiner(Protocol):
    """A frozen dataclass whose fields are hyperparameters."""

    def fit(self, members: Sequence[Floats], y: npt.NDArray[Any], *, task: Task, seed: int) -> FittedCombiner:
        """Learns how far to trust each member; `members` is empty for a combiner that has nothing to learn."""


COMBINERS: dict[str, str] = {
    "average": "fusion_automl.store.combiners.mean:Average",
    "weighted": "fusion_automl.store.combiners.mean:Weighted",
    "vote": "fusion_automl.store.combiners.vote:Vote",
    "product_of_experts": "fusion_automl.store.combiners.experts:ProductOfExperts",
    "bayesian": "fusion_automl.store.combiners.bayesian:Bayesian",
    "stack": "fusion_automl.store.combiners.linear:Stack",
}
