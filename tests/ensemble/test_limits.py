"""Prices of trials, and ensembles and single trials that keep limits on them."""

import math
from pathlib import Path

import numpy as np
import pytest

from fusion_automl.candidate import Candidate, Spec
from fusion_automl.data.split import make_split
from fusion_automl.ensemble.build import build_ensemble, build_single, contenders
from fusion_automl.ensemble.field import Field, make_field
from fusion_automl.ensemble.honest import best_cheap
from fusion_automl.ensemble.price import Limits, Price, Prices
from fusion_automl.errors import UserError
from fusion_automl.evaluate import Problem
from fusion_automl.metrics import METRICS
from fusion_automl.search.ledger import Ledger, Report
from fusion_automl.store.disk import Store, write_node
from fusion_automl.store.node import Node, Ref
from fusion_automl.target import FittedTarget
from tests.contracts.rows import mixed_dataset

NUM_FOLDS = 2
ENCODER = Node("encoders", Spec.of("ordinal"), "shared")


def _write(store: Store, node: Node, *, ms: float, mb: float) -> None:
    folder = store.folder / node.key
    folder.mkdir(parents=True, exist_ok=True)
    stats = {"apply_seconds_per_row": ms / 1e6, "apply_seconds_one_row": ms / 1e3, "state_bytes": mb * 1e6}
    write_node(folder, node, FittedTarget(), stats)


@pytest.fixture
def field(tmp_path: Path) -> Field:
    """Five trials, the dearer the better: number i costs 4^i ms and 10 MB a fold, on an encoder of 1 ms that all share."""
    dataset = mixed_dataset("binary", rows=200)
    problem = Problem(dataset, make_split(dataset, num_folds=NUM_FOLDS, seed=0), METRICS["roc_auc"], seed=0)
    ledger, store = Ledger(tmp_path), Store(tmp_path / "store")
    _write(store, ENCODER, ms=1, mb=1)
    rng = np.random.default_rng(0)
    for index in range(5):
        tree = Spec.of("decision_tree", max_depth=index + 1)
        candidate = Candidate(Spec.of("concat"), encoders=(Spec.of("ordinal"),), classical=tree)
        heads = [
            Node("classical", tree, f"fold {fold}", inputs=(Ref(ENCODER.key, "matrix"),)) for fold in range(NUM_FOLDS)
        ]
        for head in heads:
            _write(store, head, ms=4**index, mb=10)
        predictions = []
        for fold in problem.folds:
            margin = (2 * dataset.y[fold.valid] - 1) * (0.3 + 0.2 * index) + rng.normal(size=len(fold.valid))
            p = 1 / (1 + np.exp(-margin))
            predictions.append(np.column_stack([1 - p, p]))
        outputs = tuple(Ref(head.key, "prediction") for head in heads)
        report = Report(candidate.key, "done", 0.5, (0.5,) * NUM_FOLDS, 1, 1, 0, 0, outputs=outputs)
        ledger.record(candidate, report, predictions)
    return make_field(problem, ledger)


@pytest.fixture
def prices(tmp_path: Path) -> Prices:
    return Prices(Store(tmp_path / "store"))


def test_shared_parts_cost_once(field: Field, prices: Prices) -> None:
    dearest, next_to_it = field.trials[:2]
    assert prices.of([dearest]).latency_ms == pytest.approx(1 + 2 * 256)
    assert prices.of([dearest, next_to_it]).latency_ms == pytest.approx(1 + 2 * 256 + 2 * 64)
    assert prices.of([dearest, next_to_it]).size_mb == pytest.approx(1 + 4 * 10)
    assert prices.of_one_fold([dearest]).latency_ms == pytest.approx(1 + 256)


def test_without_limits_the_best_leads(field: Field, prices: Prices) -> None:
    ensemble = build_ensemble(field, prices.of, Limits(), seconds=30)
    assert field.trials[0] in ensemble.trials


@pytest.mark.parametrize("limits", [Limits(latency_ms=180), Limits(latency_ms=40), Limits(size_mb=45), Limits(4, 22)])
def test_an_ensemble_keeps_its_limits_with_the_best_that_does(field: Field, prices: Prices, limits: Limits) -> None:
    ensemble = build_ensemble(field, prices.of, limits, seconds=30)
    assert limits.keep(prices.of(ensemble.trials))
    assert sum(weight for _, weight in ensemble.members) == pytest.approx(1)
    best_alone = next(trial for trial in field.trials if limits.keep(prices.of([trial])))
    chosen = sum(weight * field.oof([trial])[0] for trial, weight in ensemble.members)
    problem = field.problem
    assert problem.metric.score(problem.y, chosen) >= field.score_of(best_alone) - 1e-9


def test_where_nothing_keeps_the_limits_the_nearest_is_taken(field: Field, prices: Prices) -> None:
    limits = Limits(latency_ms=0.5)
    ensemble = build_ensemble(field, prices.of, limits, seconds=30)
    assert [prices.of([trial]).latency_ms for trial in ensemble.trials] == pytest.approx([3])
    assert not limits.keep(prices.of(ensemble.trials))


def test_a_single_trial_keeps_the_limits_of_one_fold(field: Field, prices: Prices) -> None:
    single = build_single(field, contenders(field), prices.of_one_fold, Limits(latency_ms=20), seconds=5)
    assert prices.of_one_fold(single.trials).latency_ms <= 20
    assert len(single.members) == 1 and 0.5 < single.score < 1


def test_of_those_alike_but_for_noise_the_best_of_the_cheap_is_chosen() -> None:
    rng = np.random.default_rng(1)
    y = rng.integers(0, 2, 400)

    def predictions(strength: float, noise: np.ndarray) -> np.ndarray:
        p = 1 / (1 + np.exp(-(2 * y - 1) * strength - noise))
        return np.column_stack([1 - p, p])

    noise = rng.normal(size=400)
    best, alike, poor = (
        predictions(2.0, noise),
        predictions(2.0, noise + rng.normal(0, 0.05, 400)),
        predictions(0, noise),
    )
    oof = np.stack([best, alike, poor])
    choose = best_cheap(METRICS["roc_auc"], np.array([100.0, 5.0, 0.1]))
    assert choose(oof, y).tolist() == [0, 1, 0]
    hardly_dearer = best_cheap(METRICS["roc_auc"], np.array([9.0, 5.0, 0.1]))
    scores = [METRICS["roc_auc"].score(y, candidate) for candidate in oof]
    assert hardly_dearer(oof, y).argmax() == int(np.argmax(scores))


@pytest.mark.parametrize(("limits", "option"), [((0, 1), "--max-latency-ms"), ((1, -2), "--max-size-mb")])
def test_limits_that_nothing_could_keep_are_refused(limits: tuple[float, float], option: str) -> None:
    with pytest.raises(UserError, match=f"{option}: got .*, expected .*more than 0"):
        Limits(*limits)


def test_the_load_is_the_share_of_the_tightest_limit() -> None:
    price = Price(row_seconds=0.1, latency_ms=5, size_mb=30)
    assert Limits().load(price) == 0
    assert Limits(latency_ms=10, size_mb=20).load(price) == pytest.approx(1.5)
    assert Limits(row_seconds=0.05, latency_ms=math.inf).load(price) == pytest.approx(2)
