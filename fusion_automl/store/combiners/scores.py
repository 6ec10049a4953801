"""What members say, in the terms in which combiners weigh it: logarithms of probabilities, sizes of errors."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from fusion_automl.store.combiners import Floats

SMALLEST = 1e-6
"""Probabilities are kept this far from 0 before a logarithm."""
SMALLEST_ERROR = 1e-3
"""As a share of the target's deviation: a member that hits all of few holdout rows may still be wrong elsewhere."""


def logarithms(probabilities: Floats) -> Floats:
    """Finite logarithms of probabilities, for every class."""
    return np.asarray(np.log(np.clip(probabilities, SMALLEST, 1.0)))


def softmax(scores: Floats) -> Floats:
    """Scores along the last axis -> probabilities that sum to 1."""
    exponents = np.exp(scores - scores.max(axis=-1, keepdims=True))
    return np.asarray(exponents / exponents.sum(axis=-1, keepdims=True))


def meta_features(members: Sequence[Floats], *, is_classification: bool) -> Floats:
    """Members side by side; probabilities as logarithms centred over the classes, so that a weight of 1 repeats a member."""
    if not is_classification:
        return np.hstack(members)
    logs = [logarithms(member) for member in members]
    return np.hstack([log - log.mean(axis=1, keepdims=True) for log in logs])


def typical_errors(members: Sequence[Floats], y: npt.NDArray[Any]) -> Floats:
    """The root mean squared error of each member's values, `(members,)`, and more than 0."""
    squares = np.array([((member[:, 0] - y) ** 2).sum() for member in members])
    smallest = SMALLEST_ERROR * (float(np.std(y)) or 1.0)
    return np.asarray(np.maximum(np.sqrt(squares / max(len(y) - 1, 1)), smallest))
