"""Loading an artifact, checked file by file."""

from __future__ import annotations

from pathlib import Path

from fusion_automl.artifact.artifact import Artifact
from fusion_automl.artifact.fetch import fetch_artifact
from fusion_automl.artifact.manifest import MANIFEST, read_manifest
from fusion_automl.data.cells import short
from fusion_automl.data.storage import is_remote
from fusion_automl.errors import ArtifactError, FusionError
from fusion_automl.store.disk import read_part
from fusion_automl.store.node import Part


def find_artifact(path: str | Path) -> Path:
    """The artifact folder that `path` is, or that it holds as a run folder; of a URI, its copy on this machine.

    Raises ArtifactError.
    """
    if is_remote(str(path)):
        return fetch_artifact(str(path))
    folder = Path(path)
    for place in (folder, folder / "artifact"):
        if (place / MANIFEST).exists():
            return place
    if (folder / "run.json").exists():
        raise ArtifactError(f"{folder}: this run has no artifact yet. Let it finish, or go on with `fit --resume`.")
    raise ArtifactError(f"{folder}: neither a run folder nor an artifact. Give the folder that `fit --out` wrote.")


def load(path: str | Path) -> Artifact:
    """Loads the artifact at `path`, a run folder, an artifact folder, or the URI of one.

    Raises ArtifactError where it is not intact.
    """
    folder = find_artifact(path)
    manifest = read_manifest(folder)
    return Artifact(manifest, {key: _load_part(folder / "nodes" / key) for key in manifest.nodes})


def _load_part(node: Path) -> Part:
    try:
        return read_part(node)
    except FusionError:
        raise
    except Exception as error:  # each library has its own for a file that it did not write
        raise ArtifactError(
            f"{node}: cannot be read ({type(error).__name__}: {short(str(error))}). Copy the artifact again."
        ) from error
