"""When a candidate is given up between its folds, and what is said of it."""

from __future__ import annotations

import numpy as np
import pytest

from fusion_automl.candidate import Candidate, Spec
from fusion_automl.data.split import make_split
from fusion_automl.deadline import Deadline
from fusion_automl.errors import OutOfTime
from fusion_automl.evaluate import FoldResult, Problem, evaluate
from fusion_automl.metrics import DEFAULTS, METRICS
from fusion_automl.store.node import Ref
from tests.contracts.rows import mixed_dataset


@pytest.mark.parametrize(
    ("num_folds", "seconds", "said"),
    [
        (3, 6.0, r"no time for 2 folds of 5\.0 s more, with [56]\.\d s left"),
        (2, 3.0, r"no time for one fold of 5\.0 s more, with [23]\.\d s left"),
        (2, -1.0, r"no time for one fold of 5\.0 s more, with 0\.0 s left"),
    ],
)
def test_folds_for_which_there_is_no_time_are_told_in_words(
    num_folds: int, seconds: float, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    dataset = mixed_dataset("binary")
    problem = Problem(dataset, make_split(dataset, num_folds=num_folds, seed=0), METRICS[DEFAULTS["binary"]], 0)
    five_seconds = FoldResult(0, 0.5, np.zeros((1, 2)), Ref("node", "prediction"), (), 5.0)
    monkeypatch.setattr("fusion_automl.evaluate._fold_result", lambda *_: five_seconds)
    folds = evaluate(Candidate(Spec.of("baseline")), problem, None, deadline=Deadline.after(seconds), threads=1)  # type: ignore[arg-type]
    assert next(folds) is five_seconds
    with pytest.raises(OutOfTime, match=said):
        next(folds)
