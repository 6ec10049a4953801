from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fusion_automl.candidate import Spec
from fusion_automl.component import build, fitted_class
from fusion_automl.metrics import METRICS
from fusion_automl.store.combiners import COMBINERS
from fusion_automl.store.combiners.experts import ProductOfExperts
from fusion_automl.store.combiners.linear import Stack
from fusion_automl.store.combiners.mean import Average, Weighted
from fusion_automl.store.combiners.vote import Vote
from fusion_automl.task import Task

CLASSES = Task("multiclass", "y", ("a", "b", "c"))
TWO = Task("binary", "y", ("a", "b"))
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


def test_a_vote_follows_the_majority_and_ranks_by_the_mean() -> None:
    members = [np.array([[0.45, 0.55], [0.4, 0.6]]), np.array([[0.45, 0.55], [0.1, 0.9]]), np.array([[1.0, 0], [1, 0]])]
    combined = Vote().fit([], np.zeros(0), task=TWO, seed=0).combine(members)
    assert combined.argmax(axis=1).tolist() == [1, 1]  # the mean of the first row says otherwise
    np.testing.assert_allclose(combined[0], 0.8 * np.array([1, 2]) / 3 + 0.2 * np.mean(members, axis=0)[0])
    assert combined[1, 1] > combined[0, 1]


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 10_000), st.integers(2, 5))
def test_no_refinement_overturns_a_majority(seed: int, num_members: int) -> None:
    rng = np.random.default_rng(seed)
    members = [rng.dirichlet(np.full(3, 0.3), 50) for _ in range(num_members)]
    votes = sum(np.eye(3)[member.argmax(axis=1)] for member in members)
    combined = Vote().fit([], np.zeros(0), task=CLASSES, seed=0).combine(members)
    np.testing.assert_allclose(combined.sum(axis=1), 1)
    assert (votes[np.arange(50), combined.argmax(axis=1)] == votes.max(axis=1)).all()


def test_a_vote_of_values_is_their_median() -> None:
    members = [np.array([[value]]) for value in (1.0, 2.0, 100.0)]
    assert Vote().fit([], np.zeros(0), task=VALUES, seed=0).combine(members).tolist() == [[2.0]]


def test_the_product_of_two_gaussians_is_the_precision_weighted_mean() -> None:
    rng = np.random.default_rng(0)
    y = rng.normal(size=5000)
    members = [(y + rng.normal(scale=scale, size=5000))[:, None] for scale in (1.0, 2.0)]
    product = ProductOfExperts().fit(members, y, task=VALUES, seed=0)
    np.testing.assert_allclose(product.exponents, [0.8, 0.2], atol=0.02)  # 1 / 1 against 1 / 4
    assert product.combine([np.array([[10.0]]), np.array([[20.0]])])[0, 0] == pytest.approx(12, abs=0.2)


def test_equal_experts_give_the_normalised_geometric_mean() -> None:
    product = ProductOfExperts("equal", members=2).fit([], np.zeros(0), task=TWO, seed=0)
    combined = product.combine([np.array([[0.2, 0.8]]), np.array([[0.5, 0.5]])])
    np.testing.assert_allclose(combined, [[1 / 3, 2 / 3]])
    sure = product.combine([np.array([[0.0, 1.0]]), np.array([[1.0, 0.0]])])
    np.testing.assert_allclose(sure, [[0.5, 0.5]])


def test_independent_experts_are_multiplied_and_noise_is_left_out() -> None:
    """Two members that each know an independent half of the log-odds: the true exponents are 1, 1 and 0."""
    rng = np.random.default_rng(0)
    margins = rng.normal(scale=1.5, size=(4000, 2))
    y = (rng.random(4000) < 1 / (1 + np.exp(-margins.sum(axis=1)))).astype(np.int64)
    members = [
        np.column_stack([1 / (1 + np.exp(margin)), 1 / (1 + np.exp(-margin))])
        for margin in (margins[:, 0], margins[:, 1], rng.normal(size=4000))
    ]
    exponents = ProductOfExperts(shrinkage=0.0).fit(members, y, task=TWO, seed=0).exponents
    np.testing.assert_allclose(exponents, [1, 1, 0], atol=0.1)


@pytest.mark.parametrize("name", COMBINERS)
@pytest.mark.parametrize("task", [CLASSES, VALUES], ids=["classes", "values"])
def test_what_was_saved_combines_the_same(name: str, task: Task, tmp_path: Path) -> None:
    members, y = _members(5)
    if task is VALUES:
        members, y = [member[:, :1] * 10 for member in members], y.astype(np.float64)
    params = {"average": {"members": 3}}.get(name, {})
    fitted = build(COMBINERS, Spec.of(name, **params), where="fusion").fit(members, y, task=task, seed=0)
    fitted.save(tmp_path)
    again = fitted_class(COMBINERS, name, where="fusion").load(tmp_path).outputs(members)
    assert again.keys() == fitted.outputs(members).keys()
    for output, values in fitted.outputs(members).items():
        np.testing.assert_array_equal(again[output], values)
        assert np.isfinite(values).all() and values.shape == (120, task.num_outputs)
