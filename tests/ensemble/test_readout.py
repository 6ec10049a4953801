"""What is promised of a run: its score includes calibration and threshold without flattery, and no row reads itself."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fusion_automl.deadline import Deadline
from fusion_automl.ensemble.greedy import blend, select
from fusion_automl.ensemble.honest import CrossChoice, cross_choose
from fusion_automl.ensemble.readout import Judged, Readout, make_readout
from fusion_automl.metrics import METRICS, Metric
from fusion_automl.task import Task

NEVER = Deadline.never()
BINARY = Task("binary", "y", ("no", "yes"))
VALUES = Task("regression", "y")


def _library(seed: int, rows: int, *, skill: float) -> tuple[np.ndarray, np.ndarray]:
    """Out-of-fold probabilities `(6, rows, 2)` of a rare class by members that know `skill` of it, too sure of it."""
    rng = np.random.default_rng(seed)
    y = (rng.random(rows) < 0.25).astype(np.int64)
    odds = 2 * (skill * (y - 0.25) * 3 - 1.2 + rng.normal(0, 1, (6, rows)))
    p = 1 / (1 + np.exp(-odds))
    return np.stack([1 - p, p], axis=2), y


def _make(oof: np.ndarray, y: np.ndarray, metric: Metric, task: Task) -> tuple[Judged, np.ndarray, CrossChoice]:
    def choose(part: np.ndarray, targets: np.ndarray) -> np.ndarray:
        return select(part, targets, metric, size=6, deadline=NEVER)

    weights, cross = choose(oof, y), cross_choose(oof, y, choose)
    return make_readout(oof, y, weights, cross, task, metric, deadline=NEVER), weights, cross


def test_a_threshold_on_noise_is_not_counted_as_skill() -> None:
    metric = METRICS["balanced_accuracy"]
    scores = [_make(*_library(seed, 200, skill=0.0), metric, BINARY)[0].score for seed in range(12)]
    assert abs(np.mean(scores) - 0.5) < 0.02


def test_a_threshold_that_helps_is_kept_and_the_score_is_what_new_rows_give() -> None:
    metric = METRICS["f1"]
    judged, weights, _ = _make(*_library(0, 1500, skill=0.12), metric, BINARY)
    assert judged.readout.decision.weights and judged.facts["decision"]["gain"] > 0.02
    fresh, truth = _library(99, 1500, skill=0.12)
    mean = blend(weights, fresh)
    value = metric.value(truth, judged.readout.judged(mean, metric))
    assert value > metric.value(truth, mean) + 0.02
    assert judged.score == pytest.approx(value, abs=0.04)


@settings(max_examples=6, deadline=None)
@given(st.integers(0, 1000), st.sampled_from(["f1", "log_loss"]))
def test_the_targets_of_a_part_have_no_say_in_how_it_is_read(seed: int, name: str) -> None:
    """Turning a part's targets around, with the same choice elsewhere, leaves what the metric sees of its rows."""
    oof, y = _library(seed, 120, skill=0.8)
    seen: list[np.ndarray] = []

    def watch(targets: np.ndarray, predictions: np.ndarray) -> float:
        if len(targets) == len(y):
            seen.append(predictions.copy())
        return METRICS[name].value(targets, predictions)

    metric = Metric(name, METRICS[name].tasks, METRICS[name].greater_is_better, watch, METRICS[name].of_labels)
    part = np.arange(len(y)) % 4
    cross = CrossChoice(part, np.tile([0.5, 0.5, 0, 0, 0, 0], (4, 1)))
    turned = np.where(part == 2, 1 - y, y)
    for targets in (y, turned):
        make_readout(oof, targets, cross.weights[0], cross, BINARY, metric, deadline=NEVER)
    first, second = seen[0], seen[len(seen) // 2]
    np.testing.assert_array_equal(first[part == 2], second[part == 2])


class EndsAfter(Deadline):
    """Passes when it has been asked `questions` times."""

    questions = 900

    def passed(self) -> bool:
        EndsAfter.questions -= 1
        return EndsAfter.questions < 0


def test_time_that_ends_while_labels_are_tuned_ends_it_for_score_and_readout_alike() -> None:
    """There are about 1,000 questions: the parts are tuned by then, the whole is not."""
    oof, y = _library(0, 800, skill=0.12)
    cross = CrossChoice(np.arange(len(y)) % 4, np.tile([0.5, 0.5, 0, 0, 0, 0], (4, 1)))
    judged = make_readout(oof, y, cross.weights[0], cross, BINARY, METRICS["f1"], deadline=EndsAfter(np.inf))
    assert EndsAfter.questions < 0
    assert judged.readout.decision.weights == ()
    assert judged.facts["decision"] == {"weights": {}, "gain": 0.0, "tried": False}


def test_probabilities_that_are_too_sure_are_cooled_and_the_error_is_told_before_and_after() -> None:
    judged, _, _ = _make(*_library(1, 2000, skill=0.5), METRICS["roc_auc"], BINARY)
    facts = judged.facts["calibration"]
    assert facts["name"] in ("temperature", "isotonic")
    assert facts["error"] < facts["error_before"] / 2


def test_values_get_an_interval_and_their_score_stays() -> None:
    rng = np.random.default_rng(0)
    y = rng.normal(size=300)
    oof = y[None, :, None] + rng.normal(0, 0.5, (4, 300, 1))
    judged, _, cross = _make(oof, y, METRICS["rmse"], VALUES)
    np.testing.assert_array_equal(judged.honest, cross.predict(oof))
    assert judged.score == METRICS["rmse"].score(y, judged.honest)
    assert judged.facts["interval"]["coverage"] == pytest.approx(0.9, abs=0.03)


def test_a_readout_survives_json() -> None:
    judged, _, _ = _make(*_library(0, 800, skill=0.7), METRICS["f1"], BINARY)
    again = Readout.from_json(json.loads(json.dumps(judged.readout.to_json())))
    assert again == judged.readout
    assert Readout.from_json(Readout().to_json()) == Readout()
