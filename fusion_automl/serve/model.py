"""A loaded artifact with the name and the version that its answers carry."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from fusion_automl.artifact import Artifact
from fusion_automl.artifact.load import find_artifact, load
from fusion_automl.artifact.manifest import MANIFEST, sha256


@dataclass(frozen=True, slots=True)
class Model:
    """`name` is the run's; `version` begins the manifest's SHA-256, so it changes with any byte of the artifact."""

    artifact: Artifact
    name: str
    version: str


def open_model(path: str | Path) -> Model:
    """Loads the artifact at `path`, a run folder or an artifact folder. Raises ArtifactError where it is not intact."""
    folder = find_artifact(path).resolve()
    name = folder.parent.name if folder.name == "artifact" else folder.name
    return Model(load(folder), name, sha256(folder / MANIFEST)[:12])
