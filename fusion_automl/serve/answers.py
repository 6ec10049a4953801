"""What the service says about its model: predictions, the columns it takes, and who its members are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
import numpy.typing as npt

from fusion_automl.artifact import Artifact
from fusion_automl.data.cells import EXPECTED
from fusion_automl.data.schema import Kind
from fusion_automl.explain import BASELINE, Explanation
from fusion_automl.fusion import level_of
from fusion_automl.serve.model import Model
from fusion_automl.serve.rows import Request

EXPECTED_HERE: dict[Kind, str] = {**EXPECTED, "image": "an encoded image as base64"}


def predictions(artifact: Artifact, answers: npt.NDArray[np.float64]) -> list[dict[str, Any]]:
    """One object a row, from what `Artifact.answers` gave: `prediction`; for classes `probabilities` by class, in the order
    of `task.classes`; for values with an interval `interval`, its two ends."""
    task = artifact.manifest.task
    rows = zip(artifact.labels(answers), answers.tolist(), strict=True)
    if task.is_classification:
        names = [str(label) for label in task.classes]
        return [{"prediction": label, "probabilities": dict(zip(names, row, strict=True))} for label, row in rows]
    if artifact.manifest.readout.interval:
        return [{"prediction": value, "interval": row[1:]} for value, row in rows]
    return [{"prediction": value} for value, _ in rows]


def prediction_answer(model: Model, rows: Request, answers: npt.NDArray[np.float64]) -> dict[str, Any]:
    """A prediction for each row in order; where the client takes what it can get, null for bad rows and their `errors`."""
    found = predictions(model.artifact, answers)
    return {"model": model.name, "version": model.version, **_by_row("predictions", found, rows)}


def explanation_answer(model: Model, rows: Request, found: Sequence[Explanation], *, method: str) -> dict[str, Any]:
    """What each column added, for each row in order as predictions are; `base` and all of it sum to `value`."""
    target = model.artifact.manifest.task.target
    is_class = model.artifact.manifest.task.is_classification
    return {
        "model": model.name,
        "version": model.version,
        "method": method,
        "baseline": BASELINE,
        "unit": f"the probability of the predicted '{target}'" if is_class else f"'{target}'",
        **_by_row("explanations", [asdict(one) for one in found], rows),
    }


def _by_row(word: str, found: Sequence[Any], rows: Request) -> dict[str, Any]:
    if rows.errors is None:
        return {word: found}
    by_row = dict(zip(rows.kept, found, strict=True))
    return {word: [by_row.get(row) for row in range(rows.num_rows)], "errors": rows.errors}


def schema_answer(model: Model) -> dict[str, Any]:
    """The columns of a row; those that are not `required` are ignored, and may be left out."""
    manifest = model.artifact.manifest
    columns = [
        {
            "name": column.name,
            "kind": column.kind,
            "required": column.modality is not None,
            "expected": EXPECTED_HERE.get(column.kind, "anything; it is not used"),
            "example": manifest.example.get(column.name),
        }
        for column in manifest.schema.columns
    ]
    return {"task": manifest.task.kind, "target": manifest.task.target, "columns": columns}


def model_answer(model: Model) -> dict[str, Any]:
    """What the model is worth and what it is made of; scores are turned so that higher is better."""
    manifest = model.artifact.manifest
    return {
        "model": model.name,
        "version": model.version,
        "fusion_automl": manifest.version,
        "task": manifest.task.kind,
        "target": manifest.task.target,
        "classes": list(manifest.task.classes),
        "metric": manifest.metric,
        "score": manifest.score,
        "members": [
            {
                "key": member.candidate.key,
                "weight": member.weight,
                "score": member.score,
                "level": level_of(member.candidate),
                "fusion": member.candidate.fusion.name,
                "candidate": member.candidate.describe(),
            }
            for member in manifest.members
        ],
    }
