from typing import Any

import numpy as np
import pandas as pd
import pytest
from ranks import compare, friedman, holm, log_ratios, loss, loss_table, mean_ranks, record, signed_rank


def line(system: str, case: str, score: float | None, *, metric: str = "roc_auc", seed: int = 0) -> dict[str, Any]:
    scores = None if score is None else {metric: score}
    return {"system": system, "case": case, "seed": seed, "metric": metric, "scores": scores}


def test_losses_count_what_is_missing_to_a_perfect_score() -> None:
    assert loss("roc_auc", 0.9) == pytest.approx(0.1)
    assert loss("mae", 250.0) == 250.0


def test_a_table_averages_seeds_and_keeps_the_cases_that_all_systems_ran() -> None:
    table = loss_table(
        [
            line("a", "x", 0.9),
            line("a", "x", 0.7, seed=1),
            line("b", "x", None),
            line("a", "y", 10.0, metric="mae"),
            line("b", "y", 12.0, metric="mae"),
            line("a", "only a", 0.5),
        ]
    )
    assert list(table.index) == ["x", "y"] and list(table.columns) == ["a", "b"]
    assert table.to_numpy() == pytest.approx(np.array([[0.2, np.inf], [10.0, 12.0]]))


def test_one_seed_without_a_model_makes_the_case_lost() -> None:
    table = loss_table([line("a", "x", 0.9), line("a", "x", None, seed=1), line("b", "x", 0.5)])
    assert table.loc["x", "a"] == np.inf


def test_ranks_share_draws_and_put_no_model_last() -> None:
    table = pd.DataFrame({"a": [0.1, 0.2], "b": [0.1, 0.3], "c": [0.5, np.inf]})
    assert mean_ranks(table).to_dict() == {"a": 1.25, "b": 1.75, "c": 3.0}
    assert record(table, "a", "b") == (1, 1, 0)
    assert record(table, "c", "a") == (0, 0, 2)


def test_holm_multiplies_the_smallest_by_the_count_and_never_falls() -> None:
    assert holm([0.04, 0.01, 0.03]) == pytest.approx([0.06, 0.03, 0.06])
    assert holm([0.6, 0.7]) == [1.0, 1.0]
    assert holm([]) == []


def test_no_model_is_a_larger_difference_than_any_measured_one() -> None:
    table = pd.DataFrame({"a": [0.1, 0.4, 0.2, np.inf], "b": [0.2, 0.1, np.inf, np.inf]})
    ratios = log_ratios(table, "a", "b")
    assert ratios[:2] == pytest.approx([-np.log(2), np.log(4)])
    assert ratios[2] < -np.log(4) and ratios[3] == 0


def test_signed_rank_is_exact_for_few_datasets_and_leaves_draws_out() -> None:
    assert signed_rank(np.array([-1.0, -2.0, -3.0, -4.0, -5.0, 0.0])) == pytest.approx(2 / 2**5)
    assert signed_rank(np.zeros(4)) == 1.0


def test_comparisons_say_when_there_are_too_few_datasets() -> None:
    few = pd.DataFrame({"joint": [1.0, 1.0, 1.0], "deep": [2.0, 2.1, 2.2]})
    (told,) = compare(few, "joint")
    assert not told.can_tell and told.record == (3, 0, 0)
    assert "too few datasets for the test to tell" in str(told)
    losses = np.linspace(1.5, 2.5, 10)
    (told,) = compare(pd.DataFrame({"joint": np.ones(10), "deep": losses}), "joint")
    assert told.can_tell and told.p_value == pytest.approx(2 / 2**10)
    assert str(told) == (
        "joint against deep: 10 won, 0 drawn, 0 lost; its loss is 0.500 times (median); p = 0.00195: a difference"
    )


def test_more_restrictions_need_more_datasets() -> None:
    table = pd.DataFrame({"joint": np.ones(6), "deep": np.arange(2.0, 8.0), "classical": np.arange(3.0, 9.0)})
    assert [told.can_tell for told in compare(table, "joint")] == [False, False]
    assert [told.p_value for told in compare(table, "joint")] == pytest.approx([0.0625, 0.0625])


def test_friedman_needs_three_systems_and_sees_a_clear_order() -> None:
    assert friedman(pd.DataFrame({"a": [1, 2, 3], "b": [2, 3, 4]})) is None
    clear = pd.DataFrame({"a": [1.0] * 8, "b": [2.0] * 8, "c": [3.0] * 8})
    p_value = friedman(clear)
    assert p_value is not None and p_value == pytest.approx(np.exp(-8))  # chi-squared of 16 with 2 degrees of freedom
    assert friedman(pd.DataFrame({"a": [1.0] * 3, "b": [1.0] * 3, "c": [1.0] * 3})) == 1.0
