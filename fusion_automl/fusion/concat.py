"""Data-level fusion: the encoders of all modalities side by side, and one classical model that learns from the whole."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from fusion_automl.candidate import Candidate
from fusion_automl.fusion import Level
from fusion_automl.fusion.bench import Bench, LearnFrom
from fusion_automl.fusion.takes import Takes
from fusion_automl.store.node import Ref


@dataclass(frozen=True, slots=True)
class Concat:
    level: ClassVar[Level] = "data"
    takes: ClassVar[Takes] = Takes(encoders="must", classical="must")

    def fit(self, candidate: Candidate, bench: Bench, *, learn_from: LearnFrom) -> Ref:
        assert candidate.classical is not None
        inputs = [bench.encode(spec) for spec in candidate.encoders]
        return bench.head(candidate.classical, inputs, candidate.target, learn_from=learn_from)
