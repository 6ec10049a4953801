import numpy as np
import pytest

from fusion_automl.deadline import Deadline
from fusion_automl.evidence.compare import paired_bootstrap
from fusion_automl.metrics import METRICS

NEVER = Deadline.never()


def _predictions(noise: float, y: np.ndarray, seed: int) -> np.ndarray:
    return (y + np.random.default_rng(seed).normal(0, noise, len(y)))[:, None]


def test_a_clearly_better_model_is_told_apart() -> None:
    y = np.random.default_rng(0).normal(size=300)
    gain = paired_bootstrap(
        y, _predictions(0.1, y, 1), _predictions(1.0, y, 2), METRICS["rmse"], seed=0, deadline=NEVER
    )
    assert gain.value > 0.5 and gain.low > 0.5 and gain.p_value < 0.01
    assert gain.to_json()["test"] == "paired bootstrap over 300 rows, 1000 resamples"


def test_the_same_model_twice_has_no_gain() -> None:
    y = np.random.default_rng(0).normal(size=100)
    p = _predictions(0.5, y, 1)
    gain = paired_bootstrap(y, p, p, METRICS["mae"], seed=0, deadline=NEVER)
    assert (gain.value, gain.low, gain.high, gain.p_value) == (0.0, 0.0, 0.0, 1.0)


def test_false_alarms_are_about_as_rare_as_promised() -> None:
    """60 comparisons of equally good models at the 5 % level: 3 alarms expected, 10 would be a broken test."""
    alarms = 0
    for seed in range(60):
        y = np.random.default_rng(seed).normal(size=120)
        first, second = _predictions(1.0, y, 1000 + seed), _predictions(1.0, y, 2000 + seed)
        gain = paired_bootstrap(y, first, second, METRICS["rmse"], seed=seed, deadline=NEVER, resamples=200)
        alarms += gain.p_value < 0.05
    assert alarms < 10


def test_a_passed_deadline_still_draws_a_hundred() -> None:
    y = np.arange(50.0)
    gain = paired_bootstrap(
        y, y[:, None], y[:, None] + 1, METRICS["mae"], seed=0, deadline=Deadline.after(-1), resamples=5000
    )
    assert gain.value == pytest.approx(1.0)
    assert "100 resamples" in gain.test
