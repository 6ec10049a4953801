import numpy as np
import pytest

from fusion_automl.deadline import Deadline
from fusion_automl.ensemble.decide import Decision, decide
from fusion_automl.errors import OutOfTime
from fusion_automl.metrics import METRICS

NEVER = Deadline.never()


def _rare(seed: int, rows: int, classes: int = 2) -> tuple[np.ndarray, np.ndarray]:
    """Calibrated probabilities of classes of which the later are the rarer."""
    rng = np.random.default_rng(seed)
    logs = rng.normal(0, 1.0, (rows, classes)) - 1.2 * np.arange(classes)
    p = np.exp(logs) / np.exp(logs).sum(axis=1, keepdims=True)
    y = (rng.random(rows)[:, None] > np.cumsum(p, axis=1)).sum(axis=1)
    return p, y


@pytest.mark.parametrize("name", ["f1", "balanced_accuracy"])
def test_a_rare_class_gets_a_lower_threshold_that_helps_on_new_rows(name: str) -> None:
    metric = METRICS[name]
    p, y = _rare(0, 2000)
    found = decide(p, y, metric, deadline=NEVER)
    assert found.weights[1] > found.weights[0]
    fresh, truth = _rare(1, 2000)
    assert metric.value(truth, found.apply(fresh)) > metric.value(truth, fresh) + 0.03


def test_many_classes_are_weighted_by_their_rarity() -> None:
    metric = METRICS["balanced_accuracy"]
    p, y = _rare(0, 2000, classes=4)
    found = decide(p, y, metric, deadline=NEVER)
    assert list(found.weights) == sorted(found.weights)
    fresh, truth = _rare(1, 2000, classes=4)
    assert metric.value(truth, found.apply(fresh)) > metric.value(truth, fresh) + 0.03


def test_the_best_threshold_for_balanced_accuracy_is_the_share_of_the_class() -> None:
    p, y = _rare(3, 20_000)
    against, for_it = decide(p, y, METRICS["balanced_accuracy"], deadline=NEVER).weights
    assert against / (against + for_it) == pytest.approx(y.mean(), abs=0.04)


def test_accuracy_of_calibrated_probabilities_needs_no_threshold() -> None:
    kept = [decide(*_rare(seed, 400), METRICS["accuracy"], deadline=NEVER).weights for seed in range(10)]
    assert kept.count(()) >= 8


def test_without_time_it_says_so() -> None:
    with pytest.raises(OutOfTime, match="while class weights were tried"):
        decide(*_rare(0, 200), METRICS["f1"], deadline=Deadline.after(-1))


def test_no_weights_change_nothing_and_weights_survive_json() -> None:
    p, _ = _rare(0, 20)
    np.testing.assert_array_equal(Decision().apply(p), p)
    found = Decision((0.2, 0.8))
    assert Decision.from_json(found.to_json()) == found
    np.testing.assert_allclose(found.apply(p).sum(axis=1), 1)
