"""A backbone of the table ready to run: with the frozen layers below it, where it has some."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import pandas as pd

from fusion_automl.backbones import BACKBONES, BackboneOutput, Below
from fusion_automl.candidate import Spec
from fusion_automl.component import build, fitted_class
from fusion_automl.data.dataset import Dataset
from fusion_automl.deadline import Deadline
from fusion_automl.encoders import STATES


@dataclass(frozen=True, slots=True)
class Ready:
    """`fitted` with `forward(frame)` for every backbone; `frozen` is the fitted line of `STATES` that feeds it."""

    name: str
    fitted: Any
    frozen: Any = None

    @classmethod
    def fit(cls, spec: Spec, data: Dataset, holdout: Dataset, *, deadline: Deadline) -> Self:
        """The deadline is for the backbone alone."""
        backbone = build(BACKBONES, spec, where="backbones")
        if not hasattr(backbone, "below"):
            return cls(spec.name, backbone.fit(data, holdout, seed=3, deadline=deadline, threads=1))
        layers = build(STATES, backbone.below(), where="states")
        frozen = layers.fit(data, seed=3, deadline=Deadline.never(), threads=1)
        with tempfile.TemporaryDirectory() as folder:
            frozen.save(Path(folder))
            below = Below(frozen.transform(data.frame), frozen.transform(holdout.frame), Path(folder))
            fitted = backbone.fit(data, holdout, seed=3, deadline=deadline, threads=1, below=below)
        return cls(spec.name, fitted, frozen)

    def forward(self, frame: pd.DataFrame) -> BackboneOutput:
        states = [self.frozen.transform(frame)] if self.frozen else []
        output: BackboneOutput = self.fitted.forward(frame, *states)
        return output

    def save(self, folder: Path) -> None:
        """Writes `net`, and `frozen` where there is one, into an existing, empty folder."""
        (folder / "net").mkdir()
        self.fitted.save(folder / "net")
        if self.frozen:
            (folder / "frozen").mkdir()
            self.frozen.save(folder / "frozen")

    @classmethod
    def load(cls, name: str, folder: Path) -> Self:
        net = fitted_class(BACKBONES, name, where="backbones")
        if not (folder / "frozen").exists():
            return cls(name, net.load(folder / "net"))
        states = {"text_lora": "text_states", "image_lora": "image_states"}[name]
        frozen = fitted_class(STATES, states, where="states").load(folder / "frozen")
        return cls(name, net.load(folder / "net", folder / "frozen"), frozen)
