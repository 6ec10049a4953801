from typing import Any

import pytest
from goals import Verdict, judge, lead, summarize
from versus import figure, print_tables


def line(system: str, case: str, score: float | None, *, metric: str = "roc_auc", **more: Any) -> dict[str, Any]:
    usual = {"seed": 0, "budget": 150.0, "seconds": 140.0, "peak_bytes": 1e9, "machine": "a box", "reason": "it fell"}
    if score is not None:
        usual |= {"rows_per_second": 1000.0, "artifact_bytes": 5e6}
    scores = None if score is None else {metric: score, "accuracy": 0.8}
    return {"system": system, "case": case, "metric": metric, "scores": scores, **usual, **more}


def verdict(lines: list[dict[str, Any]], start: str) -> Verdict:
    return next(verdict for verdict in judge(lines) if verdict.goal.startswith(start))


def pair(case: str, ours: float | None, theirs: float | None, **more: Any) -> list[dict[str, Any]]:
    return [line("fusion", case, ours, **more), line("autogluon_tabular", case, theirs, **more)]


def test_a_summary_takes_mean_scores_and_worst_costs_over_seeds() -> None:
    lines = [line("fusion", "houses", 10.0, metric="mae"), line("fusion", "houses", 14.0, metric="mae", seed=1)]
    lines[1] |= {"seconds": 165.0, "peak_bytes": 2e9}
    row = summarize(lines).loc[("houses", "fusion")]
    assert (row.score, row.seeds, row.failed, row.overrun, row.peak_bytes) == (12.0, 2, 0, 1.1, 2e9)
    assert row.spread == pytest.approx(8**0.5)


def test_lead_is_positive_where_we_are_ahead_whatever_the_sign_of_the_metric() -> None:
    table = summarize(
        [
            *pair("houses", 9.0, 10.0, metric="mae"),
            *pair("adult", 0.9, 0.92),
            *pair("german_credit", None, 0.8),
            *pair("ames_housing", 5.0, None, metric="rmse"),
        ]
    )
    assert lead(table, "houses", "autogluon_tabular") == 1.0
    assert lead(table, "adult", "autogluon_tabular") == pytest.approx(-0.02)
    assert lead(table, "german_credit", "autogluon_tabular") == -float("inf")
    assert lead(table, "ames_housing", "autogluon_tabular") == float("inf")


def test_a_case_with_text_must_be_won_against_every_peer() -> None:
    lines = [*pair("rotten_tomatoes", 0.9, 0.8), line("flaml", "rotten_tomatoes", None)]
    assert verdict(lines, "a win").met is True
    lines.append(line("automm", "rotten_tomatoes", 0.95))
    told = verdict(lines, "a win")
    assert told.met is False and told.found == "rotten_tomatoes not won against automm (-0.05)"
    assert str(told).startswith("NOT MET: a win on every case with text, image or both. ")


def test_marks_are_judged_in_their_own_budget_only() -> None:
    lines = pair("womens_recommended", 0.965, 0.88)
    assert not any("0.97" in verdict.goal for verdict in judge(lines))
    assert verdict([{**line, "budget": 600.0} for line in lines], "womens_recommended: roc_auc").met is False


def test_a_table_is_lost_only_beyond_the_noise_between_seeds() -> None:
    def lines(*ours: float) -> list[dict[str, Any]]:
        return [
            each
            for seed, score in enumerate(ours)
            for each in pair("german_credit", score, 0.80 + 0.01 * seed, seed=seed)
        ]

    assert verdict(lines(0.80, 0.81), "german_credit").met is True
    assert verdict(lines(0.79, 0.81), "german_credit").met is True  # behind by 0.005, noise 0.022
    assert verdict(lines(0.70, 0.71), "german_credit").met is False
    assert verdict(lines(0.79), "german_credit").met is None
    assert verdict(lines(0.81), "german_credit").met is True


