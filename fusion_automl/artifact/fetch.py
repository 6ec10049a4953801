"""An artifact out of a bucket, brought once to this machine."""

from __future__ import annotations

import json
import shutil
import uuid
from pathlib import Path

from fusion_automl.artifact.manifest import MANIFEST, read_manifest, sha256
from fusion_automl.data.storage import exists, not_found
from fusion_automl.errors import ArtifactError
from fusion_automl.store.bucket import PATIENCE_SECONDS, Bucket
from fusion_automl.store.mirror import cache_folder


def fetch_artifact(uri: str) -> Path:
    """The folder of the artifact that `uri` is, or that it holds as a run, checked by its manifest.

    It lies in the cache by the manifest's SHA-256, so that a later one at the same place does not disturb who uses this one.
    Raises ArtifactError, and BucketError where the bucket does not answer.
    """
    bucket = Bucket(uri, patience=PATIENCE_SECONDS)
    for inside in ("", "artifact/"):
        manifest = bucket.read(f"{inside}{MANIFEST}")
        if manifest is not None:
            return _fetch(bucket, inside, manifest)
    if bucket.read("run.json") is not None:
        raise ArtifactError(f"{uri}: this run has no artifact yet. Let it finish, or go on with `fit --resume`.")
    if not exists(bucket.uri):
        raise not_found(bucket.uri)
    raise ArtifactError(f"{uri}: neither a run nor an artifact. Give the place that `fit --out` wrote to.")


def _fetch(bucket: Bucket, inside: str, manifest: bytes) -> Path:
    cache = cache_folder() / "artifacts"
    partial = cache / f".{uuid.uuid4().hex[:8]}"
    partial.mkdir(parents=True)
    try:
        (partial / MANIFEST).write_bytes(manifest)
        # The run's name stays in the path, since a service is called by it.
        run = bucket.uri.removesuffix("/artifact").rpartition("/")[2]
        folder = cache / sha256(partial / MANIFEST)[:16] / run / "artifact"
        if folder.exists():
            return folder
        try:
            names = list(json.loads(manifest)["files"])
        except (ValueError, KeyError, TypeError):
            names = []  # `read_manifest` says what is wrong with it
        if any(Path(name).is_absolute() or ".." in Path(name).parts for name in names):
            raise ArtifactError(f"{bucket.uri}: its manifest names files outside the artifact; it was tampered with.")
        if not bucket.download([f"{inside}{name}" for name in names], partial):
            raise ArtifactError(f"{bucket.uri}: files of its manifest are missing. Is it being replaced? Try again.")
        ready = partial / inside
        ready.mkdir(exist_ok=True)
        (partial / MANIFEST).rename(ready / MANIFEST)
        for node in read_manifest(ready).nodes:
            (ready / "nodes" / node / "state").mkdir(exist_ok=True)  # a bucket has no empty folders
        folder.parent.mkdir(parents=True, exist_ok=True)
        try:
            ready.rename(folder)
        except OSError:
            if not folder.exists():  # else another process was as fast
                raise
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return folder
