"""Images as rows of pixels, raw or as principal components (eigenimages)."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Self

import numpy as np
import numpy.typing as npt
import pandas as pd

from fusion_automl.data.dataset import Dataset
from fusion_automl.data.images import decode_images, num_channels
from fusion_automl.data.schema import Modality
from fusion_automl.deadline import Deadline
from fusion_automl.encoders.projection import Projection
from fusion_automl.encoders.remembered import of_frame
from fusion_automl.encoders.state import load_state, save_state
from fusion_automl.errors import OutOfTime, SpaceError


@dataclass(frozen=True, slots=True)
class Pixels:
    """Pixels in [0, 1] of every image column, resized to `size` x `size`, and an indicator of missing images a column.

    With `components` > 0 the pixels of all columns together are projected on that many principal components, each with
    unit variance when `whiten` is set.
    """

    modality: ClassVar[Modality] = "image"
    requires: ClassVar[tuple[str, ...]] = ()

    size: int = 28
    components: int = 60
    whiten: bool = False

    def __post_init__(self) -> None:
        if self.size < 1 or self.components < 0:
            raise SpaceError(
                f"[encoders.pixels]: size must be >= 1 and components >= 0, got {self.size} and {self.components}."
            )

    def fit(self, data: Dataset, *, seed: int, deadline: Deadline, threads: int) -> FittedPixels:
        if deadline.passed():
            raise OutOfTime("pixels: no time left to start.")
        from threadpoolctl import threadpool_limits

        columns = {name: num_channels(data.frame[name].to_numpy()) for name in data.schema.names("image")}
        projection = None
        names = [f"{name} pixel {index}" for name, ch in columns.items() for index in range(self.size**2 * ch)]
        if self.components:
            pixels = _pixels(data.frame, columns, self.size)
            with threadpool_limits(threads):
                projection = Projection.fit(pixels, components=self.components, whiten=self.whiten, seed=seed)
            names = [f"pixels component {index}" for index in range(projection.axes.shape[1])]
        return FittedPixels(
            names=(*names, *(f"{name} missing" for name in columns)),
            columns=columns,
            size=self.size,
            projection=projection,
        )


def _pixels(frame: pd.DataFrame, columns: dict[str, int], size: int) -> npt.NDArray[np.float32]:
    """`(rows, pixels)` in [0, 1], one block a column, zeros where the image is missing."""
    blocks = []
    for name, channels in columns.items():
        decoded = decode_images(frame[name].to_numpy(), size=size, channels=channels, where=name)
        block = decoded.reshape(len(frame), size * size * channels).astype(np.float32) / 255
        block[frame[name].isna().to_numpy()] = 0
        blocks.append(block)
    return np.hstack(blocks)


@dataclass(slots=True, eq=False)
class FittedPixels:
    """`columns` maps each image column to its number of channels."""

    names: tuple[str, ...]
    columns: dict[str, int]
    size: int
    projection: Projection | None
    categorical: tuple[int, ...] = ()

    def transform(self, frame: pd.DataFrame) -> npt.NDArray[np.float32]:
        shared = ("pixels", tuple(self.columns.items()), self.size)
        features = of_frame(frame, shared, lambda: _pixels(frame, self.columns, self.size))
        if self.projection:
            features = self.projection.apply(features)
        return np.hstack([features, frame[list(self.columns)].isna().to_numpy(dtype=np.float32)])

    def save(self, folder: Path) -> None:
        arrays = {"mean": self.projection.mean, "axes": self.projection.axes} if self.projection else {}
        save_state(folder, {"names": self.names, "columns": self.columns, "size": self.size}, arrays)

    @classmethod
    def load(cls, folder: Path) -> Self:
        values, arrays = load_state(folder)
        return cls(
            names=tuple(values["names"]),
            columns=values["columns"],
            size=values["size"],
            projection=Projection(**arrays) if arrays else None,
        )
