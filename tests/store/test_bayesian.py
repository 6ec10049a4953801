import numpy as np
import numpy.typing as npt
import pytest

from fusion_automl.errors import SpaceError
from fusion_automl.metrics import METRICS
from fusion_automl.store.combiners.bayesian import WEIGHTS, Bayesian, Mixture
from fusion_automl.task import Task

CLASSES = Task("binary", "y", ("a", "b"))
VALUES = Task("regression", "y")
Floats = npt.NDArray[np.float64]


def _probabilities(margins: Floats) -> Floats:
    return np.column_stack([1 - 1 / (1 + np.exp(-margins)), 1 / (1 + np.exp(-margins))])


def _classes(rows: int, seed: int = 0) -> tuple[Floats, npt.NDArray[np.int64]]:
    """True log-odds, and classes drawn with them."""
    rng = np.random.default_rng(seed)
    margins = rng.normal(scale=2, size=rows)
    return margins, (rng.random(rows) < _probabilities(margins)[:, 1]).astype(np.int64)


@pytest.mark.parametrize("weights", WEIGHTS)
def test_the_better_member_gets_nearly_all_the_weight(weights: str) -> None:
    margins, y = _classes(2000)
    noise = np.random.default_rng(1).normal(scale=2, size=2000)
    mixture = Bayesian(weights).fit([_probabilities(noise), _probabilities(margins)], y, task=CLASSES, seed=0)
    assert mixture.weights[1] > 0.97 and mixture.weights.sum() == pytest.approx(1)


def test_stacking_mixes_members_that_are_right_about_different_rows_where_pseudo_bma_picks_one() -> None:
    """Yao et al. (2018): weights by probability go to the nearest single model, stacking to the best mixture."""
    rng = np.random.default_rng(0)
    y = np.where(rng.random(1000) < 0.6, -3.0, 3.0) + rng.normal(scale=0.1, size=1000)
    members = [np.full((1000, 1), -3.0), np.full((1000, 1), 3.0)]
    stacking = Bayesian("stacking").fit(members, y, task=VALUES, seed=0)
    bma = Bayesian("pseudo_bma").fit(members, y, task=VALUES, seed=0)
    assert 0.5 < stacking.weights[0] < 0.8
    assert bma.weights[0] > 0.9


def test_overconfident_members_are_cooled_down() -> None:
    margins, y = _classes(3000)
    new, truth = _classes(3000, seed=1)
    mixture = Bayesian().fit([_probabilities(3 * margins)] * 2, y, task=CLASSES, seed=0)
    np.testing.assert_allclose(mixture.scales, 3, rtol=0.15)
    loss = METRICS["log_loss"]
    combined = mixture.combine([_probabilities(3 * new)] * 2)
    assert loss.value(truth, combined) == pytest.approx(loss.value(truth, _probabilities(new)), abs=0.01)


def test_few_rows_move_the_temperature_little() -> None:
    mixture = Bayesian().fit([_probabilities(np.array([2.0, -2.0]))] * 2, np.array([1, 0]), task=CLASSES, seed=0)
    assert (mixture.scales > 0.3).all() and (mixture.weights > 0.3).all()


@pytest.mark.parametrize("freedom", [2.5, 1000])
@pytest.mark.parametrize("level", [0.5, 0.9])
def test_intervals_hold_as_many_targets_as_they_say(level: float, freedom: float) -> None:
    """Errors are heavy-tailed or nearly Gaussian; intervals are learned on half the rows and counted on the others."""
    rng = np.random.default_rng(2)
    truth = rng.normal(scale=10, size=4000)
    members = [(truth + scale * rng.standard_t(freedom, size=4000))[:, None] for scale in (1.0, 2.0)]
    y = truth + rng.normal(scale=0.5, size=4000)
    mixture = Bayesian().fit([member[:2000] for member in members], y[:2000], task=VALUES, seed=0)
    low, high = mixture.interval([member[2000:] for member in members], level).T
    assert ((low < y[2000:]) & (y[2000:] < high)).mean() == pytest.approx(level, abs=0.07)


def test_a_mixture_of_two_students_has_the_known_moments_and_quantiles() -> None:
    mixture = Mixture(np.array([0.5, 0.5]), np.array([1.0, 1.0]), False)
    members = [np.array([[-30.0]]), np.array([[30.0]])]
    outputs = mixture.outputs(members)
    assert outputs["prediction"].tolist() == [[0.0]]
    assert outputs["deviation"][0, 0] == pytest.approx(np.sqrt(900 + 2))  # between, and 4 / 2 within
    low, high = mixture.interval(members, 0.9)[0]
    assert low == pytest.approx(-high, abs=1e-6)
    assert high == pytest.approx(30 + 1.5332, abs=1e-3)  # the upper 5 % are a tenth of the upper one


def test_one_row_to_learn_from_is_survived() -> None:
    for weights in WEIGHTS:
        mixture = Bayesian(weights).fit([np.array([[1.0]]), np.array([[2.0]])], np.array([1.0]), task=VALUES, seed=0)
        assert np.isfinite(mixture.deviation([np.array([[1.0]]), np.array([[2.0]])])).all()


def test_unknown_weights_are_refused() -> None:
    with pytest.raises(SpaceError, match=r"unknown weights 'stackin'\. Did you mean 'stacking'"):
        Bayesian("stackin")
