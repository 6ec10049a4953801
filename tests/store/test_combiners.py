import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fusion_automl.metrics import METRICS
from fusion_automl.store.combiners.linear import Stack
from fusion_automl.store.combiners.mean import Average, Weighted
from fusion_automl.task import Task

CLASSES = Task("multiclass", "y", ("a", "b", "c"))
VALUES = Task("regression", "y")


def _members(seed: int, rows: int = 120) -> tuple[list[np.ndarray], np.ndarray]:
    """Three members, the first good, the last noise."""
    rng = np.random.default_rng(seed)
    y = rng.integers(0, 3, rows)
    truth = np.eye(3)[y]
    return [truth * weight + rng.dirichlet(np.ones(3), rows) * (1 - weight) for weight in (0.6, 0.3, 0.0)], y


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 10_000))
def test_weights_are_convex_and_prefer_the_better_member(seed: int) -> None:
    members, y = _members(seed)
    weights = Weighted().fit(members, y, task=CLASSES, seed=0).weights
    assert (weights >= 0).all() and weights.sum() == pytest.approx(1)
    assert weights[0] == max(weights)


def test_an_average_is_the_mean() -> None:
    members, y = _members(0)
    np.testing.assert_allclose(Average(3).fit([], y, task=CLASSES, seed=0).combine(members), np.mean(members, axis=0))


def test_a_stack_of_classes_beats_the_plain_mean_where_members_differ() -> None:
    members, y = _members(1, 600)
    meta = Stack(C=1.0).fit([member[:300] for member in members], y[:300], task=CLASSES, seed=0)
    rest = [member[300:] for member in members]
    loss = METRICS["log_loss"]
    assert loss.value(y[300:], meta.combine(rest)) < loss.value(y[300:], np.mean(rest, axis=0))


def test_a_stack_knows_a_class_it_never_saw_as_nearly_impossible() -> None:
    members, y = _members(2)
    meta = Stack().fit([member[y < 2] for member in members], y[y < 2], task=CLASSES, seed=0)
    combined = meta.combine(members)
    assert combined.shape == (120, 3) and combined[:, 2].max() < 0.01
    np.testing.assert_allclose(combined.sum(axis=1), 1)


def test_a_stack_of_values_stays_near_the_mean_of_its_members_when_rows_are_few() -> None:
    rng = np.random.default_rng(3)
    y = rng.normal(100, 20, 12)
    members = [(y + rng.normal(0, 5, 12))[:, None] for _ in range(2)]
    combined = Stack().fit(members, y, task=VALUES, seed=0).combine(members)
    assert np.abs(combined - np.mean(members, axis=0)).max() < 10
