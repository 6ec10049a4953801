import numpy as np

from fusion_automl.ensemble.honest import best_single, cross_predict
from fusion_automl.metrics import METRICS


def test_picking_the_luckiest_of_many_coin_flips_is_not_counted_as_skill() -> None:
    metric = METRICS["roc_auc"]
    flattered, honest = [], []
    for seed in range(20):
        rng = np.random.default_rng(seed)
        y = rng.integers(0, 2, 300)
        p = rng.random((50, 300))
        oof = np.stack([1 - p, p], axis=2)
        flattered.append(max(metric.score(y, candidate) for candidate in oof))
        honest.append(metric.score(y, cross_predict(oof, y, best_single(metric), seed=seed)))
    assert np.mean(flattered) > 0.56
    assert abs(np.mean(honest) - 0.5) < 0.025


def test_a_row_does_not_choose_who_predicts_it() -> None:
    """Turning the truth of one row around leaves its own prediction as it was."""
    rng = np.random.default_rng(1)
    y = rng.normal(size=40)
    oof = rng.normal(size=(5, 40, 1))
    seen: list[np.ndarray] = []

    def choose(part: np.ndarray, targets: np.ndarray) -> np.ndarray:
        seen.append(targets)
        return best_single(METRICS["rmse"])(part, targets)

    cross_predict(oof, y, choose)
    assert len(seen) == 5
    for value in y:
        assert sum(value in targets for targets in seen) == 4


def test_the_only_candidate_predicts_every_row() -> None:
    oof = np.random.default_rng(2).normal(size=(1, 7, 1))
    np.testing.assert_array_equal(cross_predict(oof, np.arange(7.0), best_single(METRICS["mae"])), oof[0])
