"""The files of `deploy/`."""

from __future__ import annotations

from typing import Any

import yaml

from tests.cluster.conftest import ROOT, schemas

__all__ = ["DEPLOY", "KUBERAY", "documents", "schemas", "service"]

DEPLOY = ROOT / "deploy"
KUBERAY = DEPLOY / "kuberay"
Json = dict[str, Any]


def documents(name: str) -> list[Json]:
    """The objects of a manifest in `deploy/kuberay`."""
    return list(yaml.safe_load_all((KUBERAY / f"{name}.yaml").read_text()))


def service() -> Json:
    """What Ray Serve is told."""
    config: Json = yaml.safe_load((DEPLOY / "serve.yaml").read_text())
    return config
