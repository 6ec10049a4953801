"""A loaded artifact: the ensemble as a graph of parts, each run once a batch however many members share it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import pandas as pd

from fusion_automl.artifact.manifest import Manifest
from fusion_automl.data.conform import conform
from fusion_automl.data.images import remember_images
from fusion_automl.data.prepare import prepare_rows
from fusion_automl.encoders.ngrams import remember_texts
from fusion_automl.encoders.remembered import remember_frame
from fusion_automl.ensemble.honest import spread
from fusion_automl.errors import DataError
from fusion_automl.metrics import Metric, all_values, metric_for
from fusion_automl.store.node import Part, Ref
from fusion_automl.task import Label

Floats = npt.NDArray[np.float64]


class Elsewhere(Protocol):
    """Another process that runs those parts of an artifact which the artifact itself does not hold."""

    def start(self, frame: pd.DataFrame) -> Callable[[], Mapping[Ref, Any]]:
        """Begins with the rows of a conformed frame; what it returns waits for what the parts here need of them."""


@dataclass(frozen=True, slots=True)
class Artifact:
    """An ensemble ready to predict; needs neither Ray nor the data it was trained on."""

    manifest: Manifest
    parts: Mapping[str, Part]
    elsewhere: Elsewhere | None = None

    def predict(self, data: Any) -> npt.NDArray[Any]:
        """Labels or values `(rows,)` for anything that `fit` accepts as data. Raises DataError for rows that do not fit."""
        return np.asarray(self.labels(self.probabilities(data)))

    def predict_proba(self, data: Any) -> pd.DataFrame:
        """Class probabilities, one column a class in the order of `manifest.task.classes`."""
        return pd.DataFrame(self.probabilities(data), columns=[str(label) for label in self.manifest.task.classes])

    def predict_table(self, data: Any) -> pd.DataFrame:
        """All there is to say on each row: `prediction`, then `probability_<class>` of each class or, for values, `lower`
        and `upper`, between which nine targets of ten lie."""
        rows, _ = prepare_rows(data, self.manifest.schema, self.manifest.task, where="DATA", with_target=False)
        return self.table(self.answers(rows))

    def table(self, answers: Floats) -> pd.DataFrame:
        """The same from what `answers` gave."""
        task = self.manifest.task
        if task.is_classification:
            others = {f"probability_{label}": answers[:, place] for place, label in enumerate(task.classes)}
        else:
            others = dict(zip(["lower", "upper"], answers.T[1:], strict=False))
        return pd.DataFrame({"prediction": self.labels(answers), **others})

    def evaluate(self, data: Any, *, metric: str | None = None) -> dict[str, float]:
        """Every metric of the task by its usual name and sign, on rows that carry the target.

        A `metric` of one's own, named as for `fit`, is added; the name in the manifest is not followed, since loading an
        artifact runs no code that it names.
        """
        task = self.manifest.task
        frame, y = prepare_rows(data, self.manifest.schema, task, where="DATA")
        if y is None or not len(y):
            raise DataError(f"DATA: to evaluate, rows with the target column '{task.target}' are needed; found none.")
        return self.scores(frame, y, metric=metric_for(task, metric) if metric else None)

    def scores(self, frame: pd.DataFrame, y: npt.NDArray[Any], *, metric: Metric | None = None) -> dict[str, float]:
        """Every metric of the task, and `metric`, for a conformed frame and its targets `(rows,)`."""
        outputs = self.run(frame)
        decided = self.manifest.readout.decision.apply(outputs)
        return all_values(self.manifest.task, y, outputs, decided, extra=metric)

    def probabilities(self, data: Any) -> Floats:
        """`(rows, outputs)` for anything that `fit` accepts as data: class probabilities, or one column of values."""
        schema, task = self.manifest.schema, self.manifest.task
        return self.run(prepare_rows(data, schema, task, where="DATA", with_target=False)[0])

    def labels(self, outputs: Floats) -> list[Label]:
        """The label or value of each row, from what `probabilities` or `answers` gave."""
        return self.manifest.task.decode(self.manifest.readout.decision.apply(outputs))

    def predict_frame(self, frame: pd.DataFrame, *, where: str) -> Floats:
        """`answers` for a frame in memory, conformed here; the way of a service."""
        return self.answers(conform(frame, self.manifest.schema, where=where))

    def run(self, frame: pd.DataFrame) -> Floats:
        """`(rows, outputs)` for a conformed frame: calibrated probabilities, or one column of values."""
        return self.manifest.readout.calibration.apply(self._weighted(self._member_outputs(frame)))

    def answers(self, frame: pd.DataFrame) -> Floats:
        """What `run` gives, and for values with an interval two more columns: its lower and upper end."""
        interval = self.manifest.readout.interval
        if interval is None:
            return self.run(frame)
        outputs = self._member_outputs(frame)
        values = self._weighted(outputs)
        return np.concatenate([values, interval.ends(values[:, 0], self._spread(outputs))], axis=1)

    def _member_outputs(self, frame: pd.DataFrame) -> list[Floats]:
        """`(folds, rows, outputs)` of each member; each part is run once, however many members share it."""
        if not len(frame):
            num_outputs = self.manifest.task.num_outputs
            return [np.zeros((len(member.outputs), 0, num_outputs)) for member in self.manifest.members]
        wait = self.elsewhere.start(frame) if self.elsewhere else dict
        outputs = run_parts(self.manifest.nodes, self.parts, frame, wait=wait)
        return [np.stack([outputs[ref] for ref in member.outputs]) for member in self.manifest.members]

    def _weighted(self, outputs: Sequence[Floats]) -> Floats:
        """Averaged over each member's folds, weighted over members."""
        members = zip(self.manifest.members, outputs, strict=True)
        return np.asarray(sum(member.weight * folds.mean(axis=0) for member, folds in members))

    def _spread(self, outputs: Sequence[Floats]) -> Floats:
        """`(rows,)`: how far members lie apart within a fold, as they did out of fold, averaged over folds."""
        weights = np.array([[member.weight] for member in self.manifest.members])
        by_fold = zip(*(folds[:, :, 0] for folds in outputs), strict=False)  # a member may have more folds than others
        return np.asarray(np.mean([spread(weights, np.stack(fold)) for fold in by_fold], axis=0))


def run_parts(
    nodes: Iterable[str],
    parts: Mapping[str, Part],
    frame: pd.DataFrame,
    *,
    wait: Callable[[], Mapping[Ref, Any]] = dict,
) -> dict[Ref, Any]:
    """All outputs of those of `nodes` that `parts` holds, on a conformed frame; nodes stand after those that they need. `wait`
    gives the outputs of the other ones and is called when the first of them is needed."""
    outputs: dict[Ref, Any] = {}
    waiting = True
    with remember_images(), remember_texts(), remember_frame():
        for part in (parts[key] for key in nodes if key in parts):
            if waiting and any(ref not in outputs for ref in part.node.inputs):
                outputs, waiting = {**outputs, **wait()}, False
            made = part.apply([outputs[ref] for ref in part.node.inputs], frame)
            outputs.update({Ref(part.node.key, name): output for name, output in made.items()})
    return {**outputs, **wait()} if waiting else outputs
