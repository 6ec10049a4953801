"""Decision values become probabilities that mean what they say."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.linear_model import RidgeClassifier
from sklearn.naive_bayes import GaussianNB

from fusion_automl.classical.calibration import assign_folds, calibrate, decision_values
from fusion_automl.measures import log_loss


def test_two_classes_reach_the_log_loss_of_the_true_probabilities() -> None:
    rng = np.random.default_rng(0)
    X = rng.normal(size=(4000, 1))
    truth = 1 / (1 + np.exp(-2 * X[:, 0] + 1))
    y = (rng.random(4000) < truth).astype(np.int64)
    estimator = RidgeClassifier()
    calibration = calibrate(estimator, X, y, seed=0)
    found = calibration.probabilities(decision_values(estimator.fit(X, y), X))
    assert np.abs(found[:, 1] - truth).max() < 0.05


def test_overconfident_naive_bayes_is_tempered() -> None:
    rng = np.random.default_rng(0)
    y = rng.integers(0, 3, 600)
    X = np.repeat(rng.normal(size=(600, 1)) + 0.7 * y[:, None], 30, axis=1)  # one fact, told 30 times
    estimator = GaussianNB()
    calibration = calibrate(estimator, X, y, seed=0)
    estimator.fit(X, y)
    before, after = estimator.predict_proba(X), calibration.probabilities(decision_values(estimator, X))
    assert log_loss(y, before) > 2.0
    assert log_loss(y, after) < 1.0


def test_noise_is_told_apart_from_knowledge() -> None:
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(300, 20)), (rng.random(300) < 0.3).astype(np.int64)
    estimator = RidgeClassifier()
    found = calibrate(estimator, X, y, seed=0).probabilities(decision_values(estimator.fit(X, y), X))
    assert found[:, 1].mean() == pytest.approx(y.mean(), abs=0.03)
    assert found[:, 1].std() < 0.15


def test_folds_are_stratified_and_the_only_row_of_a_class_is_never_held_out() -> None:
    y = np.array([0] * 30 + [1] * 9 + [2] * 2 + [3], dtype=np.int64)
    fold = assign_folds(y, seed=0)
    assert [np.bincount(fold[y == 0], minlength=3).tolist(), np.bincount(fold[y == 1]).tolist()] == [[10] * 3, [3] * 3]
    assert len(set(fold[y == 2])) == 2
    assert fold[y == 3].tolist() == [-1]
