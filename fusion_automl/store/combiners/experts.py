"""Product of experts (Hinton, 2002): what all members hold possible; one sure expert outweighs several unsure ones."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from fusion_automl.component import unknown
from fusion_automl.errors import SpaceError
from fusion_automl.store.combiners import Floats
from fusion_automl.store.combiners.scores import logarithms, softmax, typical_errors
from fusion_automl.task import Task

EXPONENTS = ("learned", "equal")


@dataclass(frozen=True, slots=True)
class Product:
    """`exponents` `(members,)` are >= 0; for values they are shares of the precision and sum to 1."""

    exponents: Floats
    is_classification: bool

    def combine(self, members: Sequence[Floats]) -> Floats:
        """The normalised product of the members' probabilities, or the precision-weighted mean of their values."""
        if not self.is_classification:
            return np.asarray(sum(share * member for share, member in zip(self.exponents, members, strict=True)))
        return softmax(np.einsum("m,mro->ro", self.exponents, np.stack([logarithms(member) for member in members])))

    def outputs(self, members: Sequence[Floats]) -> dict[str, Floats]:
        return {"prediction": self.combine(members)}

    def save(self, folder: Path) -> None:
        np.savez(folder / "product.npz", exponents=self.exponents, is_classification=self.is_classification)

    @classmethod
    def load(cls, folder: Path) -> Product:
        with np.load(folder / "product.npz", allow_pickle=False) as arrays:
            return cls(arrays["exponents"], bool(arrays["is_classification"]))


@dataclass(frozen=True, slots=True)
class ProductOfExperts:
    """The geometric mean of probabilities, or the product of one Gaussian a member, whose variance is its mean squared
    error on the rows given.

    `exponents` of probabilities are `learned` (least log loss; their sum is free, which calibrates the product) or `equal`,
    where `members` says how many there are. Equal ones weigh as much as `shrinkage` rows when others are learned; with 10,
    learning cost 0.003 of log loss where 76 rows told little, and gained 0.04 where a member knew nothing.
    """

    exponents: str = "learned"
    shrinkage: float = 10.0
    members: int = 2

    def __post_init__(self) -> None:
        if self.exponents not in EXPONENTS:
            raise SpaceError(f"[fusion.product_of_experts]: {unknown('exponents', self.exponents, list(EXPONENTS))}")

    def fit(self, members: Sequence[Floats], y: npt.NDArray[Any], *, task: Task, seed: int) -> Product:
        if self.exponents == "equal":
            return Product(np.full(self.members, 1 / self.members), task.is_classification)
        if task.is_classification:
            return Product(self._learn(members, y), True)
        precisions = typical_errors(members, y) ** -2
        return Product(precisions / precisions.sum(), False)

    def _learn(self, members: Sequence[Floats], y: npt.NDArray[Any]) -> Floats:
        from scipy.optimize import minimize

        logs = np.stack([logarithms(member) for member in members])  # (members, rows, classes)
        of_truth = logs[:, np.arange(len(y)), y]
        equal = np.full(len(members), 1 / len(members))
        pull = self.shrinkage / len(y)

        def loss(exponents: Floats) -> tuple[float, Floats]:
            scores = np.einsum("m,mro->ro", exponents, logs)
            expected = (softmax(scores) * logs).sum(axis=2)  # (members, rows)
            normaliser = np.logaddexp.reduce(scores, axis=1)
            away = exponents - equal
            value = (normaliser - exponents @ of_truth).mean() + pull * (away**2).sum()
            return float(value), (expected - of_truth).mean(axis=1) + 2 * pull * away

        found = minimize(loss, equal, jac=True, method="L-BFGS-B", bounds=[(0.0, None)] * len(members))
        return np.asarray(found.x)
