import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fusion_automl.ensemble.calibrate import Calibration, calibrate, calibration_error
from fusion_automl.measures import log_loss, roc_auc


def _rows(seed: int, rows: int, sharpness: float, classes: int = 2) -> tuple[np.ndarray, np.ndarray]:
    """Probabilities whose logarithms are `sharpness` times too large, and the classes that came."""
    rng = np.random.default_rng(seed)
    logs = rng.normal(0, 1.5, (rows, classes))
    true = np.exp(logs) / np.exp(logs).sum(axis=1, keepdims=True)
    y = (rng.random(rows)[:, None] > np.cumsum(true, axis=1)).sum(axis=1)
    said = np.exp(sharpness * logs)
    return said / said.sum(axis=1, keepdims=True), y


@pytest.mark.parametrize("classes", [2, 4])
def test_overconfidence_is_cooled_to_what_comes_true(classes: int) -> None:
    p, y = _rows(0, 3000, 2.0, classes)
    found = calibrate(p, y)
    assert found.name == "temperature" and found.temperature == pytest.approx(2.0, abs=0.2)
    fresh, truth = _rows(1, 3000, 2.0, classes)
    assert log_loss(truth, found.apply(fresh)) < log_loss(truth, fresh) - 0.05
    assert calibration_error(found.apply(fresh), truth) < calibration_error(fresh, truth) / 3


@pytest.mark.parametrize("seed", range(5))
def test_what_is_right_already_stays_as_it_is(seed: int) -> None:
    p, y = _rows(seed, 300, 1.0)
    assert calibrate(p, y) == Calibration()


def _bent() -> tuple[np.ndarray, np.ndarray]:
    """Probabilities of the second class squared: no temperature mends that."""
    p, y = _rows(2, 6000, 1.0)
    second = p[:, 1] ** 3
    return np.stack([1 - second, second], axis=1), y


def test_a_bend_that_no_temperature_mends_is_mended_by_steps_and_rows_keep_their_order() -> None:
    p, y = _bent()
    found = calibrate(p[::2], y[::2])
    assert found.name == "isotonic"
    fresh, truth = p[1::2], y[1::2]
    assert calibration_error(found.apply(fresh), truth) < 0.03 < calibration_error(fresh, truth)
    assert roc_auc(truth, found.apply(fresh)) == roc_auc(truth, fresh)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10_000), st.sampled_from([0.3, 1.0, 3.0]))
def test_a_calibration_keeps_order_and_sums_and_survives_json(seed: int, sharpness: float) -> None:
    p, y = _rows(seed, 200, sharpness)
    p[:5] = [[1.0, 0.0], [0.0, 1.0], [1.0, 0.0], [0.5, 0.5], [0.5, 0.5]]
    found = calibrate(p, y)
    bent = found.apply(p)
    assert np.isfinite(bent).all() and (bent >= 0).all()
    np.testing.assert_allclose(bent.sum(axis=1), 1)
    assert (np.diff(bent[np.argsort(p[:, 1]), 1]) >= -1e-12).all()
    again = Calibration.from_json(json.loads(json.dumps(found.to_json())))
    np.testing.assert_array_equal(again.apply(p), bent)


def test_the_error_is_the_distance_between_said_and_come_true() -> None:
    p = np.repeat([[0.8, 0.2]], 100, axis=0)
    y = np.r_[np.ones(50, dtype=int), np.zeros(50, dtype=int)]
    assert calibration_error(p, y, num_bins=1) == pytest.approx(0.3)
