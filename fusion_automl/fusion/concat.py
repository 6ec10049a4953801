"""Data-level fusion: the encoders of all modalities side by side, and one classical model that learns from the whole."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from fusion_automl.candidate import Candidate, Spec
from fusion_automl.fusion import Level
from fusion_automl.fusion.bench import Bench, LearnFrom
from fusion_automl.fusion.takes import Takes
from fusion_automl.store.node import Ref

ENCODED = Takes(encoders="must", classical="must")


@dataclass(frozen=True, slots=True)
class Concat:
    level: ClassVar[Level] = "data"
    takes: ClassVar[Takes] = ENCODED

    def fit(self, candidate: Candidate, bench: Bench, *, learn_from: LearnFrom) -> Ref:
        return _head(candidate, bench, [bench.encode(spec) for spec in candidate.encoders], learn_from)


@dataclass(frozen=True, slots=True)
class ConcatPCA:
    """Every matrix wider than `components` goes in as so many principal components, so that ten thousand words weigh no
    more than a table. One with category codes goes in as it is: the size of a code says nothing."""

    components: int = 50
    level: ClassVar[Level] = "data"
    takes: ClassVar[Takes] = ENCODED

    def fit(self, candidate: Candidate, bench: Bench, *, learn_from: LearnFrom) -> Ref:
        matrices = [bench.encode(spec) for spec in candidate.encoders]
        narrow = [self._narrow(matrix, bench, learn_from) for matrix in matrices]
        return _head(candidate, bench, narrow, learn_from)

    def _narrow(self, matrix: Ref, bench: Bench, learn_from: LearnFrom) -> Ref:
        stats = bench.store.stats(matrix.node)
        if stats["categorical"] or stats["widths"][matrix.output] <= self.components:
            return matrix
        return bench.reduce(Spec.of("pca", components=self.components), [matrix], learn_from=learn_from)


@dataclass(frozen=True, slots=True)
class ConcatSelect:
    """Of all columns only those that tell most about the target: a share (`features` up to 1) or a number (above 1)."""

    features: float = 0.3
    level: ClassVar[Level] = "data"
    takes: ClassVar[Takes] = ENCODED

    def fit(self, candidate: Candidate, bench: Bench, *, learn_from: LearnFrom) -> Ref:
        matrices = [bench.encode(spec) for spec in candidate.encoders]
        selected = bench.reduce(Spec.of("select", features=self.features), matrices, learn_from=learn_from)
        return _head(candidate, bench, [selected], learn_from)


def _head(candidate: Candidate, bench: Bench, inputs: list[Ref], learn_from: LearnFrom) -> Ref:
    assert candidate.classical is not None
    return bench.head(candidate.classical, inputs, candidate.target, learn_from=learn_from, balance=candidate.balance)
