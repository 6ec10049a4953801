import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fusion_automl.target import FittedTarget, fit_target, is_skewed


@settings(max_examples=50, deadline=None)
@given(st.lists(st.floats(-1e6, 1e6), min_size=2, max_size=30))
def test_bending_and_bending_back_is_the_identity_on_training_targets(values: list[float]) -> None:
    y = np.array(values)
    bend = fit_target("log", y)
    assert FittedTarget.from_json(bend.to_json()) == bend
    np.testing.assert_allclose(bend.inverse(bend.forward(y)), y, rtol=1e-6, atol=1e-6 * (1 + np.abs(y).max()))


def test_a_wild_prediction_comes_back_near_the_training_range() -> None:
    bend = fit_target("log", np.array([1.0, 10.0, 100.0]))
    assert bend.inverse(np.array([50.0]))[0] == pytest.approx(1000.0)
    assert bend.inverse(np.array([-50.0]))[0] == pytest.approx(0.1)


def test_prices_are_skewed_and_heights_are_not() -> None:
    rng = np.random.default_rng(0)
    assert is_skewed(np.exp(rng.normal(12, 1, 500)))
    assert not is_skewed(rng.normal(170, 10, 500))
