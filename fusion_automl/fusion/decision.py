"""Decision-level fusion: members predict on their own, and their predictions are combined."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from fusion_automl.candidate import Candidate, Spec
from fusion_automl.errors import SpaceError
from fusion_automl.fusion import Level, fit_candidate
from fusion_automl.fusion.bench import Bench, LearnFrom
from fusion_automl.fusion.takes import Takes
from fusion_automl.store.node import Ref

MEMBERS = Takes(members=True)


def _fit_members(candidate: Candidate, bench: Bench, learn_from: LearnFrom) -> list[Ref]:
    return [fit_candidate(member, bench, learn_from=learn_from) for member in candidate.members]


def _combine(candidate: Candidate, bench: Bench, combiner: Spec, *, learns: bool) -> Ref:
    on_valid = _fit_members(candidate, bench, "train")
    on_holdout = _fit_members(candidate, bench, "fit") if learns else []
    return bench.combine(combiner, on_holdout, on_valid)


@dataclass(frozen=True, slots=True)
class Average:
    """The mean of the members' predictions."""

    level: ClassVar[Level] = "decision"
    takes: ClassVar[Takes] = MEMBERS

    def fit(self, candidate: Candidate, bench: Bench, *, learn_from: LearnFrom) -> Ref:
        return _combine(candidate, bench, Spec.of("average", members=len(candidate.members)), learns=False)


@dataclass(frozen=True, slots=True)
class Weighted:
    """The convex combination that fits the holdout rows best; `shrinkage` pulls towards equal weights."""

    shrinkage: float = 0.01
    level: ClassVar[Level] = "decision"
    takes: ClassVar[Takes] = MEMBERS

    def fit(self, candidate: Candidate, bench: Bench, *, learn_from: LearnFrom) -> Ref:
        return _combine(candidate, bench, Spec.of("weighted", shrinkage=self.shrinkage), learns=True)


@dataclass(frozen=True, slots=True)
class Vote:
    """The majority of the members' decisions, or the median of their values."""

    level: ClassVar[Level] = "decision"
    takes: ClassVar[Takes] = MEMBERS

    def fit(self, candidate: Candidate, bench: Bench, *, learn_from: LearnFrom) -> Ref:
        return _combine(candidate, bench, Spec.of("vote"), learns=False)


@dataclass(frozen=True, slots=True)
class ProductOfExperts:
    """The product of the members' distributions; `exponents` are `learned` on the holdout rows, where equal ones
    weigh as much as `shrinkage` rows, or `equal`."""

    exponents: str = "learned"
    shrinkage: float = 10.0
    level: ClassVar[Level] = "decision"
    takes: ClassVar[Takes] = MEMBERS

    def fit(self, candidate: Candidate, bench: Bench, *, learn_from: LearnFrom) -> Ref:
        learns = self.exponents != "equal"
        rest: dict[str, int | float] = {"shrinkage": self.shrinkage} if learns else {"members": len(candidate.members)}
        return _combine(
            candidate, bench, Spec.of("product_of_experts", exponents=self.exponents, **rest), learns=learns
        )


@dataclass(frozen=True, slots=True)
class Bayesian:
    """A mixture of the members' calibrated distributions, weighted by `stacking` or `pseudo_bma`; of values it also tells
    the deviation."""

    weights: str = "stacking"
    level: ClassVar[Level] = "decision"
    takes: ClassVar[Takes] = MEMBERS

    def fit(self, candidate: Candidate, bench: Bench, *, learn_from: LearnFrom) -> Ref:
        return _combine(candidate, bench, Spec.of("bayesian", weights=self.weights), learns=True)


@dataclass(frozen=True, slots=True)
class Stack:
    """A meta-model over the members, learned on the holdout rows: a linear one of strength `C`, or the candidate's
    classical model, which sees the matrices of the candidate's encoders beside the members' predictions."""

    C: float = 0.1
    level: ClassVar[Level] = "decision"
    takes: ClassVar[Takes] = Takes(encoders="may", classical="may", members=True)

    def fit(self, candidate: Candidate, bench: Bench, *, learn_from: LearnFrom) -> Ref:
        if candidate.classical is None:
            if candidate.encoders:
                raise SpaceError(
                    f"stack: the linear meta-model sees the members alone, got {candidate.describe()}. Name a classical "
                    "model to learn from encoders beside them, or leave the encoders out."
                )
            return _combine(candidate, bench, Spec.of("stack", C=self.C), learns=True)
        return bench.meta(
            candidate.classical,
            _fit_members(candidate, bench, "fit"),
            _fit_members(candidate, bench, "train"),
            [bench.encode(spec) for spec in candidate.encoders],
            candidate.target,
            balance=candidate.balance,
        )
