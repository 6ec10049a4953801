"""A backbone's own predictions: no fusion, the deep baseline that fusions are measured against."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from fusion_automl.candidate import Candidate
from fusion_automl.fusion import Level, expect
from fusion_automl.fusion.bench import Bench, LearnFrom
from fusion_automl.store.node import Ref


@dataclass(frozen=True, slots=True)
class BackboneAlone:
    level: ClassVar[Level] = "none"

    def fit(self, candidate: Candidate, bench: Bench, *, learn_from: LearnFrom) -> Ref:
        expect(len(candidate.backbones) == 1 and not candidate.encoders, candidate, "one backbone and nothing else")
        return bench.train(candidate.backbones[0], candidate.target)[1]
