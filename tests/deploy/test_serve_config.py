"""The Serve config: Ray takes it, it names our application, and its times and numbers go together."""

from __future__ import annotations

import warnings
from typing import Any

import pytest
import yaml

from fusion_automl.serve.limits import MAX_REQUESTS, MAX_SECONDS
from fusion_automl.serve.plan import Setup
from tests.deploy.conftest import documents, service


@pytest.fixture
def serve() -> Any:
    """Ray Serve's schema and our deployment, imported past the warnings that Ray's own code gives rise to."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from ray.serve import config, schema

        from fusion_automl.serve import deployment
    return config, schema, deployment


def unknown(given: Any, taken: Any, where: str = "") -> list[str]:
    """The names in `given` that the schema passed over, which pydantic does without a word."""
    if isinstance(given, dict):
        return [
            found
            for name, value in given.items()
            for found in ([f"{where}.{name}"] if name not in taken else unknown(value, taken[name], f"{where}.{name}"))
        ]
    if isinstance(given, list):
        return [found for value, kept in zip(given, taken, strict=True) for found in unknown(value, kept, where)]
    return []


def test_ray_takes_every_word_of_it(serve: Any) -> None:
    config, schema, _ = serve
    taken = schema.ServeDeploySchema.model_validate(service())
    assert unknown(service(), taken.model_dump(exclude_unset=True)) == []
    assert taken.proxy_location == "EveryNode"
    scaling = service()["applications"][0]["deployments"][0]["autoscaling_config"]
    assert set(scaling) <= set(config.AutoscalingConfig.model_fields)  # a dict to the schema
    wrong = service()
    wrong["applications"][0]["deployments"][0]["max_ongoing_reqests"] = 3
    taken = schema.ServeDeploySchema.model_validate(wrong)
    assert unknown(wrong, taken.model_dump(exclude_unset=True)) == [".applications.deployments.max_ongoing_reqests"]


def test_it_names_our_application(serve: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    _, _, deployment = serve
    (app,) = service()["applications"]
    assert app["import_path"] == f"{deployment.__name__}:{deployment.application.__name__}"
    monkeypatch.setenv("FUSION_AUTOML_TOKEN", "sesame")
    bound = deployment.application(app["args"])._bound_deployment
    assert [override["name"] for override in app["deployments"]] == [bound.name]
    assert bound.ray_actor_options["num_cpus"] == int(app["args"]["cpus"]) > 1
    setup = Setup.of(app["deployments"][0]["user_config"])
    assert [plan.path.startswith("s3://") for plan in setup.models] == [True]


def test_numbers_go_together() -> None:
    config = service()
    (deployment,) = config["applications"][0]["deployments"]
    scaling = deployment["autoscaling_config"]
    assert 2 <= scaling["min_replicas"] < scaling["max_replicas"]
    assert scaling["target_ongoing_requests"] < MAX_REQUESTS < deployment["max_ongoing_requests"]
    assert MAX_SECONDS < config["http_options"]["request_timeout_s"]
    assert scaling["upscale_delay_s"] < scaling["downscale_delay_s"]
    assert deployment["max_surge_percent"] > 0  # else the old replica stops before the new one is up
    assert deployment["graceful_shutdown_timeout_s"] > config["http_options"]["request_timeout_s"]
    assert config["http_options"]["keep_alive_timeout_s"] > 90  # Traefik's, the longest of the usual ones
    assert deployment["backpressure_config"]["retry_after_s"] > 0


def test_kuberay_s_manifest_holds_the_same() -> None:
    (manifest,) = documents("rayservice")
    assert yaml.safe_load(manifest["spec"]["serveConfigV2"]) == service()
