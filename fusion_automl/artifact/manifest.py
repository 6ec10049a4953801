"""The manifest of an artifact: what it predicts from what, who its members are, and the SHA-256 of every other file.

ARTIFACT/manifest.json    ARTIFACT/nodes/<key>/{node.json, stats.json, state/...}
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fusion_automl.candidate import Candidate
from fusion_automl.data.profile import Profile
from fusion_automl.data.schema import Schema
from fusion_automl.ensemble.readout import AS_IT_IS, Readout
from fusion_automl.errors import ArtifactError
from fusion_automl.store.node import Ref
from fusion_automl.task import Task

FORMAT_VERSION = 3
MANIFEST = "manifest.json"
MIGRATIONS: dict[int, Callable[[dict[str, Any]], dict[str, Any]]] = {
    1: lambda manifest: {**manifest, "readout": AS_IT_IS.to_json()},
    2: lambda manifest: {**manifest, "profiles": {}},
}
"""From a format version to the function that turns its manifest into the next version's."""


@dataclass(frozen=True, slots=True)
class Member:
    """A candidate of the ensemble: its weight, its out-of-fold score, and its prediction in each fold."""

    candidate: Candidate
    weight: float
    score: float
    outputs: tuple[Ref, ...]


@dataclass(frozen=True, slots=True)
class Manifest:
    """`score` is the ensemble's honest score by `metric`; `nodes` are in an order in which they can be run; `readout` turns
    the weighted mean of the members into what a user reads; `profiles` tell how the training columns were distributed."""

    task: Task
    schema: Schema
    metric: str
    score: float
    readout: Readout
    members: tuple[Member, ...]
    nodes: tuple[str, ...]
    version: str
    example: dict[str, Any]
    profiles: dict[str, Profile]

    def to_json(self) -> dict[str, Any]:
        return {
            "format_version": FORMAT_VERSION,
            "task": self.task.to_json(),
            "schema": self.schema.to_json(),
            "metric": self.metric,
            "score": self.score,
            "readout": self.readout.to_json(),
            "members": [
                {
                    "candidate": member.candidate.to_json(),
                    "weight": member.weight,
                    "score": member.score,
                    "outputs": [list(ref) for ref in member.outputs],
                }
                for member in self.members
            ],
            "nodes": list(self.nodes),
            "version": self.version,
            "example": self.example,
            "profiles": {name: profile.to_json() for name, profile in self.profiles.items()},
        }

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> Manifest:
        return cls(
            task=Task.from_json(value["task"]),
            schema=Schema.from_json(value["schema"]),
            metric=value["metric"],
            score=value["score"],
            readout=Readout.from_json(value["readout"]),
            members=tuple(
                Member(
                    Candidate.from_json(member["candidate"]),
                    member["weight"],
                    member["score"],
                    tuple(Ref(*ref) for ref in member["outputs"]),
                )
                for member in value["members"]
            ),
            nodes=tuple(value["nodes"]),
            version=value["version"],
            example=value["example"],
            profiles={name: Profile.from_json(profile) for name, profile in value["profiles"].items()},
        )


def sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def files_under(folder: Path) -> dict[str, str]:
    """Every file below `folder` except the manifest, by its path with forward slashes, with its SHA-256."""
    paths = sorted(path for path in folder.rglob("*") if path.is_file() and path.name != MANIFEST)
    return {path.relative_to(folder).as_posix(): sha256(path) for path in paths}


def seal(content: dict[str, Any]) -> str:
    """SHA-256 of what a manifest says. It finds damage, not malice: who can write a manifest can write this."""
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Writes the manifest last: an artifact without one is not an artifact."""
    content = {**manifest.to_json(), "files": files_under(folder)}
    content["sha256"] = seal(content)
    partial = folder / f"{MANIFEST}.partial"
    partial.write_text(json.dumps(content, indent=1))
    partial.rename(folder / MANIFEST)


def read_manifest(folder: Path) -> Manifest:
    """Reads a manifest and checks every file against it. Raises ArtifactError where something is missing or changed."""
    path = folder / MANIFEST
    if not path.exists():
        raise ArtifactError(
            f"{folder}: not an artifact (it has no {MANIFEST}). Give a run folder or its artifact/ folder."
        )
    try:
        value: dict[str, Any] = json.loads(path.read_text())
        version = int(value["format_version"])
    except (ValueError, KeyError, TypeError) as error:
        raise ArtifactError(f"{path}: not readable as a manifest ({error}). Copy the artifact again.") from None
    if version > FORMAT_VERSION:
        raise ArtifactError(
            f"{path}: format version {version}, this release knows up to {FORMAT_VERSION}. Install a newer fusion_automl."
        )
    sealed = value.pop("sha256", None)  # older artifacts have none
    if version < 1 or (sealed is not None and sealed != seal(value)):
        raise ArtifactError(f"{path}: was changed after it was saved. Copy the artifact again.")
    for old in range(version, FORMAT_VERSION):
        value = MIGRATIONS[old](value)
    _check_files(folder, value["files"])
    return Manifest.from_json(value)


def _check_files(folder: Path, expected: dict[str, str]) -> None:
    found = files_under(folder)
    for name, digest in expected.items():
        if name not in found:
            raise ArtifactError(f"{folder}: the file {name} is missing. Copy the artifact again.")
        if found[name] != digest:
            raise ArtifactError(f"{folder}: the file {name} was changed after it was saved. Copy the artifact again.")
    extra = sorted(set(found) - set(expected))
    if extra:
        raise ArtifactError(
            f"{folder}: the file {extra[0]} is not in the manifest. Remove it or copy the artifact again."
        )
