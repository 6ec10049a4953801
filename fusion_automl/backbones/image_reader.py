"""Image columns as pixels that a net learns from."""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import pandas as pd

from fusion_automl.data import storage
from fusion_automl.data.images import decode_images, num_channels

NUM_SAMPLED = 256
"""Images per column from which the means and deviations of the channels are taken."""


@dataclass(frozen=True, slots=True)
class ImageReader:
    """Reads `(rows, columns, channels, size, size)` uint8 pixels, and `(rows, columns)` bool: whether there is an image.

    `means` and `stds` are those of the channels over a sample of training images, in units of 0 to 255.
    """

    columns: tuple[str, ...]
    size: int
    channels: int
    means: tuple[float, ...]
    stds: tuple[float, ...]

    @classmethod
    def fit(cls, frame: pd.DataFrame, columns: tuple[str, ...], *, max_size: int) -> Self:
        """All columns get one size, `max_size` or the longest side of the sampled images, and one number of channels."""
        sample = [cell for name in columns for cell in _spread(frame[name])]
        channels = num_channels(sample)
        size = min(max_size, max((_longest_side(cell) for cell in sample), default=max_size))
        pixels = decode_images(sample, size=size, channels=channels).reshape(-1, channels)
        means = pixels.mean(axis=0) if len(pixels) else np.zeros(channels)
        stds = pixels.std(axis=0) if len(pixels) else np.ones(channels)
        return cls(columns, size, channels, tuple(means.tolist()), tuple(np.where(stds > 0, stds, 1.0).tolist()))

    def read(self, frame: pd.DataFrame) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.bool_]]:
        pixels = [
            decode_images(frame[name].to_numpy(), size=self.size, channels=self.channels, where=f"column '{name}'")
            for name in self.columns
        ]
        present = [frame[name].notna().to_numpy() for name in self.columns]
        return np.ascontiguousarray(np.stack(pixels, axis=1).transpose(0, 1, 4, 2, 3)), np.stack(present, axis=1)

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Self:
        return cls(
            tuple(value["columns"]), value["size"], value["channels"], tuple(value["means"]), tuple(value["stds"])
        )


def _spread(cells: pd.Series[Any]) -> list[bytes | str]:
    """Up to `NUM_SAMPLED` of the images present, evenly spaced."""
    present = cells.dropna().to_list()
    return present[:: max(1, len(present) // NUM_SAMPLED)][:NUM_SAMPLED]


def _longest_side(cell: bytes | str) -> int:
    """In pixels, from the image's head; 1 where that is broken, which decoding reports better."""
    from PIL import Image

    try:
        with Image.open(io.BytesIO(storage.read_bytes(cell) if isinstance(cell, str) else cell)) as picture:
            return max(picture.size)
    except OSError:
        return 1