def test_the_fast_form_of_ours_is_judged_by_its_speed_alone(capsys: pytest.CaptureFixture[str]) -> None:
    lines = [*pair("adult", 0.93, 0.92), line("fusion_fast", "adult", 0.925)]
    lines[2]["rows_per_second"] = 9000.0
    told = verdict(lines, "at the same score")
    assert told.met is True and told.found == "Times faster: adult 1.0 or 9.0 (fast-inference)"
    assert verdict(lines, "better mean rank").found == "Mean ranks over 1 cases: fusion 1.00, autogluon_tabular 2.00"
    rich = [*pair("rotten_tomatoes", 0.9, 0.8), line("fusion_fast", "rotten_tomatoes", 0.95)]
    assert verdict(rich, "a win").met is True
    lines[2]["scores"] = {"roc_auc": 0.91}
    assert verdict(lines, "at the same score").met is False
    print_tables(lines)
    assert "over the 1 cases" in capsys.readouterr().out


def test_speed_counts_where_our_score_is_as_good() -> None:
    lines = [*pair("adult", 0.93, 0.92), *pair("german_credit", 0.7, 0.8)]
    lines[0]["rows_per_second"] = 3500.0
    lines[2]["rows_per_second"] = 1.0
    told = verdict(lines, "at the same score")
    assert told.met is True and told.found == "Times faster: adult 3.5"
    lines[0]["rows_per_second"] = 2900.0
    assert verdict(lines, "at the same score").met is False


def test_budget_and_memory_are_judged_by_the_worst_case() -> None:
    lines = [*pair("adult", 0.93, 0.92), *pair("german_credit", 0.8, 0.8)]
    lines[2] |= {"seconds": 158.0, "peak_bytes": 1.5e9}
    told = verdict(lines, "budget overrun")
    assert told.met is False and "105.3% of the budget used (german_credit)" in told.found
    told = verdict(lines, "peak memory")
    assert told.met is False and told.found == "Higher, times: german_credit 1.50"
    lines[2] |= {"seconds": 156.0, "peak_bytes": 1e9}
    assert verdict(lines, "budget overrun").met is True and verdict(lines, "peak memory").met is True


def test_mean_rank_must_be_better_than_every_peers() -> None:
    lines = [*pair("adult", 0.93, 0.92), *pair("german_credit", 0.8, 0.81)]
    assert verdict(lines, "better mean rank").met is False  # 1.5 each
    lines += pair("credit_default", 0.8, 0.79)
    told = verdict(lines, "better mean rank")
    assert told.met is True and told.found == "Mean ranks over 3 cases: fusion 1.33, autogluon_tabular 1.67"


def test_nothing_is_judged_without_a_peer() -> None:
    assert judge([line("fusion", "adult", 0.9)]) == []


def test_the_tables_hold_figures_ranks_failures_and_goals(capsys: pytest.CaptureFixture[str]) -> None:
    print_tables(
        [*pair("adult", 0.93, 0.92), *pair("rotten_tomatoes", 0.9, None), line("fusion", "x", 0.5, budget=9.0)]
    )
    shown = capsys.readouterr().out
    assert shown.count("Mean rank over") == 1  # none for a system alone
    assert shown.index("Budget 9 s") < shown.index("Budget 150 s")
    assert (
        "adult               roc_auc   fusion                  0.9300          -        93.3%    1,000   5.0000"
        in shown
    )
    assert "1.00  fusion             won-drawn-lost against autogluon_tabular 2-0-0" in shown
    assert "rotten_tomatoes, fusion: accuracy 0.8000" in shown
    assert "rotten_tomatoes, autogluon_tabular, seed 0: no model. it fell" in shown
    assert "met: better mean rank than every peer" in shown


def test_figures_have_the_digits_that_matter() -> None:
    assert [figure(value) for value in (0.12345, 12.345, 194142.3, float("nan"))] == ["0.1235", "12.3", "194,142", "-"]
