"""No features at all: what guessing from the target alone is worth."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from fusion_automl.candidate import Candidate, Spec
from fusion_automl.fusion import Level
from fusion_automl.fusion.bench import Bench, LearnFrom
from fusion_automl.fusion.takes import Takes
from fusion_automl.store.node import Ref


@dataclass(frozen=True, slots=True)
class Baseline:
    level: ClassVar[Level] = "none"
    takes: ClassVar[Takes] = Takes()

    def fit(self, candidate: Candidate, bench: Bench, *, learn_from: LearnFrom) -> Ref:
        return bench.head(Spec.of("prior"), [], candidate.target, learn_from=learn_from)
