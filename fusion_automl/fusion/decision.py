"""Decision-level fusion: members predict on their own, and their predictions are combined."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from fusion_automl.candidate import Candidate, Spec
from fusion_automl.fusion import Level, fit_candidate
from fusion_automl.fusion.bench import Bench, LearnFrom
from fusion_automl.fusion.takes import Takes
from fusion_automl.store.node import Ref

MEMBERS = Takes(members=True)


def _combine(candidate: Candidate, bench: Bench, combiner: Spec, learn_from: LearnFrom, *, learns: bool) -> Ref:
    on_valid = [fit_candidate(member, bench, learn_from="train") for member in candidate.members]
    on_holdout = [fit_candidate(member, bench, learn_from="fit") for member in candidate.members] if learns else []
    return bench.combine(combiner, on_holdout, on_valid)


@dataclass(frozen=True, slots=True)
class Average:
    """The mean of the members' predictions."""

    level: ClassVar[Level] = "decision"
    takes: ClassVar[Takes] = MEMBERS

    def fit(self, candidate: Candidate, bench: Bench, *, learn_from: LearnFrom) -> Ref:
        return _combine(candidate, bench, Spec.of("average", members=len(candidate.members)), learn_from, learns=False)


@dataclass(frozen=True, slots=True)
class Weighted:
    """The convex combination that fits the holdout rows best; `shrinkage` pulls towards equal weights."""

    shrinkage: float = 0.01
    level: ClassVar[Level] = "decision"
    takes: ClassVar[Takes] = MEMBERS

    def fit(self, candidate: Candidate, bench: Bench, *, learn_from: LearnFrom) -> Ref:
        return _combine(candidate, bench, Spec.of("weighted", shrinkage=self.shrinkage), learn_from, learns=True)


@dataclass(frozen=True, slots=True)
class Stack:
    """A linear meta-model over the members, learned on the holdout rows with strength `C`."""

    C: float = 0.1
    level: ClassVar[Level] = "decision"
    takes: ClassVar[Takes] = MEMBERS

    def fit(self, candidate: Candidate, bench: Bench, *, learn_from: LearnFrom) -> Ref:
        return _combine(candidate, bench, Spec.of("stack", C=self.C), learn_from, learns=True)
