"""What is to be predicted: binary, multiclass or regression, with the classes in their order.

Shapes everywhere in the package: `y` is `(rows,)`, class codes (int64) or values (float64); predictions are
`(rows, outputs)` float64, class probabilities in the order of `Task.classes` (two columns for binary), or one column.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

TaskKind = Literal["binary", "multiclass", "regression"]
Label = str | int | float | bool


@dataclass(frozen=True, slots=True)
class Task:
    """The kind of prediction; `classes` are the labels in code order and empty for regression."""

    kind: TaskKind
    target: str
    classes: tuple[Label, ...] = ()

    @property
    def is_classification(self) -> bool:
        return self.kind != "regression"

    @property
    def num_outputs(self) -> int:
        return len(self.classes) if self.is_classification else 1

    def decode(self, predictions: npt.NDArray[np.float64]) -> list[Label]:
        """Turns `(rows, outputs)` predictions into labels (the most probable class) or values."""
        if not self.is_classification:
            return [float(value) for value in predictions[:, 0]]
        return [self.classes[code] for code in predictions.argmax(axis=1)]

    def to_json(self) -> dict[str, Any]:
        return {"kind": self.kind, "target": self.target, "classes": list(self.classes)}

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> Task:
        return cls(kind=value["kind"], target=value["target"], classes=tuple(value["classes"]))
