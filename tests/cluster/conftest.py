"""The files of `cluster/`, read once."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]
CLUSTER = ROOT / "cluster"
RAY_UP = ("aws", "gcp", "onpremise")


def read(name: str) -> Any:
    """The one document of a YAML file below `cluster/`."""
    return yaml.safe_load((CLUSTER / f"{name}.yaml").read_text())


def locked(package: str) -> str:
    """The version that requirements.lock has of a package."""
    lines = (ROOT / "requirements.lock").read_text().splitlines()
    (version,) = (line.partition("==")[2] for line in lines if line.startswith(f"{package}=="))
    return version


@pytest.fixture(scope="session")
def schemas() -> Path:
    """The folder of KubeRay's schemas: `$FUSION_SCHEMAS`, else `../shared/schemas` beside the repository."""
    named = os.environ.get("FUSION_SCHEMAS")
    folder = Path(named) if named else ROOT.parent / "shared" / "schemas"
    if not folder.is_dir():
        pytest.skip("the schemas of KubeRay are not here; set FUSION_SCHEMAS to their folder")
    return folder
