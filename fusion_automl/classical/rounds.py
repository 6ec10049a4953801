"""What learners that go round by round share: the clock, rows held out for early stopping, threads at prediction."""

from __future__ import annotations

import os
from typing import Any

import numpy as np
import numpy.typing as npt

from fusion_automl.classical import SampleWeight
from fusion_automl.deadline import Deadline
from fusion_automl.errors import OutOfTime

MIN_ROWS_TO_HOLD_OUT = 200
HELD_OUT_EVERY = 8

Rows = npt.NDArray[np.int64]


def check_time(deadline: Deadline) -> None:
    """Raises OutOfTime where nothing may be started any more."""
    if deadline.passed():
        raise OutOfTime("the deadline passed before the fit began")


def hold_out(labels: npt.NDArray[Any], *, is_classification: bool, seed: int) -> tuple[Rows, Rows]:
    """Splits row numbers into those to learn from and every eighth for early stopping; none below 200 rows.

    The rows are drawn systematically along the sorted target, which stratifies classes and values alike. Every class
    stays among the rows to learn from.
    """
    everything = np.arange(len(labels))
    if len(labels) < MIN_ROWS_TO_HOLD_OUT:
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
