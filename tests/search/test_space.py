"""One space, many datasets: what is kept for each, and what the portfolio becomes."""

from __future__ import annotations

from pathlib import Path

import pytest

from fusion_automl.classical.lightgbm import LightGBM
from fusion_automl.data.schema import Column, Modality, Schema
from fusion_automl.errors import SpaceError
from fusion_automl.search.portfolio import portfolio
from fusion_automl.search.space import LocalSpace, fit_space
from fusion_automl.task import Task, TaskKind
from tests.search.spaces import small_space, write


def local(
    folder: Path, *modalities: Modality, task: TaskKind = "binary", rows: int = 1000, skewed: bool = False
) -> LocalSpace:
    return fit_space(small_space(folder), modalities, task, rows, skewed=skewed)


def described(place: LocalSpace) -> list[str]:
    return [candidate.describe() for candidate in portfolio(place)]


def test_one_portfolio_serves_every_mix_of_modalities(tmp_path: Path) -> None:
    assert described(local(tmp_path, "tabular")) == [
        "concat(ordinal -> lightgbm)",
    ]
    assert described(local(tmp_path, "text")) == ["backbone(text_cnn)", "deep_features(text_rnn -> logistic)"]
    assert described(local(tmp_path, "tabular", "text")) == [
        "concat(ordinal -> lightgbm)",
        "backbone(text_cnn)",
        "deep_features(text_rnn + onehot -> logistic)",
        "stack(concat(ordinal -> ridge), backbone(text_cnn))",
    ]
    assert described(local(tmp_path, "tabular", "image", task="regression", skewed=True)) == [
        "concat(ordinal + pixels -> lightgbm)",
        "concat(ordinal -> lightgbm)",
        "concat(ordinal -> lightgbm, log target)",
        "concat(onehot -> ridge)",
    ]


def test_conditions_of_an_entry_hold(tmp_path: Path) -> None:
    assert "concat(onehot -> ridge)" not in described(local(tmp_path, "tabular", "image", rows=5001))
    assert "log" not in "".join(described(local(tmp_path, "tabular", "image", task="regression")))
    assert "log" not in "".join(described(local(tmp_path, "tabular", "image", task="binary", skewed=True)))


def test_only_what_fits_is_kept(tmp_path: Path) -> None:
    place = local(tmp_path, "tabular", "series", task="regression")
    assert list(place.space.tables["classical"]) == ["lightgbm", "ridge"]
    assert place.fusions == {"data": ("concat",), "decision": ("average", "stack")}
    assert place.branches == (("concat", "lightgbm"), ("concat", "ridge"))
    assert place.sets["codes"] == {
        "tabular": ("ordinal", "onehot"),
        "series": ("series_stats", "minirocket", "series_stats+minirocket"),
    }
    assert place.sets["dense"]["tabular"] == ("onehot", "ordinal")  # codes for a ridge: the portfolio says so
    assert place.notes == ()


def test_a_missing_library_and_too_many_rows_are_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(LightGBM, "requires", ("lightgbm_that_is_not_there",))
    place = local(tmp_path, "tabular", rows=300_000)
    assert place.notes == (
        "lightgbm is left out: it needs lightgbm_that_is_not_there."
        " Install with: pip install 'lightgbm_that_is_not_there'",
        "logistic is left out: 300,000 rows are more than the 200,000 it is meant for.",
    )
    assert place.branches == (("concat", "ridge"),)
    assert "decision" not in place.fusions
    assert portfolio(place) == []


def test_nothing_left_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(SpaceError, match="nothing here fits a binary target with modalities: none"):
        local(tmp_path)
    path = write(tmp_path, 'name = "a"\ndescription = "b"\n[classical.lightgbm]\n[encoder.pixels]\n[fusion.concat]')
    from fusion_automl.search.read import read_space

    with pytest.raises(SpaceError, match="nothing here fits a binary target with modalities: text"):
        fit_space(read_space(path), ("text",), "binary", 100)


def test_restrict_takes_the_modalities_from_the_schema(tmp_path: Path) -> None:
    schema = Schema((Column("a", "numeric"), Column("b", "image"), Column("c", "identifier")))
    task = Task("regression", "y")
    assert small_space(tmp_path).restrict(schema, task, 10, skewed=True) == fit_space(
        small_space(tmp_path), ("tabular", "image"), "regression", 10, skewed=True
    )
