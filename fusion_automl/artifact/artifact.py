"""A loaded artifact: the ensemble as a graph of parts, each run once a batch however many members share it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from fusion_automl.artifact.manifest import Manifest
from fusion_automl.data.conform import conform
from fusion_automl.data.images import remember_images
from fusion_automl.data.prepare import prepare_rows
from fusion_automl.encoders.ngrams import remember_texts
from fusion_automl.errors import DataError
from fusion_automl.metrics import all_values
from fusion_automl.store.node import Part, Ref

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Artifact:
    """An ensemble ready to predict; needs neither Ray nor the data it was trained on."""

    manifest: Manifest
    parts: Mapping[str, Part]

    def predict(self, data: Any) -> npt.NDArray[Any]:
        """Labels or values `(rows,)` for anything that `fit` accepts as data. Raises DataError for rows that do not fit."""
        return np.asarray(self.manifest.task.decode(self.probabilities(data)))

    def predict_proba(self, data: Any) -> pd.DataFrame:
        """Class probabilities, one column a class in the order of `manifest.task.classes`."""
        return pd.DataFrame(self.probabilities(data), columns=[str(label) for label in self.manifest.task.classes])

    def evaluate(self, data: Any) -> dict[str, float]:
        """Every metric of the task by its usual name and sign, on rows that carry the target."""
        task = self.manifest.task
        frame, y = prepare_rows(data, self.manifest.schema, task, where="DATA")
        if y is None or not len(y):
            raise DataError(f"DATA: to evaluate, rows with the target column '{task.target}' are needed; found none.")
        outputs = self.run(frame)
        return all_values(task, y, outputs, outputs)

    def probabilities(self, data: Any) -> Floats:
        """`(rows, outputs)` for anything that `fit` accepts as data: class probabilities, or one column of values."""
        schema, task = self.manifest.schema, self.manifest.task
        return self.run(prepare_rows(data, schema, task, where="DATA", with_target=False)[0])

    def predict_frame(self, frame: pd.DataFrame, *, where: str) -> Floats:
        """`(rows, outputs)` for a frame in memory, conformed here; the way of a service."""
        return self.run(conform(frame, self.manifest.schema, where=where))

    def run(self, frame: pd.DataFrame) -> Floats:
        """`(rows, outputs)` for a conformed frame: weighted over members, averaged over each member's folds."""
        task = self.manifest.task
        total = np.zeros((len(frame), task.num_outputs))
        if not len(frame):
            return total
        outputs: dict[Ref, Any] = {}
        with remember_images(), remember_texts():
            for key in self.manifest.nodes:
                part = self.parts[key]
                made = part.apply([outputs[ref] for ref in part.node.inputs], frame)
                outputs.update({Ref(key, name): output for name, output in made.items()})
        for member in self.manifest.members:
            for ref in member.outputs:
                total += member.weight / len(member.outputs) * outputs[ref]
        return total
