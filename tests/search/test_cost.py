"""What candidates will take, from what the run's fits took."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest

from fusion_automl.backbones.text_lora import TextLora
from fusion_automl.candidate import Candidate, Spec
from fusion_automl.search.cost import CostModel, Regression
from fusion_automl.search.ledger import Report, Status, Trial
from fusion_automl.store.disk import Store
from fusion_automl.store.node import Node
from fusion_automl.target import FittedTarget

NUM_FOLDS = 3
GB = 10**9


class Kitchen:
    """A store in which nodes can be put that took so many seconds, and a cost model over it."""

    def __init__(self, folder: Path) -> None:
        self.store = Store(folder)
        self.costs = CostModel(self.store, rows=100, num_folds=NUM_FOLDS)
        self.count = 0

    def learn(self, candidate: Candidate, status: Status = "done", *, peak_bytes: int = 0, **seconds: float) -> None:
        """Tells of a trial whose parts took `seconds` a fold each."""
        nodes = [
            self._put(table, spec, seconds[spec.name]) for table, spec in _parts(candidate) if spec.name in seconds
        ]
        report = Report(
            str(self.count), status, 0.5, (0.5,) * NUM_FOLDS, 1.0, 1.0, 0, 0, nodes=tuple(nodes), peak_bytes=peak_bytes
        )
        self.costs.learn(Trial(candidate, report))

    def _put(self, table: str, spec: Spec, seconds: float) -> str:
        self.count += 1
        node = Node(table, spec, f"rows {self.count}")
        folder = self.store.folder / node.key
        folder.mkdir()
        (folder / "node.json").write_text(json.dumps({"node": node.to_json(), "target": FittedTarget().to_json()}))
        (folder / "stats.json").write_text(json.dumps({"fit_seconds": seconds, "apply_seconds_per_row": 0.0}))
        return node.key


def _parts(candidate: Candidate) -> list[tuple[str, Spec]]:
    found = [("encoders", spec) for spec in candidate.encoders] + [("backbones", spec) for spec in candidate.backbones]
    found += [("states", TextLora().below()) for spec in candidate.backbones if spec.name == "text_lora"]
    return found + ([("classical", candidate.classical)] if candidate.classical else [])


def trees(num_rounds: int, encoder: str = "ordinal") -> Candidate:
    return Candidate(Spec.of("concat"), (Spec.of(encoder),), (), Spec.of("lightgbm", n_estimators=num_rounds))


@pytest.fixture
def kitchen(tmp_path: Path) -> Kitchen:
    return Kitchen(tmp_path)


NET = Candidate(Spec.of("backbone"), backbones=(Spec.of("text_cnn"),))
DEEP = Candidate(Spec.of("deep_features"), (Spec.of("ordinal"),), (Spec.of("text_cnn"),), Spec.of("lightgbm"))


def test_seconds_follow_the_size(kitchen: Kitchen) -> None:
    for num_rounds in (50, 100, 100, 200, 400, 800):
        kitchen.learn(trees(num_rounds), ordinal=0.1, lightgbm=num_rounds / 100)
    assert kitchen.costs.seconds(trees(300)) == pytest.approx(NUM_FOLDS * 3.0, rel=0.3)
    assert kitchen.costs.seconds(trees(100)) == 0.0  # the store has it


def test_what_the_store_has_costs_nothing(kitchen: Kitchen) -> None:
    kitchen.learn(trees(100), ordinal=1.0, lightgbm=2.0)
    kitchen.learn(NET, text_cnn=30.0)
    assert kitchen.costs.seconds(DEEP) == pytest.approx(NUM_FOLDS * 2.0)  # the head alone
    other = Candidate(Spec.of("backbone"), backbones=(Spec.of("text_cnn", num_filters=50),))
    assert kitchen.costs.seconds(other) == pytest.approx(NUM_FOLDS * 30.0)
    assert kitchen.costs.seconds(Candidate(Spec.of("average"), members=(trees(100), NET))) == 0.0
    assert kitchen.costs.seconds(Candidate(Spec.of("average"), members=(trees(100), other))) == pytest.approx(90.0)


def test_a_pruned_trial_leaves_folds_to_be_fitted(kitchen: Kitchen) -> None:
    kitchen.learn(NET, "pruned", text_cnn=5.0)
    assert kitchen.costs.seconds(NET) == pytest.approx(NUM_FOLDS * 5.0)


def test_a_part_never_seen_costs_what_its_like_do(kitchen: Kitchen) -> None:
    unseen = Candidate(Spec.of("backbone"), backbones=(Spec.of("text_rnn"),))
    assert kitchen.costs.seconds(unseen) == 0.0
    kitchen.learn(NET, text_cnn=7.0)
    assert kitchen.costs.seconds(unseen) == pytest.approx(NUM_FOLDS * 7.0)


def test_a_backbone_that_ran_out_of_time_is_not_tried_again_inside_a_fusion(kitchen: Kitchen) -> None:
    kitchen.learn(NET, "out_of_time")
    assert kitchen.costs.seconds(DEEP) == math.inf
    assert kitchen.costs.seconds(Candidate(Spec.of("average"), members=(trees(1), DEEP))) == math.inf
    other = Candidate(Spec.of("deep_features"), (), (Spec.of("text_cnn", num_filters=50),), Spec.of("lightgbm"))
    assert math.isfinite(kitchen.costs.seconds(other))


@pytest.mark.parametrize(
    ("reason", "slow"),
    [
        ("text_embedding: batch 6 of 368, 21 s left, 87 s needed", True),
        ("text_embedding: no time left to start.", False),
        ("no time for 2 folds of 9.0 s more, with 1.0 s left", False),
    ],
)
def test_a_frozen_net_that_was_too_slow_is_not_run_again_under_another_head(
    kitchen: Kitchen, reason: str, slow: bool
) -> None:
    def under(classical: str, **params: int) -> Candidate:
        encoders = (Spec.of("onehot"), Spec.of("text_embedding", **params))
        return Candidate(Spec.of("concat"), encoders, (), Spec.of(classical))

    first = under("ridge", components=30)
    kitchen.costs.learn(Trial(first, Report(first.key, "out_of_time", None, (), 7.0, 7.0, 0, 0, reason)))
    average = Candidate(Spec.of("average"), members=(trees(1), under("ridge", components=60)))
    tuned = Candidate(Spec.of("backbone"), backbones=(Spec.of("text_lora"),))
    for other in (under("catboost"), average, tuned):
        assert (kitchen.costs.seconds(other) == math.inf) is slow
    assert math.isfinite(
        kitchen.costs.seconds(Candidate(Spec.of("concat"), (Spec.of("onehot"),), (), Spec.of("ridge")))
    )


def test_a_frozen_net_is_paid_for_once_whatever_is_built_on_it(kitchen: Kitchen) -> None:
    def under(components: int, max_length: int = 128) -> Candidate:
        embedding = Spec.of("text_embedding", components=components, max_length=max_length)
        return Candidate(Spec.of("concat"), (embedding,), (), Spec.of("ridge"))

    kitchen.learn(under(0), text_embedding=60.0, ridge=1.0)
    assert kitchen.costs.seconds(under(30)) == pytest.approx(NUM_FOLDS * 1.0)
    assert not kitchen.costs.embeds(under(30)) and kitchen.costs.embeds(under(0, max_length=64))
    assert kitchen.costs.seconds(under(0, max_length=64)) == pytest.approx(60.0 + NUM_FOLDS * 1.0)


def test_tuned_layers_cost_what_the_frozen_net_tells_until_one_was_trained(kitchen: Kitchen) -> None:
    frozen = Candidate(Spec.of("concat"), (Spec.of("text_embedding"),), (), Spec.of("ridge"))
    tuned = Candidate(Spec.of("backbone"), backbones=(Spec.of("text_lora"),))
    kitchen.learn(NET, text_cnn=1.0)
    assert kitchen.costs.seconds(tuned) == pytest.approx(NUM_FOLDS * 1.0)
    kitchen.learn(frozen, text_embedding=60.0)
    assert kitchen.costs.seconds(tuned) == pytest.approx(60.0 + NUM_FOLDS * 1.6 * 60.0)
    elsewhere = Candidate(Spec.of("backbone"), backbones=(Spec.of("text_lora", checkpoint="else"),))
    assert kitchen.costs.seconds(elsewhere) == pytest.approx(NUM_FOLDS * 1.0)

    kitchen.learn(tuned, text_states=30.0, text_lora=20.0)
    other = Candidate(Spec.of("backbone"), backbones=(Spec.of("text_lora", learning_rate=0.1),))
    assert kitchen.costs.seconds(other) == pytest.approx(NUM_FOLDS * 20.0)  # the states are there
    deeper = Candidate(Spec.of("backbone"), backbones=(Spec.of("text_lora", layers=4),))
    assert kitchen.costs.seconds(deeper) == pytest.approx(30.0 + NUM_FOLDS * 20.0)


def test_a_net_of_a_kind_never_seen_is_taken_for_dear(kitchen: Kitchen) -> None:
    kitchen.learn(trees(100))
    assert kitchen.costs.seconds(NET) == pytest.approx(2 * kitchen.costs.typical_seconds())


def test_one_that_paid_for_imports_does_not_spoil_the_rest() -> None:
    seen = Regression()
    for rounds, seconds in [(100, 60.0), (100, 1.0), (110, 1.1), (200, 2.0), (220, 2.2), (400, 4.0), (100, 1.0)]:
        seen.learn({"rounds": math.log(rounds)}, seconds)
    assert 0.5 < seen.predict({"rounds": math.log(100)}) < 2.0
    assert seen.predict({"rounds": math.log(1e9)}) <= 120.0001


def test_few_fits_say_no_more_than_their_median() -> None:
    seen = Regression()
    seen.learn({"rounds": 1.0}, 2.0)
    seen.learn({"rounds": 9.0}, 8.0)
    assert seen.predict({"rounds": 5.0}) == seen.predict({"rounds": 1.0}) == pytest.approx(4.0)


def test_memory_is_what_goes_beyond_the_smallest_trial(kitchen: Kitchen) -> None:
    assert kitchen.costs.bytes(trees(100)) == 0.0
    kitchen.learn(trees(10), peak_bytes=1 * GB)
    kitchen.learn(NET, peak_bytes=5 * GB)
    assert kitchen.costs.bytes(NET) == pytest.approx(4 * GB)
    assert kitchen.costs.bytes(DEEP) == pytest.approx(4 * GB)  # no less than its net takes
    assert kitchen.costs.bytes(trees(20)) == pytest.approx(0.0)
