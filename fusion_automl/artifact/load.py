"""Loading an artifact, checked file by file."""

from __future__ import annotations

from pathlib import Path

from fusion_automl.artifact.artifact import Artifact
from fusion_automl.artifact.manifest import MANIFEST, read_manifest
from fusion_automl.errors import ArtifactError
from fusion_automl.store.disk import read_part


def find_artifact(path: str | Path) -> Path:
    """The artifact folder that `path` is, or that it holds as a run folder. Raises ArtifactError."""
    folder = Path(path)
    for place in (folder, folder / "artifact"):
        if (place / MANIFEST).exists():
            return place
    if (folder / "run.json").exists():
        raise ArtifactError(f"{folder}: this run has no artifact yet. Let it finish, or go on with `fit --resume`.")
    raise ArtifactError(f"{folder}: neither a run folder nor an artifact. Give the folder that `fit --out` wrote.")


def load(path: str | Path) -> Artifact:
    """Loads the artifact at `path`, a run folder or an artifact folder. Raises ArtifactError where it is not intact."""
    folder = find_artifact(path)
    manifest = read_manifest(folder)
    return Artifact(manifest, {key: read_part(folder / "nodes" / key) for key in manifest.nodes})
