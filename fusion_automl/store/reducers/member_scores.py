"""Members' predictions as features for a meta-model."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from fusion_automl.encoders import Matrix
from fusion_automl.store.combiners.scores import meta_features
from fusion_automl.task import Task


@dataclass(frozen=True, slots=True)
class FittedMemberScores:
    is_classification: bool
    categorical: ClassVar[tuple[int, ...]] = ()

    def transform(self, matrices: Sequence[Any]) -> Matrix:
        """Members' `(rows, outputs)` side by side; probabilities as centred logarithms."""
        return meta_features(matrices, is_classification=self.is_classification).astype(np.float32)

    def save(self, folder: Path) -> None:
        (folder / "scores.json").write_text(json.dumps({"is_classification": self.is_classification}))

    @classmethod
    def load(cls, folder: Path) -> FittedMemberScores:
        return cls(**json.loads((folder / "scores.json").read_text()))


@dataclass(frozen=True, slots=True)
class MemberScores:
    """Learns nothing: what linear meta-models need is that probabilities lie on a line without ends."""

    learns_target: ClassVar[bool] = False

    def fit(
        self, matrices: Sequence[Matrix], y: npt.NDArray[Any], *, task: Task, categorical: tuple[int, ...], seed: int
    ) -> FittedMemberScores:
        return FittedMemberScores(task.is_classification)
