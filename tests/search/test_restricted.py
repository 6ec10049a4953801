"""A space that is another one with only some of its components."""

from __future__ import annotations

from pathlib import Path

import pytest

from fusion_automl.errors import SpaceError
from fusion_automl.search.portfolio import portfolio
from fusion_automl.search.read import read_space
from fusion_automl.search.space import MODALITIES, fit_space

HEAD = 'name = "a"\ndescription = "b"\n'


def _write(folder: Path, text: str) -> Path:
    path = folder / "mine.toml"
    path.write_text(HEAD + text)
    return path


def test_ranges_and_portfolio_are_those_of_the_other_space(tmp_path: Path) -> None:
    whole = read_space("default")
    space = read_space(_write(tmp_path, 'restricts = "default"\n[only]\nclassical = ["ridge", "lightgbm"]'))
    assert list(space.tables["classical"]) == ["ridge", "lightgbm"]
    assert space.tables["classical"]["lightgbm"] == whole.tables["classical"]["lightgbm"]
    assert space.tables["encoder"] == whole.tables["encoder"]
    first = portfolio(fit_space(space, ("tabular",), "regression", 1000))
    assert first and {name for candidate in first for name in candidate.all_classical()} == {"ridge", "lightgbm"}


def test_the_halves_of_the_default_hold_nothing_of_the_other_half() -> None:
    deep = portfolio(fit_space(read_space("deep"), MODALITIES, "binary", 2000))
    classical = portfolio(fit_space(read_space("classical"), MODALITIES, "binary", 2000))
    fixed = portfolio(fit_space(read_space("fixed_fusion"), MODALITIES, "binary", 2000))
    assert deep and not any(candidate.all_classical() or candidate.all_encoders() for candidate in deep)
    assert classical and not any(candidate.all_backbones() for candidate in classical)
    assert fixed and {candidate.fusion.name for candidate in fixed} == {"deep_features"}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('restricts = "defualt"', "unknown space 'defualt'. Did you mean 'default'?"),
        ("restricts = 3", "restricts must name a space, got 3."),
        ('restricts = "default"\n[only]\nclasical = []', r"unknown section 'clasical'. Did you mean 'classical'?"),
        ('restricts = "fast"\n[only]\nclassical = ["knn"]', "[only] classical: unknown name 'knn'."),
        ('restricts = "fast"\n[classical.knn]', "unknown table 'classical'."),
    ],
)
def test_a_mistake_is_named(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(SpaceError) as caught:
        read_space(_write(tmp_path, text))
    assert message in str(caught.value)
