"""Saving an ensemble: the nodes its members need, copied out of the store."""

from __future__ import annotations

import shutil
from pathlib import Path

from fusion_automl.artifact.manifest import Manifest, write_manifest
from fusion_automl.store.disk import Store


def save(manifest: Manifest, store: Store, folder: Path) -> None:
    """Writes the artifact beside `folder` and moves it there whole, in place of an older one."""
    partial = folder.with_name(f".{folder.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    store.bring(manifest.nodes)
    for key in manifest.nodes:
        place = partial / "nodes" / key
        shutil.copytree(store.folder / key / "state", place / "state")
        for name in ("node.json", "stats.json"):
            shutil.copy2(store.folder / key / name, place / name)
    write_manifest(partial, manifest)
    old = folder.with_name(f".{folder.name}.old")
    if folder.exists():
        folder.rename(old)
    partial.rename(folder)
    shutil.rmtree(old, ignore_errors=True)
