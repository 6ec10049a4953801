"""One behaviour suite that every fusion runs through."""

from pathlib import Path

import numpy as np
import pytest

from fusion_automl.artifact import load, save
from fusion_automl.assemble import make_manifest
from fusion_automl.backbones.network import HOW
from fusion_automl.candidate import Candidate, Spec
from fusion_automl.data.dataset import Dataset
from fusion_automl.data.split import make_split
from fusion_automl.deadline import Deadline
from fusion_automl.ensemble.build import Ensemble
from fusion_automl.errors import OutOfTime, SpaceError
from fusion_automl.evaluate import Problem, evaluate, out_of_fold
from fusion_automl.fusion import FUSIONS, level_of
from fusion_automl.metrics import DEFAULTS, METRICS
from fusion_automl.search.ledger import Report, Trial
from fusion_automl.store.disk import Store
from fusion_automl.store.node import Ref
from fusion_automl.task import TaskKind
from tests.contracts.rows import mixed_dataset

NET = Spec.of("text_cnn", epochs=2)
TRUNKS = (
    Spec.of("text_cnn", word_size=16, num_filters=8, max_width=3),
    Spec.of("series_cnn", width=4, num_blocks=1),
)
TABLE, WORDS = Spec.of("ordinal"), Spec.of("tfidf")
TREE = Spec.of("decision_tree", min_samples_leaf=2)
LINE = {"binary": Spec.of("logistic"), "regression": Spec.of("ridge")}
NEVER = Deadline.never()


def _candidate(name: str, kind: TaskKind) -> Candidate:
    table = Candidate(Spec.of("concat"), encoders=(TABLE,), classical=TREE)
    words = Candidate(Spec.of("concat"), encoders=(WORDS,), classical=LINE[kind])
    net = Candidate(Spec.of("backbone"), backbones=(NET,))
    candidates = {f"{how}_net": Candidate(Spec.of(f"{how}_net", epochs=2, size=8), backbones=TRUNKS) for how in HOW}
    candidates |= {
        "baseline": Candidate(Spec.of("baseline")),
        "backbone": net,
        "concat": Candidate(Spec.of("concat"), encoders=(TABLE, WORDS), classical=TREE),
        "concat_pca": Candidate(Spec.of("concat_pca", components=4), encoders=(TABLE, WORDS), classical=TREE),
        "concat_select": Candidate(Spec.of("concat_select"), encoders=(TABLE, WORDS), classical=TREE),
        "as_text": Candidate(Spec.of("as_text"), backbones=(NET,)),
        "deep_features": Candidate(
            Spec.of("deep_features", components=4), encoders=(TABLE,), backbones=(NET,), classical=TREE
        ),
        "hybrid": Candidate(Spec.of("hybrid", epochs=2, size=8), encoders=(TABLE,), backbones=TRUNKS, classical=TREE),
        "average": Candidate(Spec.of("average"), members=(table, words, net)),
        "weighted": Candidate(Spec.of("weighted"), members=(table, net)),
        "vote": Candidate(Spec.of("vote"), members=(table, words, net)),
        "product_of_experts": Candidate(Spec.of("product_of_experts"), members=(table, words, net)),
        "bayesian": Candidate(Spec.of("bayesian"), members=(table, words, net)),
        "stack": Candidate(Spec.of("stack"), members=(table, words, net)),
    }
    return candidates[name]


VARIANTS = {
    "equal experts": Candidate(
        Spec.of("product_of_experts", exponents="equal"), members=_candidate("stack", "binary").members
    ),
    "pseudo-BMA": Candidate(Spec.of("bayesian", weights="pseudo_bma"), members=_candidate("stack", "binary").members),
    "stack with a tree that sees the words too": Candidate(
        Spec.of("stack"), (WORDS, TABLE), classical=TREE, members=_candidate("stack", "binary").members
    ),
    "balanced stack": Candidate(
        Spec.of("stack"), classical=LINE["binary"], members=_candidate("stack", "binary").members, balance="oversample"
    ),
    "balanced tree": Candidate(Spec.of("concat"), (TABLE,), classical=TREE, balance="weights"),
    "balanced selection": Candidate(Spec.of("concat_select"), (WORDS,), classical=TREE, balance="oversample"),
}


def _case(name: str) -> Candidate:
    return VARIANTS[name] if name in VARIANTS else _candidate(name, "binary")


def _problem(dataset: Dataset) -> Problem:
    return Problem(dataset, make_split(dataset, num_folds=2, seed=0), METRICS[DEFAULTS[dataset.task.kind]], seed=7)


