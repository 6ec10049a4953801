"""By-products of a trained net: they come at once, lie in the space, and train no net again."""

from __future__ import annotations

from pathlib import Path

import pytest

from fusion_automl.candidate import Candidate, Spec
from fusion_automl.data.split import make_split
from fusion_automl.deadline import Deadline
from fusion_automl.evaluate import Problem, evaluate
from fusion_automl.metrics import DEFAULTS, METRICS
from fusion_automl.search.follow import candidates_per_backbone, follow_ups, nets
from fusion_automl.search.ledger import Ledger, Report, Trial
from fusion_automl.search.sample import params_of
from fusion_automl.search.space import LocalSpace, fit_space
from fusion_automl.store.disk import Store
from tests.contracts.rows import mixed_dataset
from tests.search.loop import done, local, proposer, pruned, run_loop

NETS = """
name = "nets"
description = "Two nets, alone and as one, and what can stand on them."

[classical.lightgbm]
n_estimators = {int = [10, 500], log = true}

[classical.logistic]
C = {float = [0.1, 100.0], log = true}

[classical.knn]
n_neighbors = {int = [1, 100], log = true}

[encoder.ordinal]

[encoder.onehot]

[backbone.text_cnn]
dropout = {float = [0.0, 0.7]}

[backbone.tabm]
dropout = {float = [0.0, 0.4]}

[fusion.concat]
[fusion.backbone]
[fusion.deep_features]
components = {int = [8, 64]}
[fusion.gated_net]
size = {choice = [32, 64]}
[fusion.low_rank_tensor_net]
size = {choice = [32, 64]}
rank = {int = [2, 4]}
[fusion.hybrid]
net = {choice = ["gated", "low_rank_tensor"]}
size = {choice = [32, 64]}
[fusion.average]

[[portfolio]]
fusion = "concat"
encoders.tabular = "ordinal"
classical = "lightgbm"

[[portfolio]]
fusion = "backbone"
backbones.text = {name = "text_cnn", dropout = 0.3}

[[portfolio]]
fusion = "gated_net"
backbones.text = "text_cnn"
backbones.tabular = "tabm"
"""

TREES = Candidate(Spec.of("concat"), (Spec.of("ordinal"),), (), Spec.of("lightgbm", n_estimators=50))
LINES = Candidate(Spec.of("concat"), (Spec.of("onehot"),), (), Spec.of("logistic", C=1.0))
TEXT, TABLE = Spec.of("text_cnn", dropout=0.2), Spec.of("tabm", dropout=0.1)
LONE = Candidate(Spec.of("backbone"), backbones=(TEXT,))
GATED = Candidate(Spec.of("gated_net", size=32), backbones=(TABLE, TEXT))


@pytest.fixture
def space(tmp_path: Path) -> LocalSpace:
    return local(NETS, tmp_path, modalities=("tabular", "text"))


def ranked(*candidates: Candidate) -> list[Trial]:
    return [Trial(candidate, done(candidate)) for candidate in candidates]


def test_heads_over_the_embedding_and_an_average_with_the_best_without_nets(space: LocalSpace) -> None:
    found = follow_ups(LONE, nets(LONE), ranked(LINES, TREES, LONE), space)
    assert [candidate.describe() for candidate in found] == [
        "average(concat(onehot -> logistic), backbone(text_cnn))",
        "deep_features(text_cnn + ordinal -> lightgbm)",
        "deep_features(text_cnn + onehot -> logistic)",
        "deep_features(text_cnn -> logistic)",
        "deep_features(text_cnn -> knn)",
    ]
    assert all(params_of(candidate, space) for candidate in found)
    assert {net for candidate in found for net in nets(candidate)} == set(nets(LONE))


def test_a_network_is_followed_by_hybrids_of_that_very_network(space: LocalSpace) -> None:
    found = follow_ups(GATED, nets(GATED), ranked(TREES), space)
    assert [candidate.describe() for candidate in found][1] == "hybrid[gated](tabm + text_cnn + ordinal -> lightgbm)"
    assert {net for candidate in found for net in nets(candidate)} == set(nets(GATED))
    ranks = Candidate(Spec.of("low_rank_tensor_net", size=32, rank=3), backbones=(TABLE, TEXT))
    # A hybrid of this space cannot say which rank, so it would train a network of its own.
    assert [candidate.fusion.name for candidate in follow_ups(ranks, nets(ranks), ranked(TREES), space)] == ["average"]


def test_nothing_outside_the_space_and_nothing_over_members_of_members(space: LocalSpace) -> None:
    average = Candidate(Spec.of("average"), members=(TREES, LONE))
    assert not any(f.members for f in follow_ups(average, nets(average), ranked(TREES), space))
    poor = fit_space(space.space, ("text",), "binary", 500)
    assert follow_ups(GATED, nets(GATED), ranked(TREES), poor) == []


def test_they_are_asked_for_right_after_the_net_but_not_after_a_pruned_one(space: LocalSpace, tmp_path: Path) -> None:
    def answer(candidate: Candidate) -> Report:
        return pruned(candidate, 0.1) if candidate.fusion.name == "gated_net" else done(candidate)

    asked = run_loop(proposer(space, tmp_path), answer, trials=8)
    assert [candidate.fusion.name for candidate in asked] == [
        "baseline",
        "concat",
        "backbone",
        "average",
        *["deep_features"] * 3,  # no encoders are known for a linear model yet
        "gated_net",
    ]
    assert candidates_per_backbone(Ledger(tmp_path)) == (2, 6)
    following = run_loop(proposer(space, tmp_path), done, trials=1)
    assert following[0].backbones != asked[-1].backbones


@pytest.mark.parametrize("first", [LONE, GATED])
def test_no_net_is_trained_for_them(first: Candidate, space: LocalSpace, tmp_path: Path) -> None:
    dataset = mixed_dataset(rows=60)
    problem = Problem(dataset, make_split(dataset, num_folds=2, seed=0)[:1], METRICS[DEFAULTS[dataset.task.kind]], 0)
    store = Store(tmp_path / "store")
    for candidate in (first, *follow_ups(first, nets(first), ranked(TREES, LINES), space)):
        results = list(evaluate(candidate, problem, store, deadline=Deadline.never(), threads=1))
        trained = [key for key in results[0].nodes if store.node(key).table in ("backbones", "networks")]
        if candidate == first:
            known = trained
        assert trained == known and len(known) == 1
