import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from fusion_automl.deadline import Deadline
from fusion_automl.ensemble.greedy import blend, select
from fusion_automl.metrics import METRICS

NEVER = Deadline.never()


def _library(seed: int, candidates: int, rows: int = 80) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    y = rng.integers(0, 2, rows)
    p = np.clip(0.5 + (y - 0.5) * 0.3 + rng.normal(0, 0.4, (candidates, rows)), 0.01, 0.99)
    return np.stack([1 - p, p], axis=2), y


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 8), st.sampled_from(["roc_auc", "log_loss", "brier"]))
def test_weights_are_convex_and_never_worse_than_the_best_member(seed: int, candidates: int, name: str) -> None:
    oof, y = _library(seed, candidates)
    metric = METRICS[name]
    weights = select(oof, y, metric, size=10, deadline=NEVER)
    assert (weights >= 0).all() and np.isclose(weights.sum(), 1)
    best = max(metric.score(y, candidate) for candidate in oof)
    assert metric.score(y, blend(weights, oof)) >= best - 1e-9


def test_two_noisy_halves_are_better_together() -> None:
    oof, y = _library(3, 6, rows=400)
    weights = select(oof, y, METRICS["roc_auc"], size=10, deadline=NEVER)
    assert (weights > 0).sum() >= 2


def test_a_broken_member_is_never_chosen() -> None:
    oof, y = _library(0, 3)
    oof[1] = np.nan
    assert select(oof, y, METRICS["log_loss"], size=5, deadline=NEVER)[1] == 0


def test_a_passed_deadline_leaves_the_best_single_member() -> None:
    oof, y = _library(1, 5)
    weights = select(oof, y, METRICS["roc_auc"], size=10, deadline=Deadline.after(-1))
    best = int(np.argmax([METRICS["roc_auc"].score(y, candidate) for candidate in oof]))
    assert weights[best] == 1.0
