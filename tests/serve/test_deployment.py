"""What a Serve config gets: the application by its import path."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import pytest

from fusion_automl.errors import ArtifactError, UserError
from fusion_automl.serve import run


@pytest.fixture
def deployment() -> Any:
    """The module, imported past the warnings that Ray's own code gives rise to."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from fusion_automl.serve import deployment
    return deployment


def test_a_config_s_arguments_reach_the_deployment(deployment: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FUSION_AUTOML_TOKEN", "sesame")
    bound = deployment.application({"cpus": "2"})._bound_deployment
    assert bound.name == "fusion_automl"
    assert bound.ray_actor_options["num_cpus"] == 2
    assert bound.max_ongoing_requests == 192 and bound.max_queued_requests == 128


@pytest.mark.parametrize("token", ["", "two words", "s\xe9same", "new\nline"])
def test_a_token_that_will_not_do_is_told(deployment: Any, monkeypatch: pytest.MonkeyPatch, token: str) -> None:
    monkeypatch.setenv("FUSION_AUTOML_TOKEN", token)
    with pytest.raises(UserError, match=r"^FUSION_AUTOML_TOKEN: "):
        deployment.application({})


def test_a_folder_without_an_artifact_is_told_before_ray_starts(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match="neither a run folder nor an artifact"):
        run(tmp_path)
