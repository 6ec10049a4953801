import math

from fusion_automl.candidate import Candidate, Spec
from fusion_automl.search.cost import CostModel
from fusion_automl.search.ledger import Report


def _tree(depth: int) -> Candidate:
    return Candidate(
        Spec.of("concat"), encoders=(Spec.of("ordinal"),), classical=Spec.of("decision_tree", max_depth=depth)
    )


def _report(seconds: float, folds: int) -> Report:
    return Report("k", "done", 0.5, (0.5,) * folds, seconds, seconds, 0, 0)


def test_what_it_costs_is_the_median_of_its_kind_and_members_add_up() -> None:
    costs = CostModel()
    for depth, seconds in enumerate([1.0, 2.0, 9.0], start=1):
        costs.learn(_tree(depth), _report(seconds, 3), num_folds=3)
    assert costs.seconds(_tree(7)) == 2.0
    net = Candidate(Spec.of("backbone"), backbones=(Spec.of("tabm"),))
    costs.learn(net, _report(4.0, 1), num_folds=3)  # stopped after one fold of three
    assert costs.seconds(Candidate(Spec.of("average"), members=(_tree(1), net))) == 14.0


def test_a_backbone_that_ran_out_of_time_is_not_tried_again_inside_a_fusion() -> None:
    costs = CostModel()
    slow, other = Spec.of("text_cnn"), Spec.of("text_cnn", num_filters=50)
    report = Report("k", "out_of_time", None, (), 30.0, 30.0, 0, 0)
    costs.learn(Candidate(Spec.of("backbone"), backbones=(slow,)), report, num_folds=3)

    def deep(spec: Spec) -> Candidate:
        return Candidate(Spec.of("deep_features"), backbones=(spec,), classical=Spec.of("lightgbm"))

    assert costs.seconds(deep(slow)) == math.inf
    assert costs.seconds(Candidate(Spec.of("average"), members=(_tree(1), deep(slow)))) == math.inf
    assert costs.seconds(deep(other)) == 0.0


def test_what_was_never_seen_may_be_tried() -> None:
    assert CostModel().seconds(_tree(1)) == 0.0
