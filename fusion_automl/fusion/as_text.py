"""Data-level fusion in the other direction: the table becomes words, and one text backbone reads everything."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from fusion_automl.candidate import Candidate, Spec
from fusion_automl.fusion import Level
from fusion_automl.fusion.bench import Bench, LearnFrom
from fusion_automl.fusion.takes import Takes
from fusion_automl.store.node import Ref


@dataclass(frozen=True, slots=True)
class AsText:
    """Categories and numbers stand before a row's texts, each cell with its column's name."""

    level: ClassVar[Level] = "data"
    takes: ClassVar[Takes] = Takes(backbones="one", modalities=("text", "tabular"))

    def fit(self, candidate: Candidate, bench: Bench, *, learn_from: LearnFrom) -> Ref:
        (spec,) = candidate.backbones
        return bench.train(Spec.of(spec.name, **{**dict(spec.params), "table": True}), candidate.target)[1]
