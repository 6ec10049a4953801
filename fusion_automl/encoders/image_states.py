"""What the lower layers of a pretrained vision transformer say about each patch: what `image_lora` learns from."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Self

import pandas as pd

from fusion_automl.data.dataset import Dataset
from fusion_automl.data.schema import Modality
from fusion_automl.deadline import Deadline
from fusion_automl.encoders import pretrained
from fusion_automl.encoders.sequences import Sequences, check_size
from fusion_automl.errors import OutOfTime

if TYPE_CHECKING:
    from fusion_automl.encoders.pretrained_image import FrozenImage


@dataclass(frozen=True, slots=True)
class ImageStates:
    """The states below the last `layers_above` layers, for the patches of a row's images one image after the other; none
    for a row without any image."""

    modality: ClassVar[Modality] = "image"
    requires: ClassVar[tuple[str, ...]] = ()

    checkpoint: str = pretrained.SMALL_VIT
    layers_above: int = 3

    def fit(self, data: Dataset, *, seed: int, deadline: Deadline, threads: int) -> FittedImageStates:
        """Raises FitError where the states of `data` would fill more than `LARGEST` bytes."""
        if deadline.passed():
            raise OutOfTime("image_states: no time left to start.")
        from fusion_automl.encoders.pretrained_image import FrozenImage

        net = FrozenImage.read(pretrained.find(self.checkpoint, self.modality, deadline=deadline))
        net.check_layers(self.layers_above)
        columns = data.schema.names("image")
        fitted = FittedImageStates(net, columns, self.layers_above, deadline=deadline, threads=threads)
        check_size(int(data.frame[list(columns)].notna().to_numpy().sum()) * fitted.steps, fitted.size)
        return fitted


class FittedImageStates:
    """Its `save` keeps the layers above as well, without which nothing could be made of the states."""

    def __init__(
        self,
        net: FrozenImage,
        columns: tuple[str, ...],
        layers_above: int,
        *,
        deadline: Deadline | None = None,
        threads: int | None = None,
    ) -> None:
        self.net, self.columns, self.layers_above = net, columns, layers_above
        self.deadline, self.threads = deadline or Deadline.never(), threads
        self.steps, self.size = net.size(layers_above)

    def transform(self, frame: pd.DataFrame) -> Sequences:
        """Raises OutOfTime as soon as it is clear that the rows do not fit before the fit's deadline."""
        from fusion_automl.backbones.nets.base import torch_threads

        present = frame[list(self.columns)].notna().to_numpy()
        found = Sequences.empty(present.sum(axis=1) * self.steps, self.size)
        with torch_threads(self.threads):
            for index, column in enumerate(self.columns):
                place = present[:, :index].sum(axis=1) * self.steps
                cells = frame[column].to_numpy()
                batches = self.net.states(cells, skip=self.layers_above, deadline=self.deadline, where=column)
                for rows, states_BTD in batches:
                    for row, states_TD in zip(rows, states_BTD.half().cpu().numpy(), strict=True):
                        found.row(row)[place[row] : place[row] + self.steps] = states_TD
        return found

    def save(self, folder: Path) -> None:
        self.net.save(folder)
        (folder / "state.json").write_text(json.dumps({"columns": self.columns, "layers_above": self.layers_above}))

    @classmethod
    def load(cls, folder: Path) -> Self:
        from fusion_automl.encoders.pretrained_image import FrozenImage

        values = json.loads((folder / "state.json").read_text())
        return cls(FrozenImage.load(folder), tuple(values["columns"]), values["layers_above"])
