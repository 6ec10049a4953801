"""What is to be served: read with sentences for mistakes, and changed by each step of a rollout."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from fusion_automl.errors import UserError
from fusion_automl.serve.plan import Plan, Setup

ONE = {"name": "houses", "path": "s3://b/1"}


def test_a_setup_is_the_same_after_json() -> None:
    setup = Setup(
        (
            Plan("houses", "s3://b/1"),
            Plan("prices", "2", before="1", tried="3", share=0.1),
            Plan("shirts", "2", tried="3"),
        ),
        max_loaded=2,
    )
    assert Setup.of(setup.to_json()) == setup
    assert setup.to_json()["models"][1] == {"name": "prices", "path": "2", "before": "1", "canary": "3", "share": 0.1}
    assert setup.to_json()["models"][2] == {"name": "shirts", "path": "2", "shadow": "3"}


MISTAKES: list[tuple[Any, str]] = [
    (None, "user_config: expected {models: [{name: ..., path: ...}, ...]} with one model at least."),
    ({"models": []}, "user_config: expected {models: "),
    ({"models": [ONE], "max_loded": 3}, "user_config: unknown word 'max_loded'. Known: models, max_loaded."),
    ({"models": [ONE], "max_loaded": 0}, "user_config: max_loaded: expected a number from 1 on, found 0."),
    ({"models": ["houses"]}, "models: expected {name: ..., path: ...}, found 'houses'."),
    ({"models": [{"name": "houses"}]}, "models: houses: 'path' is missing."),
    ({"models": [{**ONE, "path": 3}]}, "models: houses: path: expected text, found 3."),
    ({"models": [{**ONE, "name": "a/b"}]}, "models: a/b: a name stands in the path of requests, so it has no '/'."),
    ({"models": [{**ONE, "canry": "x"}]}, "models: houses: unknown word 'canry'. Known: name, path, before, canary, "),
    ({"models": [{**ONE, "canary": "x"}]}, "models: houses: share: a canary needs one between 0 and 1"),
    ({"models": [{**ONE, "canary": "x", "share": 1}]}, "models: houses: share: a canary needs one between 0 and 1"),
    ({"models": [{**ONE, "shadow": "x", "share": 0.5}]}, "models: houses: share: a canary needs one"),
    (
        {"models": [{**ONE, "shadow": "x", "canary": "y", "share": 0.5}]},
        "models: houses: 'canary' and 'shadow' at once.",
    ),
    ({"models": [ONE, {**ONE, "path": "2"}]}, "models: two are called 'houses' (s3://b/1 and 2). Give each a name"),
]


@pytest.mark.parametrize(("value", "message"), MISTAKES, ids=range(len(MISTAKES)))
def test_each_mistake_is_told(value: Any, message: str) -> None:
    with pytest.raises(UserError) as told:
        Setup.of(value)
    assert str(told.value).startswith(message)


def test_a_rollout_step_by_step_and_back() -> None:
    plan = Plan("houses", "1")
    assert plan.to("2") == Plan("houses", "2", before="1")
    canary = plan.to("2").trying("3", share=0.1)
    assert canary == Plan("houses", "2", before="1", tried="3", share=0.1)
    assert canary.promoted() == Plan("houses", "3", before="2")
    assert canary.back() == plan.to("2")  # first the one on trial, then the one that serves
    assert canary.back().back() == Plan("houses", "1", before="2")
    assert canary.trying("4", share=0) == Plan("houses", "2", before="1", tried="4")
    with pytest.raises(UserError, match=r"^houses: no version of it is being tried"):
        plan.promoted()
    with pytest.raises(UserError, match=r"^houses: there is no version before 1 to go back to"):
        plan.back()
    with pytest.raises(UserError, match=r"^--canary: got 1.5, expected a share of the requests between 0 and 1"):
        plan.trying("2", share=1.5)
    with pytest.raises(UserError, match=r"^trousers: the service has no such model. Its models: houses."):
        Setup((plan,)).plan("trousers")


def test_runs_are_called_by_their_folder_or_as_the_user_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a=b").mkdir()
    monkeypatch.chdir(tmp_path)
    runs = ["runs/houses", "s3://b/k=1/prices/artifact", "shop=runs/houses", "a=b", "s3://b/cars/"]
    found = {plan.name: plan.path for plan in Setup.of_runs(runs).models}
    assert found == {
        "houses": "runs/houses",
        "prices": "s3://b/k=1/prices/artifact",
        "shop": "runs/houses",
        "a=b": "a=b",
        "cars": "s3://b/cars/",
    }
    with pytest.raises(UserError, match=r"^models: two are called 'houses'"):
        Setup.of_runs(["old/houses", "new/houses/artifact"])
