"""Voting: each member decides by itself, and how sure it was matters only between equal shares of votes."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from fusion_automl.store.combiners import Floats
from fusion_automl.task import Task


@dataclass(frozen=True, slots=True)
class Majority:
    is_classification: bool

    def combine(self, members: Sequence[Floats]) -> Floats:
        """Shares of the votes refined by the mean probability, or the median of the members' values.

        With m members the refinement weighs 1 / (m + 2): enough for rows with the same votes to be ranked, too little to
        overturn a majority, whose lead is at least 1 / m.
        """
        stacked = np.stack(members)  # (members, rows, outputs)
        if not self.is_classification:
            return np.asarray(np.median(stacked, axis=0))
        votes = np.eye(stacked.shape[2])[stacked.argmax(axis=2)].mean(axis=0)
        refinement = 1 / (len(members) + 2)
        return np.asarray((1 - refinement) * votes + refinement * stacked.mean(axis=0))

    def outputs(self, members: Sequence[Floats]) -> dict[str, Floats]:
        return {"prediction": self.combine(members)}

    def save(self, folder: Path) -> None:
        (folder / "vote.json").write_text(json.dumps({"is_classification": self.is_classification}))

    @classmethod
    def load(cls, folder: Path) -> Majority:
        return cls(**json.loads((folder / "vote.json").read_text()))


@dataclass(frozen=True, slots=True)
class Vote:
    """The class that most members decide for, the more probable one where as many decide for another; nothing to learn."""

    def fit(self, members: Sequence[Floats], y: npt.NDArray[Any], *, task: Task, seed: int) -> Majority:
        return Majority(task.is_classification)
