"""What is proposed, in which order, and that an interrupted search knows what it knew."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import pytest

from fusion_automl.candidate import Candidate
from fusion_automl.deadline import Deadline
from fusion_automl.search.ledger import Report, Trial
from fusion_automl.search.order import Order
from fusion_automl.search.propose import BASELINE, MAX_LOST_MACHINES, Proposer
from tests.search.loop import done, failed, local, proposer, pruned, run_loop

FINITE = """
name = "finite"
description = "Eight candidates."

[classical.ridge]
alpha = {choice = [0.1, 1.0, 10.0]}

[classical.naive_bayes]

[encoder.onehot]
scale = {choice = ["standard", "quantile"]}

[fusion.concat]

[[portfolio]]
fusion = "concat"
encoders.tabular = {name = "onehot", scale = "quantile"}
classical = "ridge"
"""

WIDE = FINITE.replace("alpha = {choice = [0.1, 1.0, 10.0]}", "alpha = {float = [0.01, 100.0], log = true}").replace(
    "[classical.naive_bayes]", "[classical.naive_bayes]\nvar_smoothing = {float = [0.0001, 1.0], log = true}"
)


def test_the_baseline_then_the_portfolio_then_all_there_is(tmp_path: Path) -> None:
    asked = run_loop(proposer(local(FINITE, tmp_path), tmp_path), done)
    assert asked[0] == BASELINE
    assert asked[1].describe() == "concat(onehot -> ridge)"
    assert len(asked) == len(set(asked)) == 1 + 8


def test_the_same_seed_asks_the_same(tmp_path: Path) -> None:
    space = local(WIDE, tmp_path)

    def score(candidate: Candidate) -> Report:
        return done(candidate, int(candidate.key, 16) % 1000 / 1000)

    first = run_loop(proposer(space, tmp_path / "a"), score, trials=25)
    again = run_loop(proposer(space, tmp_path / "b"), score, trials=25)
    other = run_loop(proposer(space, tmp_path / "c", seed=1), score, trials=25)
    assert first == again and first[:2] == other[:2] and first != other


def test_good_regions_are_asked_for_more_often(tmp_path: Path) -> None:
    def score(candidate: Candidate) -> Report:
        return done(candidate, 0.9 if candidate.all_classical() == ("ridge",) else 0.5)

    asked = run_loop(proposer(local(WIDE, tmp_path), tmp_path), score, trials=50)
    late = [candidate.all_classical() for candidate in asked[25:]]
    assert late.count(("ridge",)) > 15


def test_a_resumed_search_has_learned_what_the_first_one_had(tmp_path: Path) -> None:
    space = local(WIDE, tmp_path)
    answers = [done, pruned_low, failed]

    def answer(candidate: Candidate) -> Report:
        return answers[int(candidate.key, 16) % 3](candidate)

    asker = proposer(space, tmp_path)
    asked = run_loop(asker, answer, trials=12)
    resumed = proposer(space, tmp_path)
    assert told(resumed) == told(asker)
    assert len(told(resumed)) == 11  # the baseline is no point of the space
    proposal = resumed.ask(Deadline.never())
    assert proposal is not None and proposal.candidate not in asked


def test_a_trial_that_was_called_off_may_be_asked_for_again(tmp_path: Path) -> None:
    asker = proposer(local(FINITE, tmp_path), tmp_path)
    run_loop(asker, done, trials=2)
    while proposal := asker.ask(Deadline.never()):
        last = proposal.candidate
    asker.tell(last.key, None)
    again = asker.ask(Deadline.never())
    assert again is not None and again.candidate == last


def test_who_takes_two_processes_along_is_to_blame_but_machines_may_go(tmp_path: Path) -> None:
    asker = proposer(local(FINITE, tmp_path), tmp_path)

    def ask() -> str:
        proposal = asker.ask(Deadline.never())
        assert proposal is not None
        return proposal.candidate.key

    first = ask()
    for _ in range(MAX_LOST_MACHINES):
        assert asker.retry(first, machine_lost=True) and ask() == first
    assert asker.retry(first) and ask() == first
    assert not asker.retry(first)
    assert not asker.retry(first, machine_lost=True)


def test_with_little_time_left_the_best_of_several_for_its_seconds_is_asked(tmp_path: Path) -> None:
    def answer(candidate: Candidate) -> Report:
        return done(candidate, 0.9 if candidate.all_classical() == ("ridge",) else 0.5, seconds=10.0)

    asker = proposer(local(WIDE, tmp_path), tmp_path)
    run_loop(asker, answer, trials=20)
    names = []
    for _ in range(4):
        proposal = asker.ask(Deadline.after(19.0))
        assert proposal is not None
        names.append(proposal.candidate.all_classical())
    assert names == [("ridge",)] * 4
    assert asker.ask(Deadline.after(0.1)) is None


NET = (
    FINITE.replace("[[portfolio]]", '[[portfolio]]\nfusion = "backbone"\nbackbones.tabular = "tabm"\n\n[[portfolio]]')
    + """
