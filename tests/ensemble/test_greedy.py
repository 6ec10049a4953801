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
@given(st.integers(0, 10_000), st.integers(1, 8), st.sampled_from(["log_loss", "brier"]))
def test_weights_are_convex_and_never_worse_than_the_best_member(seed: int, candidates: int, name: str) -> None:
    oof, y = _library(seed, candidates)
    metric = METRICS[name]
    weights = select(oof, y, metric, size=10, deadline=NEVER)
    assert (weights >= 0).all() and np.isclose(weights.sum(), 1)
    best = max(metric.score(y, candidate) for candidate in oof)
    assert metric.score(y, blend(weights, oof)) >= best - 1e-9


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 10_000), st.sampled_from(["roc_auc", "average_precision", "f1", "accuracy"]))
def test_ranks_and_hits_are_chosen_with_log_loss_beside_them(seed: int, name: str) -> None:
    """By its goal, ranks with 0.3 of log loss, no blend is worse than its best member."""
    oof, y = _library(seed, 6)
    ranks = METRICS[name if name == "average_precision" else "roc_auc"]

    def goal(predictions: np.ndarray) -> float:
        return ranks.score(y, predictions) + 0.3 * METRICS["log_loss"].score(y, predictions)

    weights = select(oof, y, METRICS[name], size=10, deadline=NEVER)
    assert goal(blend(weights, oof)) >= max(map(goal, oof)) - 1e-9


def test_where_no_score_is_finite_the_first_member_stands() -> None:
    oof, y = _library(0, 3)
    assert select(oof, np.zeros_like(y), METRICS["roc_auc"], size=5, deadline=NEVER).tolist() == [1, 0, 0]


def test_many_rows_are_thinned_and_the_same_member_wins() -> None:
    oof, y = _library(2, 3, rows=120_000)
    oof[1] = 0.5 * oof[1] + 0.5 * np.eye(2)[y]
    assert select(oof, y, METRICS["roc_auc"], size=3, deadline=NEVER)[1] > 0.9


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
    weights = select(oof, y, METRICS["brier"], size=10, deadline=Deadline.after(-1))
    best = int(np.argmax([METRICS["brier"].score(y, candidate) for candidate in oof]))
    assert weights[best] == 1.0
