"""What learners that go round by round share: the clock, when to stop, threads at prediction.

A model with a field `early_stopping` names in `goes_by` the field that bounds its rounds, and what it fits says in `rounds`
how many it kept.
"""

from __future__ import annotations

import os
from typing import Any

import numpy as np
import numpy.typing as npt

from fusion_automl.candidate import Spec
from fusion_automl.classical import CLASSICAL, SampleWeight
from fusion_automl.component import component_class, hyperparameters
from fusion_automl.deadline import Deadline
from fusion_automl.errors import OutOfTime

MIN_ROWS_TO_HOLD_OUT = 200
HELD_OUT_EVERY = 8

Rows = npt.NDArray[np.int64]


def check_time(deadline: Deadline) -> None:
    """Raises OutOfTime where nothing may be started any more."""
    if deadline.passed():
        raise OutOfTime("the deadline passed before the fit began")


def settled(spec: Spec, rounds: int) -> Spec:
    """The model of `spec` as it learns from all its rows for so many rounds, or as many as `spec` allows, instead of holding
    some out to know when to stop."""
    component = component_class(CLASSICAL, spec.name, where="classical")
    params = hyperparameters(component) | dict(spec.params)
    bound = {component.goes_by: min(rounds, params[component.goes_by]), "early_stopping": False}
    return Spec.of(spec.name, **(dict(spec.params) | bound))


def without_rounds(spec: Spec) -> Spec:
    """What `spec` and all that is `settled` of it have in common."""
    goes_by = getattr(component_class(CLASSICAL, spec.name, where="classical"), "goes_by", None)
    return Spec.of(spec.name, **{name: value for name, value in spec.params if name not in (goes_by, "early_stopping")})


def hold_out(
    labels: npt.NDArray[Any], *, is_classification: bool, seed: int, early_stopping: bool
) -> tuple[Rows, Rows]:
    """Splits row numbers into those to learn from and every eighth for early stopping; none without it or below 200 rows.

    The rows are drawn systematically along the sorted target, which stratifies classes and values alike. Every class
    stays among the rows to learn from.
    """
    everything = np.arange(len(labels))
    if not early_stopping or len(labels) < MIN_ROWS_TO_HOLD_OUT:
        return everything, everything[:0]
    shuffled = np.random.default_rng([seed, len(labels)]).permutation(len(labels))
    along = shuffled[np.argsort(labels[shuffled], kind="stable")]
    held = np.zeros(len(labels), dtype=bool)
    held[along[HELD_OUT_EVERY // 2 :: HELD_OUT_EVERY]] = True
    if is_classification:
        held &= np.isin(labels, labels[~held])
    return everything[~held], everything[held]


def weights_of(sample_weight: SampleWeight, rows: Rows) -> SampleWeight:
    """What these rows count; `None` where all rows count the same."""
    return None if sample_weight is None else sample_weight[rows]


def prediction_threads(num_rows: int) -> int:
    """1 for small batches, where starting threads costs more than it saves; from 1,000 rows as many as this process was
    told to have, else one a core."""
    if num_rows < 1000:
        return 1
    cores = len(os.sched_getaffinity(0))
    told = os.environ.get("OMP_NUM_THREADS", "")  # Ray sets it to the CPUs that it reserved for the process
    return min(cores, int(told)) if told.isdecimal() and int(told) else cores
