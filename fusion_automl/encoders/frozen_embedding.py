"""What embeddings of a frozen pretrained net have in common once they are made, whatever the net reads."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from fusion_automl.candidate import Spec
from fusion_automl.deadline import Deadline

Vectors = npt.NDArray[np.float32]


def whole(spec: Spec) -> Spec:
    """The embedding without its projection on principal components, which are not the same in every fold."""
    return Spec.of(spec.name, **{name: value for name, value in spec.params if name != "components"})


class FittedEmbedding:
    """A vector of `size` numbers for each cell of `columns`, side by side, of length 1 if `normalize`.

    Runs until the deadline and with the threads of its fit; once loaded, without a deadline and with torch's threads.
    """

    net: Any
    categorical: tuple[int, ...] = ()

    def __init__(
        self,
        net: Any,
        columns: tuple[str, ...],
        size: int,
        *,
        normalize: bool,
        deadline: Deadline | None = None,
        threads: int | None = None,
    ) -> None:
        self.net, self.columns, self.size, self.normalize = net, columns, size, normalize
        self.deadline, self.threads = deadline or Deadline.never(), threads
        self.names = tuple(f"{column} embedding {index}" for column in columns for index in range(size))

    def embed(self, frame: pd.DataFrame) -> list[Vectors]:
        """`(rows, size)` for each column, zeros where a cell is missing."""
        raise NotImplementedError

    def transform(self, frame: pd.DataFrame) -> Vectors:
        """Raises OutOfTime as soon as it is clear that the rows do not fit before the fit's deadline."""
        from fusion_automl.backbones.nets.base import torch_threads

        with torch_threads(self.threads):
            blocks = self.embed(frame)
        if self.normalize:
            blocks = [b / np.maximum(np.linalg.norm(b, axis=1, keepdims=True), np.float32(1e-9)) for b in blocks]
        return np.hstack(blocks)

    def save(self, folder: Path) -> None:
        self.net.save(folder)
        values = {"columns": self.columns, "normalize": self.normalize, **self.settings()}
        (folder / "state.json").write_text(json.dumps(values))

    def settings(self) -> dict[str, Any]:
        """What else `load` must know."""
        return {}