def _oof(candidate: Candidate, problem: Problem, store: Store) -> np.ndarray:
    return out_of_fold(problem, list(evaluate(candidate, problem, store, deadline=NEVER, threads=1)))


@pytest.fixture(scope="module")
def shared_store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    return Store(tmp_path_factory.mktemp("store"))


def test_every_line_of_the_table_has_its_candidate_here() -> None:
    assert all(_candidate(name, "binary").fusion.name == name for name in FUSIONS)


@pytest.mark.parametrize("kind", ["binary", "regression"])
@pytest.mark.parametrize("name", FUSIONS)
def test_predictions_have_the_right_shape_and_beat_guessing(name: str, kind: TaskKind, shared_store: Store) -> None:
    problem = _problem(mixed_dataset(kind, rows=60))
    predictions = _oof(_candidate(name, kind), problem, shared_store)
    assert predictions.shape == (60, problem.dataset.task.num_outputs)
    assert np.isfinite(predictions).all()
    if kind == "binary":
        np.testing.assert_allclose(predictions.sum(axis=1), 1, atol=1e-6)
    if name in ("concat", "average", "stack"):
        guess = _oof(Candidate(Spec.of("baseline")), problem, shared_store)
        assert problem.metric.score(problem.y, predictions) > problem.metric.score(problem.y, guess)


@pytest.mark.parametrize("name", [*FUSIONS, *VARIANTS])
def test_the_targets_of_validation_rows_leave_their_predictions_unchanged(name: str, tmp_path: Path) -> None:
    dataset = mixed_dataset("binary", rows=60)
    problem = _problem(dataset)
    fold = problem.folds[0]
    turned = dataset.y.copy()
    turned[fold.valid] = 1 - turned[fold.valid]
    candidate = _case(name)
    seen = next(evaluate(candidate, problem, Store(tmp_path / "a"), deadline=NEVER, threads=1))
    other = Problem(dataset.with_targets(turned), problem.folds, problem.metric, problem.seed)
    again = next(evaluate(candidate, other, Store(tmp_path / "b"), deadline=NEVER, threads=1))
    np.testing.assert_array_equal(seen.predictions, again.predictions)


@pytest.mark.parametrize("name", [name for name in (*FUSIONS, *VARIANTS) if name != "baseline"])
def test_the_artifact_predicts_what_the_search_saw(name: str, tmp_path: Path, shared_store: Store) -> None:
    """Each fold's model, applied again from the artifact's files, gives its out-of-fold predictions."""
    problem = _problem(mixed_dataset("binary", rows=60))
    candidate = _case(name)
    results = list(evaluate(candidate, problem, shared_store, deadline=NEVER, threads=1))
    first = results[0]
    report = Report(candidate.key, "done", 1.0, (1.0,), 0, 0, 0, 0, outputs=(first.output,), nodes=first.nodes)
    ensemble = Ensemble(((Trial(candidate, report), 1.0),), 1.0, first.predictions)
    save(make_manifest(problem, shared_store, ensemble), shared_store, tmp_path / "artifact")
    artifact = load(tmp_path / "artifact")
    frame = problem.dataset.frame.iloc[problem.folds[0].valid].reset_index(drop=True)
    np.testing.assert_allclose(artifact.run(frame), first.predictions, atol=1e-5)
    np.testing.assert_allclose(artifact.run(frame.iloc[3:4].reset_index(drop=True)), first.predictions[3:4], atol=1e-4)
    assert artifact.run(frame.iloc[:0]).shape == (0, 2)


def test_a_second_candidate_that_shares_a_backbone_costs_its_head_only(tmp_path: Path) -> None:
    problem, store = _problem(mixed_dataset("binary", rows=60)), Store(tmp_path)
    _oof(_candidate("backbone", "binary"), problem, store)
    assert store.misses == 2  # the net, once a fold
    _oof(_candidate("deep_features", "binary"), problem, store)
    assert store.misses == 2 + 2 * 3  # reducer, encoder and head; the net comes from the store
    assert store.hits == 2
    again = Store(tmp_path)
    _oof(_candidate("deep_features", "binary"), problem, again)
    assert (again.misses, again.hits) == (0, 2 * 4)


def test_a_hybrid_takes_the_network_that_was_trained_for_its_own_sake(tmp_path: Path) -> None:
    problem, store = _problem(mixed_dataset("binary", rows=60)), Store(tmp_path)
    _oof(_candidate("gated_net", "binary"), problem, store)
    assert store.misses == 2
    _oof(_candidate("hybrid", "binary"), problem, store)
    assert (store.misses, store.hits) == (2 + 2 * 2, 2)  # encoder and head


