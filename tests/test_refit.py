from pathlib import Path

import numpy as np
import pytest

from fusion_automl.candidate import Candidate, Spec
from fusion_automl.data.split import make_split
from fusion_automl.deadline import Deadline
from fusion_automl.ensemble.price import Prices
from fusion_automl.errors import OutOfTime
from fusion_automl.evaluate import Problem, evaluate
from fusion_automl.metrics import METRICS
from fusion_automl.refit import refit, refit_seconds
from fusion_automl.search.ledger import Report, Trial
from fusion_automl.store.disk import Store
from tests.contracts.rows import mixed_dataset

NEVER = Deadline.never()
TREE = Candidate(Spec.of("concat"), encoders=(Spec.of("ordinal"),), classical=Spec.of("decision_tree"))
LINE = Candidate(Spec.of("concat"), encoders=(Spec.of("onehot"),), classical=Spec.of("logistic"))


@pytest.fixture
def problem() -> Problem:
    dataset = mixed_dataset("binary", rows=60)
    return Problem(dataset, make_split(dataset, num_folds=3, seed=0), METRICS["roc_auc"], seed=0)


def _trial(candidate: Candidate, problem: Problem, store: Store) -> Trial:
    results = list(evaluate(candidate, problem, store, deadline=NEVER, threads=1))
    report = Report(
        candidate.key,
        "done",
        0.5,
        tuple(result.score for result in results),
        1,
        1,
        0,
        0,
        outputs=tuple(result.output for result in results),
        nodes=tuple(dict.fromkeys(node for result in results for node in result.nodes)),
    )
    return Trial(candidate, report)


@pytest.mark.parametrize("candidate", [TREE, Candidate(Spec.of("weighted"), members=(TREE, LINE))])
def test_one_model_learned_from_every_row(candidate: Candidate, problem: Problem, tmp_path: Path) -> None:
    store = Store(tmp_path)
    trial = _trial(candidate, problem, store)
    again = refit(trial, problem, store, deadline=NEVER, threads=1)
    assert len(trial.report.outputs) == 3 and len(again.report.outputs) == 1
    assert (again.candidate, again.report.score) == (candidate, 0.5)
    prices = Prices(store)
    assert prices.of([again]).size_mb < prices.of([trial]).size_mb, "one model in place of three"
    needed = store.ancestry([again.report.outputs[0].node])
    assert not set(needed) & set(trial.report.nodes)
    fold_encoders = {node for node in trial.report.nodes if store.node(node).table == "encoders"}
    rows = {store.node(node).rows for node in needed if store.node(node).table in ("encoders", "classical")}
    assert len(rows) == 1, "encoders and models all learned from the same rows"
    assert rows.isdisjoint(store.node(node).rows for node in fold_encoders)
    # A full tree that saw every row knows nearly all of them; one that missed a third does not.
    outputs = {}
    for key in needed:
        part = store.part(key)
        made = part.apply([outputs[ref] for ref in part.node.inputs], problem.dataset.frame)
        outputs.update({(key, name): values for name, values in made.items()})
    predictions = outputs[again.report.outputs[0]]
    assert problem.metric.score(problem.dataset.y, predictions) > 0.9
    assert np.isfinite(predictions).all()


def test_a_refit_is_expected_to_take_as_long_as_a_fold_with_more_rows(problem: Problem, tmp_path: Path) -> None:
    store = Store(tmp_path)
    trial = _trial(TREE, problem, store)
    spent = sum(
        store.stats(node)["fit_seconds"] + 60 * store.stats(node)["apply_seconds_per_row"]
        for node in trial.report.nodes
    )
    assert refit_seconds(trial, problem, store) == pytest.approx(spent / 3 * 60 / 40)


def test_no_refit_is_begun_after_the_deadline(problem: Problem, tmp_path: Path) -> None:
    store = Store(tmp_path)
    trial = _trial(TREE, problem, store)
    with pytest.raises(OutOfTime):
        refit(trial, problem, store, deadline=Deadline.after(-1), threads=1)
