"""A backbone's own predictions: no fusion, the deep baseline that fusions are measured against."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from fusion_automl.candidate import Candidate
from fusion_automl.fusion import Level
from fusion_automl.fusion.bench import Bench, LearnFrom
from fusion_automl.fusion.takes import Takes
from fusion_automl.store.node import Ref


@dataclass(frozen=True, slots=True)
class BackboneAlone:
    level: ClassVar[Level] = "none"
    takes: ClassVar[Takes] = Takes(backbones="one")

    def fit(self, candidate: Candidate, bench: Bench, *, learn_from: LearnFrom) -> Ref:
        return bench.train(candidate.backbones[0], candidate.target)[1]