@pytest.mark.parametrize("name", FUSIONS)
def test_a_passed_deadline_is_out_of_time(name: str, tmp_path: Path) -> None:
    problem = _problem(mixed_dataset("binary", rows=40))
    with pytest.raises(OutOfTime):
        next(evaluate(_candidate(name, "binary"), problem, Store(tmp_path), deadline=Deadline.after(-1), threads=1))


@pytest.mark.parametrize(
    ("candidate", "rule"),
    [
        (Candidate(Spec.of("concat"), classical=TREE), r"concat needs encoders and a classical model, got concat\("),
        (Candidate(Spec.of("backbone"), backbones=(NET, NET)), "backbone needs one backbone, got"),
        (
            Candidate(Spec.of("deep_features"), backbones=(NET,)),
            "needs backbones and a classical model, perhaps encoders",
        ),
        (
            Candidate(Spec.of("gated_net"), backbones=(NET,)),
            "gated_net needs one backbone for each of two modalities or more, got",
        ),
        (
            Candidate(Spec.of("stack"), (TABLE,), members=_candidate("weighted", "binary").members),
            "stack: the linear meta-model sees the members alone",
        ),
        (
            Candidate(Spec.of("backbone"), backbones=(NET,), balance="weights"),
            "balance 'weights' is for a classical model that learns classes, got",
        ),
        (
            Candidate(Spec.of("concat"), (TABLE,), classical=TREE, balance="weight"),
            "balance: unknown name 'weight'. Did you mean 'weights'",
        ),
        (Candidate(Spec.of("average"), members=(Candidate(Spec.of("baseline")),)), "average needs 2 to 3 members"),
        (
            Candidate(Spec.of("stack"), members=(_candidate("average", "binary"), _candidate("concat", "binary"))),
            "stack needs 2 to 3 members that have no members themselves",
        ),
    ],
)
def test_a_candidate_that_breaks_its_fusions_rule_is_refused(candidate: Candidate, rule: str, tmp_path: Path) -> None:
    problem = _problem(mixed_dataset("binary", rows=40))
    with pytest.raises(SpaceError, match=rule):
        next(evaluate(candidate, problem, Store(tmp_path), deadline=NEVER, threads=1))


def test_levels_are_told_by_name() -> None:
    levels = {name: level_of(_candidate(name, "binary")) for name in FUSIONS}
    assert levels == {
        "baseline": "none",
        "backbone": "none",
        "concat": "data",
        "concat_pca": "data",
        "concat_select": "data",
        "as_text": "data",
        "deep_features": "model",
        **{f"{how}_net": "model" for how in HOW},
        "hybrid": "model",
        "average": "decision",
        "weighted": "decision",
        "vote": "decision",
        "product_of_experts": "decision",
        "bayesian": "decision",
        "stack": "decision",
    }


def test_values_are_not_balanced(tmp_path: Path) -> None:
    candidate = Candidate(Spec.of("concat"), (TABLE,), classical=TREE, balance="weights")
    with pytest.raises(SpaceError, match=r"for a regression target\. Leave the balance out"):
        next(evaluate(candidate, _problem(mixed_dataset("regression")), Store(tmp_path), deadline=NEVER, threads=1))


def test_a_meta_model_learns_from_holdout_rows_and_sees_what_stands_beside_the_members(tmp_path: Path) -> None:
    problem, store = _problem(mixed_dataset("binary", rows=60)), Store(tmp_path)
    seen = next(
        evaluate(VARIANTS["stack with a tree that sees the words too"], problem, store, deadline=NEVER, threads=1)
    )
    node = store.node(seen.output.node)
    members, *beside = node.inputs
    assert node.table == "classical" and beside == list(node.learned_from[1:]) and len(beside) == 2
    assert store.stats(members.node)["widths"] == {"matrix": 6}
    assert store.read(node.learned_from[0], problem.folds[0].holdout).shape[1] == 6
    with pytest.raises(KeyError):
        store.read(node.learned_from[0], problem.folds[0].valid)


def test_a_bayesian_average_of_values_tells_their_deviation(tmp_path: Path) -> None:
    problem, store = _problem(mixed_dataset("regression", rows=60)), Store(tmp_path)
    result = next(evaluate(_candidate("bayesian", "regression"), problem, store, deadline=NEVER, threads=1))
    deviation = store.read(Ref(result.output.node, "deviation"), problem.folds[0].valid)
    error = np.abs(result.predictions - problem.dataset.y[problem.folds[0].valid][:, None])
    assert deviation.shape == (30, 1)
    assert 0.5 <= (error < deviation).mean() <= 0.95  # 0.68 of a Gaussian, and 30 rows
