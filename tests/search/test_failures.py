"""What failed again and again is left alone, and nothing else is."""

from __future__ import annotations

from pathlib import Path

from fusion_automl.candidate import Candidate, Spec
from fusion_automl.search.failures import Failures
from fusion_automl.search.ledger import Report, Trial
from tests.search.loop import done, failed, local, proposer, run_loop
from tests.search.test_propose import WIDE


def made(classical: str, encoder: str, **params: float) -> Candidate:
    return Candidate(Spec.of("concat"), (Spec.of(encoder),), (), Spec.of(classical, **params))


def told(*trials: tuple[Candidate, Report]) -> Failures:
    failures = Failures()
    for candidate, report in trials:
        failures.learn(Trial(candidate, report))
    return failures


def test_a_family_is_condemned_by_two_failures_of_one_kind() -> None:
    first, second, third = (made("ridge", "onehot", alpha=alpha) for alpha in (0.1, 1.0, 10.0))
    once = failed(first, "needs 3.1 GB for 'a'")
    assert not told((first, once)).condemned(third)
    assert told((first, once), (second, failed(second, "needs 2.7 GB for 'b'"))).condemned(third)
    assert not told((first, once), (second, failed(second, "did not converge"))).condemned(third)
    assert not told((first, once), (second, failed(second, "needs 2.7 GB for 'b'"))).condemned(made("knn", "onehot"))


def test_a_family_that_succeeds_as_often_is_not() -> None:
    candidates = [made("ridge", "onehot", alpha=float(alpha)) for alpha in range(1, 6)]
    reports = [(c, done(c) if number % 2 else failed(c)) for number, c in enumerate(candidates)]
    assert told(*reports[:4]).condemned(candidates[4]) is False
    assert told(*reports).condemned(made("ridge", "onehot")) is True  # three failures, two successes


def test_a_part_is_condemned_where_it_is_all_that_failed_families_share() -> None:
    broken = [made(name, "ordinal") for name in ("lightgbm", "xgboost", "catboost")]
    failures = told(*((candidate, failed(candidate)) for candidate in broken))
    assert failures.condemned(made("extra_trees", "ordinal"))
    assert not failures.condemned(made("lightgbm", "onehot"))
    together = [*((candidate, failed(candidate)) for candidate in broken), (made("knn", "ordinal"), done(broken[0]))]
    assert not told(*together).condemned(made("extra_trees", "ordinal"))


def test_a_component_that_always_fails_is_soon_left_alone(tmp_path: Path) -> None:
    space = local(WIDE, tmp_path)

    def answer(candidate: Candidate) -> Report:
        return failed(candidate) if "ridge" in candidate.all_classical() else done(candidate)

    asked = run_loop(proposer(space, tmp_path), answer, trials=40)
    assert sum("ridge" in candidate.all_classical() for candidate in asked) == 2
    resumed = run_loop(proposer(space, tmp_path), answer, trials=5)
    assert not any("ridge" in candidate.all_classical() for candidate in resumed)


def test_an_encoder_that_is_too_slow_is_left_alone_after_two_families() -> None:
    slow = "text_embedding: batch {} of 59, {} s left, 55 s needed"
    first, second = made("logistic", "text_embedding"), made("catboost", "text_embedding")
    late = [
        Report(c.key, "out_of_time", None, (), 8.0, 8.0, 0, 0, slow.format(6 + i, 29 - i))
        for i, c in enumerate((first, second))
    ]
    assert not told((first, late[0])).condemned(made("ridge", "text_embedding"))
    both = told((first, late[0]), (second, late[1]))
    assert both.condemned(made("ridge", "text_embedding"))
    assert not both.condemned(made("logistic", "tfidf"))
