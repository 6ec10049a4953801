"""A version of a model that is loaded and warm: it reads rows, predicts them, and counts what it does."""

from __future__ import annotations

import asyncio
import json
import time
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from fusion_automl.data.conform import as_frame, num_rows
from fusion_automl.explain import coalitions_of, explanations
from fusion_automl.serve.answers import explanation_answer, prediction_answer
from fusion_automl.serve.batch import Batcher
from fusion_automl.serve.drift import Drift
from fusion_automl.serve.intake import Reader
from fusion_automl.serve.model import Model
from fusion_automl.serve.pace import Pace
from fusion_automl.serve.rows import Refused, Request, read_request
from fusion_automl.serve.trace import Figures, Metrics

WARM_ROWS = 32
PART_ROWS = 1024
MAX_EXPLAINED_ROWS = 64
MAX_ASKED_ROWS = 16 * PART_ROWS
"""Rows that the model is asked for to explain those of one request."""


class Predicted(NamedTuple):
    rows: Request
    outputs: npt.NDArray[np.float64]


class Served:
    """Made in some seconds, for another thread than that of the requests: it predicts the model's own example once, so that it
    starts warm, and raises what that raises."""

    def __init__(self, model: Model, *, name: str, path: str, metrics: Metrics) -> None:
        self.model = replace(model, name=name)
        self.path = path
        artifact = model.artifact
        self.schema = artifact.manifest.schema
        self.figures = Figures(metrics, name, model.version)
        labels = {"model": name, "version": model.version}
        self.drift = Drift(artifact.manifest.profiles, images=self.schema.names("image"), labels=labels)
        pace = Pace()
        self.batcher = Batcher(artifact.answers, pace=pace, figures=self.figures)
        example = read_request(json.dumps({"rows": [artifact.manifest.example]}).encode(), self.schema)
        self.example_answer = prediction_answer(self.model, example, artifact.answers(as_frame(example.columns, 1)))
        for rows in (1, WARM_ROWS):
            frame = as_frame({name: np.repeat(cells, rows) for name, cells in example.columns.items()}, rows)
            began = time.perf_counter()
            artifact.answers(frame)
            pace.add(rows, time.perf_counter() - began)
        self.coalitions = coalitions_of(self.schema.used)
        self.max_explained = max(1, min(MAX_EXPLAINED_ROWS, MAX_ASKED_ROWS // len(self.coalitions.told)))

    async def predict(self, read: Reader) -> Predicted:
        """The rows of a request and the model's outputs for them. Raises Refused."""
        rows = await self._read(read)
        outputs = await self.batcher.submit(rows.columns)
        self.drift.add(rows.columns)
        self.figures.rows.inc(len(rows.kept))
        self.figures.refused.inc(rows.num_rows - len(rows.kept))
        return Predicted(rows, outputs)

    async def explain(self, read: Reader) -> dict[str, Any]:
        """What each column added to the predictions of a request's rows. Raises Refused."""
        rows = await self._read(read)
        count = len(rows.kept)
        if count > self.max_explained:
            most = f"at most {self.max_explained} are explained in one request"
            raise Refused(413, f"{count:,} rows, {most}. Send them in parts.")
        asked = await asyncio.to_thread(self.coalitions.rows, rows.columns, self.schema)
        # In parts, between which the requests of others have their turn.
        parts = [
            {name: cells[at : at + PART_ROWS] for name, cells in asked.items()}
            for at in range(0, max(num_rows(asked), 1), PART_ROWS)
        ]
        outputs = np.concatenate([await self.batcher.submit(part) for part in parts])
        found = await asyncio.to_thread(explanations, self.model.artifact, self.coalitions, outputs)
        return explanation_answer(self.model, rows, found, method=self.coalitions.method)

    async def _read(self, read: Reader) -> Request:
        try:
            return await read(self.schema)
        except Refused as refused:
            fields = refused.detail if isinstance(refused.detail, list) else ()
            self.figures.refused.inc(len({field["row"] for field in fields}))
            raise
