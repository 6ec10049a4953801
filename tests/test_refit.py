from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from statistics import median

import numpy as np
import pytest

from fusion_automl.candidate import Candidate, Spec
from fusion_automl.data.split import make_split
from fusion_automl.deadline import Deadline
from fusion_automl.ensemble.build import Ensemble
from fusion_automl.ensemble.price import Prices
from fusion_automl.errors import FitError, OutOfTime
from fusion_automl.evaluate import Problem, evaluate
from fusion_automl.fusion.bench import Bench
from fusion_automl.metrics import METRICS
from fusion_automl.refit import refit, refit_members, refit_seconds
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


def _trial(candidate: Candidate, problem: Problem, store: Store, *, deadline: Deadline = NEVER) -> Trial:
    results = list(evaluate(candidate, problem, store, deadline=deadline, threads=1))
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


BOOST = Candidate(Spec.of("concat"), encoders=(Spec.of("ordinal"),), classical=Spec.of("xgboost", learning_rate=0.2))
STACKED = Candidate(Spec.of("stack"), members=(BOOST, LINE), classical=Spec.of("lightgbm", min_child_samples=5))


def test_boosting_learns_for_the_rounds_of_its_folds_and_holds_no_rows_out(tmp_path: Path) -> None:
    dataset = mixed_dataset("binary", rows=3600)
    problem = Problem(dataset, make_split(dataset, num_folds=3, seed=0), METRICS["roc_auc"], seed=0)
    store = Store(tmp_path)
    trial = _trial(STACKED, problem, store)
    again = refit(trial, problem, store, deadline=NEVER, threads=1)

    def rounds(nodes: Sequence[str], name: str) -> list[int]:
        of_name = [node for node in nodes if store.node(node).spec.name == name]
        return [store.stats(node)["rounds"] for node in of_name]

    for name in ("xgboost", "lightgbm"):  # the meta-model is known by its shape, though its members are settled
        found, told = rounds(trial.report.nodes, name), rounds(again.report.nodes, name)
        assert len(set(found)) > 1
        assert set(told) == {round(1.1 * median(found))}
    settled = [dict(store.node(node).spec.params) for node in again.report.nodes]
    assert sum(params.get("early_stopping") is False for params in settled) == 3  # one that stacking learns on, too


def test_parts_are_alike_in_all_folds_and_unlike_over_other_columns(problem: Problem, tmp_path: Path) -> None:
    store = Store(tmp_path)
    more = replace(BOOST, encoders=(*BOOST.encoders, Spec.of("tfidf")))
    nodes = _trial(Candidate(Spec.of("average"), members=(BOOST, more)), problem, store).report.nodes
    models = [store.node(node) for node in nodes if store.node(node).table == "classical"]
    assert (len(models), len({store.shape(model) for model in models})) == (6, 2)


def test_boosting_is_not_cut_short_where_other_fits_in_rounds_are(
    problem: Problem, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = Store(tmp_path)
    trial = _trial(BOOST, problem, store)
    monkeypatch.setattr(Bench, "_stop_by", lambda self: Deadline.after(-1))
    again = refit(trial, problem, store, deadline=NEVER, threads=1)
    (model,) = [node for node in again.report.nodes if store.node(node).table == "classical"]
    assert store.stats(model)["rounds"] == 500


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


def test_a_refit_that_would_not_fit_into_memory_is_not_begun(problem: Problem, tmp_path: Path) -> None:
    store = Store(tmp_path)
    trial = _trial(TREE, problem, store)
    large = replace(trial, report=replace(trial.report, peak_bytes=10**15))
    with pytest.raises(FitError, match=r"would need 1000000.0 GB"):
        refit(large, problem, store, deadline=NEVER, threads=1)


def test_what_another_refit_has_made_costs_nothing_more(problem: Problem, tmp_path: Path) -> None:
    store = Store(tmp_path)
    tree, line = _trial(TREE, problem, store), _trial(LINE, problem, store)
    both = _trial(Candidate(Spec.of("average"), members=(TREE, LINE)), problem, store)
    done = {*tree.report.nodes, *line.report.nodes}
    assert refit_seconds(both, problem, store, without=done) < refit_seconds(both, problem, store) / 2


def test_members_are_fitted_again_as_far_as_the_time_goes(problem: Problem, tmp_path: Path) -> None:
    store = Store(tmp_path)
    tree, line = _trial(TREE, problem, store), _trial(LINE, problem, store)
    ensemble = Ensemble(((tree, 0.7), (line, 0.3)), 0.5, np.zeros((60, 2)))

    again, (note,) = refit_members(ensemble, problem, store, deadline=NEVER, threads=1)
    assert [(len(trial.report.outputs), weight) for trial, weight in again.members] == [(1, 0.7), (1, 0.3)]
    assert note.startswith("Each member predicts with one model fitted again on all 60 rows.")

    large = replace(line, report=replace(line.report, peak_bytes=10**15))
    mixed, (note,) = refit_members(
        replace(ensemble, members=((tree, 0.7), (large, 0.3))), problem, store, deadline=NEVER, threads=1
    )
    assert [len(trial.report.outputs) for trial in mixed.trials] == [1, 3]
    assert note.startswith("1 of 2 members predicts with one model fitted again on all 60 rows; 1 keeps")
    members = ((tree, 0.4), (large, 0.3), (large, 0.3))
    _, (note,) = refit_members(replace(ensemble, members=members), problem, store, deadline=NEVER, threads=1)
    assert "; 2 keep those of their folds, for want of time or memory" in note

    kept, (note,) = refit_members(ensemble, problem, store, deadline=Deadline.after(-1), threads=1)
    assert kept.members == ensemble.members and note.startswith("No member was fitted again")


def test_a_net_has_the_time_of_its_folds_where_more_is_left(problem: Problem, tmp_path: Path) -> None:
    import tabm  # noqa: F401  # seconds that the first fold would not have for training

    store = Store(tmp_path)
    endless = Spec.of("tabm", epochs=100_000, patience=100_000, num_members=2, block_size=8)
    trial = _trial(Candidate(Spec.of("backbone"), backbones=(endless,)), problem, store, deadline=Deadline.after(12))
    again = refit(trial, problem, store, deadline=Deadline.after(24), threads=1)
    assert len(again.report.outputs) == 1, "a net that took all that was left would have been thrown away"
