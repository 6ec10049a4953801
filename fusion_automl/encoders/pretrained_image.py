"""A frozen image net with what its checkpoint says about pixels: images in, a vector for each patch or image out.

It imports torch at the top, so import it inside the function that needs it. Shapes: B images, C channels, S pixels on a
side, T patches, D size of a vector.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from fusion_automl.backbones.nets.base import best_device, isolated, running
from fusion_automl.data.images import decode_images
from fusion_automl.deadline import Deadline
from fusion_automl.encoders.pretrained_net import (
    Rows,
    check_split,
    layers_of,
    load_net,
    norm_of,
    paced,
    read_checkpoint,
    reading,
    through,
    write_net,
)
from fusion_automl.errors import FitError

PIXELS = "preprocessor_config.json"
BATCH_IMAGES = 32
Cells = npt.NDArray[Any]


class FrozenImage:
    """Images are squashed to the checkpoint's square, uncropped: what matters need not lie in the middle."""

    def __init__(self, net: nn.Module, pixels: Mapping[str, Any]) -> None:
        config: Any = net.config
        self.net, self.pixels = net, dict(pixels)
        self.channels: int = getattr(config, "num_channels", 3)
        self.side = _side(pixels)
        self.mean = torch.tensor(pixels.get("image_mean") or [0.5] * self.channels).view(-1, 1, 1)
        self.std = torch.tensor(pixels.get("image_std") or [0.5] * self.channels).view(-1, 1, 1)

    @classmethod
    def read(cls, folder: Path) -> Self:
        """Reads a checkpoint. Raises FitError where it is not an image net."""
        net = read_checkpoint(folder)
        if getattr(net, "main_input_name", "") != "pixel_values":
            config: Any = net.config
            raise FitError(f"the checkpoint in {folder} is a {config.model_type}, not an image net")
        with reading(folder):
            frozen = cls(net, json.loads((folder / PIXELS).read_text()))
        with running(1), isolated(seed=0, threads=None):
            pixels = frozen._slope()
            if not torch.allclose(frozen._embed(pixels), frozen._embed(pixels), atol=1e-3):  # masked autoencoders
                raise FitError(
                    f"the checkpoint in {folder} leaves out patches at random, and says other things each time"
                )
        return frozen

    def save(self, folder: Path) -> None:
        write_net(self.net, folder)
        (folder / PIXELS).write_text(json.dumps(self.pixels))

    @classmethod
    def load(cls, folder: Path) -> Self:
        return cls(load_net(folder), json.loads((folder / PIXELS).read_text()))

    def size(self, skip: int | None) -> tuple[int, int]:
        """`(T, D)` of the states below the last `skip` layers, or `(1, D)` of the embedding for `None`."""
        with running(1) as device:
            blank = torch.zeros(1, self.channels, self.side, self.side, device=device)
            states = self._embed(blank)[:, None] if skip is None else self._states(blank, skip)
        return states.shape[1], states.shape[2]

    def embed(self, cells: Cells, *, deadline: Deadline, where: str) -> Iterator[tuple[Rows, Tensor]]:
        """Batches of rows with their embeddings `(B, D)`. Rows without an image are in no batch."""
        for rows, pixels in self._batches(cells, deadline, where):
            with running(len(cells)) as device:
                vectors_BD = self._embed(pixels.to(device))
            yield rows, vectors_BD

    def states(self, cells: Cells, *, skip: int, deadline: Deadline, where: str) -> Iterator[tuple[Rows, Tensor]]:
        """Batches of rows with the states `(B, T, D)` below the last `skip` layers."""
        for rows, pixels in self._batches(cells, deadline, where):
            with running(len(cells)) as device:
                states_BTD = self._states(pixels.to(device), skip)
            yield rows, states_BTD

    def _batches(self, cells: Cells, deadline: Deadline, where: str) -> Iterator[tuple[Rows, Tensor]]:
        """Images as the net wants them, `(B, C, S, S)`, as long as there is time."""
        present = np.flatnonzero([cell is not None for cell in cells])
        batches = [present[start : start + BATCH_IMAGES] for start in range(0, len(present), BATCH_IMAGES)]
        for rows in paced(batches, np.ones(len(cells)), deadline=deadline, name=where):
            decoded = decode_images(
                cells[rows], size=self.side, channels=self.channels, where=where, rows=rows.tolist()
            )
            pixels = torch.from_numpy(decoded).permute(0, 3, 1, 2).float()
            if self.pixels.get("do_rescale", True):
                pixels = pixels * self.pixels.get("rescale_factor", 1 / 255)
            if self.pixels.get("do_normalize", True):
                pixels = (pixels - self.mean) / self.std
            yield rows, pixels

    def _embed(self, pixels: Tensor) -> Tensor:
        """The vector of the class token where there is one, else the mean over patches or places."""
        last = self.net(pixel_values=pixels).last_hidden_state.float()
        if last.ndim == 4:
            return last.mean((2, 3))
        return last[:, 0] if hasattr(getattr(self.net, "embeddings", None), "cls_token") else last.mean(1)

    def _states(self, pixels: Tensor, skip: int) -> Tensor:
        layers = layers_of(self.net)
        embeddings: Any = self.net.embeddings
        return through(layers[: max(0, len(layers) - skip)], embeddings(pixels), None)

    def check_layers(self, skip: int) -> None:
        """Raises FitError unless the last `skip` layers over the states below them give what the whole net gives."""
        with running(1):
            pixels = self._slope()

            def split() -> Tensor:
                states_BTD: Tensor = norm_of(self.net)(
                    through(layers_of(self.net)[-skip:], self._states(pixels, skip), None)
                )
                return states_BTD

            check_split(self.net(pixel_values=pixels).last_hidden_state, split)

    def _slope(self) -> Tensor:
        """One image to try the net on, every patch of which is another."""
        pixels = torch.linspace(-1, 1, self.channels * self.side**2, device=best_device())
        return pixels.view(1, self.channels, self.side, self.side)


def _side(pixels: Mapping[str, Any]) -> int:
    """The side of the square that the net was trained on, after its cropping."""
    size = pixels.get("crop_size") if pixels.get("do_center_crop") else None
    size = size or pixels.get("size", 224)
    return int(size if isinstance(size, int) else size.get("height") or size["shortest_edge"])
