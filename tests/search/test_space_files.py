"""The spaces that come with the package."""

from __future__ import annotations

import itertools
from typing import get_args

import pytest

from fusion_automl.data.schema import Modality
from fusion_automl.search.describe import check_space, describe_space
from fusion_automl.search.portfolio import portfolio
from fusion_automl.search.read import read_space, space_names
from fusion_automl.search.sample import params_of
from fusion_automl.search.space import MODALITIES, TABLES, fit_space, fusion_level
from fusion_automl.task import TaskKind

MIXES: list[tuple[Modality, ...]] = [mix for size in range(1, 5) for mix in itertools.combinations(MODALITIES, size)]


def test_the_names_are_those_of_the_files() -> None:
    assert space_names() == ["classical", "deep", "default", "fast", "fixed_fusion"]
    assert [read_space(name).name for name in space_names()] == space_names()


@pytest.mark.parametrize("name", space_names())
def test_all_of_a_space_can_be_built_and_found_again(name: str) -> None:
    space = read_space(name)
    assert check_space(space) == []
    for mix, task in itertools.product(MIXES, get_args(TaskKind)):
        local = fit_space(space, mix, task, 2000, skewed=True)
        candidates = portfolio(local)
        assert candidates and None not in [params_of(candidate, local) for candidate in candidates]
        assert len({candidate.key for candidate in candidates}) == len(candidates)


def test_the_default_searches_and_tries_everything_there_is() -> None:
    space = read_space("default")
    assert {section: set(names) for section, names in space.tables.items()} == {
        section: set(table) for section, table in TABLES.items()
    }
    places = {task: fit_space(space, MODALITIES, task, 2000, skewed=True) for task in ("multiclass", "regression")}
    tried = {task: portfolio(place) for task, place in places.items()}
    here = places["multiclass"].space.tables  # without pretrained weights that cannot be had where this runs
    assert {name for c in tried["multiclass"] for name in c.all_classical()} == set(TABLES["classical"])
    assert {name for c in tried["multiclass"] for name in c.all_backbones()} == set(here["backbone"])
    assert {name for c in tried["multiclass"] for name in c.all_encoders()} == set(here["encoder"])
    assert {c.fusion.name for c in tried["multiclass"]} == set(TABLES["fusion"])
    assert {c.target for c in tried["regression"]} == {"identity", "log"}


@pytest.mark.parametrize("mix", MIXES, ids="+".join)
def test_the_default_soon_tries_a_classical_model_a_net_and_a_fusion(mix: tuple[Modality, ...]) -> None:
    """A few minutes on a small machine must reach every level of fusion, whatever the mix."""
    for task in get_args(TaskKind):
        first = portfolio(fit_space(read_space("default"), mix, task, 2000))[:32]
        assert {"none", "data", "model", "decision"} <= {fusion_level(candidate.fusion.name) for candidate in first}


def test_the_small_spaces_hold_no_nets() -> None:
    for name in ("classical", "fast"):
        assert not read_space(name).tables["backbone"]
    assert set(read_space("classical").tables["classical"]) == set(TABLES["classical"])


def test_a_space_in_words_names_its_size_ranges_and_portfolio() -> None:
    words = describe_space(read_space("fast"))
    assert "6 classical × 0 backbone × 6 encoder × 1 fusion; 15 hyperparameters searched; 6 portfolio entries" in words
    assert "[classical.lightgbm]\n  n_estimators: 50 .. 300 (log)" in words
    assert "   1. concat(ordinal + tfidf + hog + series_stats -> lightgbm)  [needs tabular]" in words