[backbone.tabm]

[fusion.backbone]
"""
)


def test_what_is_too_long_for_a_trial_comes_when_nothing_shorter_is_left(tmp_path: Path) -> None:
    asker = proposer(local(NET, tmp_path), tmp_path, max_seconds=12.0)
    asked = run_loop(asker, lambda candidate: done(candidate, seconds=10.0), trials=9)
    assert asked[1].describe() == "concat(onehot -> ridge)"
    assert asker.ask(Deadline.after(11.0)) is None  # the net is taken to need 20 s
    proposal = asker.ask(Deadline.after(30.0))
    assert proposal is not None and proposal.candidate.describe() == "backbone(tabm)"
    assert proposal.order.max_seconds == math.inf
    assert asker.ask(Deadline.after(30.0)) is None


def test_what_was_taken_for_too_long_gets_another_chance(tmp_path: Path) -> None:
    asker = proposer(local(NET, tmp_path), tmp_path, max_seconds=12.0)
    asked = run_loop(asker, lambda candidate: done(candidate, seconds=10.0), trials=9)
    for _ in range(10):  # then others take next to no time
        asker._learn(Trial(asked[-1], done(asked[-1], seconds=0.01)))
    assert asker.ask(Deadline.after(0.4)) is None
    proposal = asker.ask(Deadline.after(11.0))
    assert proposal is not None and proposal.candidate.describe() == "backbone(tabm)"


def test_a_trial_may_take_its_share(tmp_path: Path) -> None:
    proposal = proposer(local(FINITE, tmp_path), tmp_path, max_seconds=12.0).ask(Deadline.after(30.0))
    assert proposal is not None and proposal.order.max_seconds == 12.0
    assert Order.from_json(proposal.order.to_json()) == proposal.order


def test_the_first_to_use_an_embedding_has_more_time(checkpoints: dict[str, str], tmp_path: Path) -> None:
    text = (
        FINITE.partition("[encoder.onehot]")[0]
        + """
[encoder.text_embedding]
checkpoint = "WHERE"
components = {choice = [0, 30]}

[fusion.concat]
""".replace("WHERE", checkpoints["text"])
    )
    asker = proposer(local(text, tmp_path, modalities=("text",)), tmp_path, max_seconds=12.0)
    limits = []
    while proposal := asker.ask(Deadline.after(1000.0)):
        limits.append(proposal.order.max_seconds)
        asker.tell(proposal.candidate.key, done(proposal.candidate))
        asker.ledger.record(proposal.candidate, done(proposal.candidate))
    assert limits[:2] == [12.0, 18.0] and set(limits[2:]) == {12.0}


def test_the_baseline_is_asked_for_however_late_it_is(tmp_path: Path) -> None:
    asker = proposer(local(FINITE, tmp_path), tmp_path)
    proposal = asker.ask(Deadline.after(-1.0))
    assert proposal is not None and proposal.candidate == BASELINE
    assert asker.ask(Deadline.after(-1.0)) is None


@pytest.mark.parametrize(("rows", "num_folds", "looks"), [(20_000, 1, True), (20_000, 3, False), (19_999, 1, False)])
def test_a_large_single_fold_is_looked_at_first_except_by_the_trusted(
    rows: int, num_folds: int, looks: bool, tmp_path: Path
) -> None:
    asker = proposer(replace(local(WIDE, tmp_path), rows=rows), tmp_path, num_folds=num_folds)
    proposals = [asker.ask(Deadline.never()) for _ in range(5)]
    assert [proposal.order.preview for proposal in proposals if proposal] == [False, False, looks, looks, looks]


def told(asker: Proposer) -> list[object]:
    """What its sampler knows: how each trial ended, where, and with which score on which folds."""
    trials = [trial for trial in asker.study.sampled.trials if trial.user_attrs]
    return [(trial.state, trial.values, trial.params, trial.intermediate_values) for trial in trials]


def pruned_low(candidate: Candidate) -> Report:
    return pruned(candidate, 0.1)
