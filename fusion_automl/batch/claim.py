"""What the predictions in a folder belong to, so that those of another artifact or of other data never lie beside them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fusion_automl.artifact.manifest import MANIFEST, sha256
from fusion_automl.batch.shards import Input
from fusion_automl.data import storage
from fusion_automl.errors import DataError

FORMAT = 1
CLAIM = ".predictions.json"
"""Hidden, so that whoever reads the folder as one table of Parquet parts does not stumble over it."""


@dataclass(frozen=True, slots=True)
class Claim:
    """The SHA-256 of the artifact's manifest, which holds those of all its files; the input, file by file; the columns
    that are carried over."""

    artifact: str
    inputs: Mapping[str, Mapping[str, Any]]
    keep: tuple[str, ...]

    @classmethod
    def of(cls, artifact: Path, inputs: Sequence[Input], keep: Sequence[str]) -> Claim:
        files = {
            each.name: {"bytes": each.stamp.num_bytes, "mark": each.stamp.mark, "shards": len(each.shards)}
            for each in inputs
        }
        return cls(sha256(artifact / MANIFEST), files, tuple(keep))

    def to_json(self) -> dict[str, Any]:
        return {"format": FORMAT, "artifact": self.artifact, "keep": list(self.keep), "inputs": self.inputs}


def stake(out: str, claim: Claim) -> set[str]:
    """Takes `out` for these predictions, or takes it up again, and returns the names of the files that are there.

    Raises DataError where `out` holds anything else.
    """
    path = storage.join(out, CLAIM)
    here = set(storage.files_under(out)) if storage.exists(out) else set()
    if not storage.exists(path):
        if here:
            raise DataError(
                f"--out: {out} holds files that this command has not written, such as {min(here)}. Name a new folder."
            )
        with storage.replacing(path) as file:
            file.write_text(json.dumps(claim.to_json(), indent=1))
        return here
    try:
        found = json.loads(storage.read_bytes(path))
        known = Claim(found["artifact"], found["inputs"], tuple(found["keep"]))
    except (ValueError, KeyError, TypeError):
        raise DataError(f"{path}: not readable. Name a new folder with --out, or remove {out}.") from None
    difference = _difference(known, claim)
    if difference:
        raise DataError(f"--out: {out} holds predictions {difference}. Name a new folder, or remove this one.")
    return here


def _difference(known: Claim, claim: Claim) -> str:
    if known.artifact != claim.artifact:
        return f"of another artifact (SHA-256 {known.artifact[:12]}, this one has {claim.artifact[:12]})"
    if known.keep != claim.keep:
        return f"with --keep {','.join(known.keep) or 'nothing'}, not {','.join(claim.keep) or 'nothing'}"
    names = [name for name in {**known.inputs, **claim.inputs} if known.inputs.get(name) != claim.inputs.get(name)]
    if not names:
        return ""
    name = min(names)
    what = "was changed" if name in known.inputs and name in claim.inputs else "is new"
    return f"for other data: {name} {what if name in claim.inputs else 'is gone'} ({len(names)} such files)"
