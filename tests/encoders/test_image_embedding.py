from __future__ import annotations

import io
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd
import pytest
import torch
from PIL import Image

from fusion_automl.data.dataset import Dataset
from fusion_automl.data.schema import Column, Schema
from fusion_automl.deadline import Deadline
from fusion_automl.encoders import sequences
from fusion_automl.encoders.image_embedding import FittedImageEmbedding, ImageEmbedding
from fusion_automl.encoders.image_states import ImageStates
from fusion_automl.errors import FitError
from tests.contracts.rows import mixed_dataset

NEVER = Deadline.never()


def _png(pixels: npt.NDArray[np.uint8]) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, format="PNG")
    return file.getvalue()


def _images(count: int, side: int = 16) -> list[npt.NDArray[np.uint8]]:
    rng = np.random.default_rng(count)
    return list(rng.integers(0, 256, (count, side, side, 3), dtype=np.uint8))


def _dataset(**columns: list[bytes | None]) -> Dataset:
    frame = pd.DataFrame({name: pd.Series(cells, dtype=object) for name, cells in columns.items()})
    schema = Schema(tuple(Column(name, "image") for name in columns))
    return replace(mixed_dataset(rows=len(frame)), frame=frame, schema=schema)


def _fit(data: Dataset, checkpoint: str | Path) -> FittedImageEmbedding:
    return ImageEmbedding(checkpoint=str(checkpoint)).fit(data, seed=0, deadline=NEVER, threads=1)


def _net(checkpoint: str | Path) -> torch.nn.Module:
    from transformers import AutoModel

    net: torch.nn.Module = AutoModel.from_pretrained(checkpoint).eval()
    return net


def _last(net: torch.nn.Module, image: npt.NDArray[np.uint8]) -> torch.Tensor:
    pixels = (torch.from_numpy(image).permute(2, 0, 1)[None] / 255 - 0.5) / 0.5
    with torch.inference_mode():
        last: torch.Tensor = net(pixel_values=pixels).last_hidden_state[0]
    return last


def test_it_is_the_vector_of_the_class_token(checkpoints: dict[str, str]) -> None:
    images = _images(3)
    data = _dataset(photo=[_png(image) for image in images])
    net = _net(checkpoints["image"])
    for found, image in zip(_fit(data, checkpoints["image"]).transform(data.frame), images, strict=True):
        np.testing.assert_allclose(found, _last(net, image)[0].numpy(), atol=5e-3)  # weights are kept in float16


def test_of_a_convolution_net_it_is_the_mean_over_places(tmp_path: Path) -> None:
    from transformers import ResNetConfig, ResNetModel

    torch.manual_seed(0)
    config = ResNetConfig(embedding_size=8, hidden_sizes=[8, 16], depths=[1, 1], layer_type="basic")
    ResNetModel(config).save_pretrained(tmp_path)
    pixels = {"size": {"shortest_edge": 40}, "crop_size": {"height": 32, "width": 32}, "do_center_crop": True}
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(pixels))
    image = _images(1, side=32)[0]
    data = _dataset(photo=[_png(image)])
    fitted = _fit(data, tmp_path)
    assert fitted.net.side == 32  # what is left after cropping, but of the whole image
    (found,) = fitted.transform(data.frame)
    np.testing.assert_allclose(found, _last(_net(tmp_path), image).mean((1, 2)).numpy(), atol=5e-3)


def test_a_missing_image_is_zeros_and_columns_stand_side_by_side(checkpoints: dict[str, str]) -> None:
    one, other = (_png(image) for image in _images(2))
    data = _dataset(front=[one, None], back=[None, other])
    matrix = _fit(data, checkpoints["image"]).transform(data.frame)
    assert matrix.shape == (2, 64)
    assert not matrix[0, 32:].any() and not matrix[1, :32].any()
    assert matrix[0, :32].any() and matrix[1, 32:].any()


def test_states_of_a_rows_images_lie_one_after_the_other(checkpoints: dict[str, str]) -> None:
    one, other = (_png(image) for image in _images(2))
    data = _dataset(front=[one, None, None], back=[other, other, None])
    states = ImageStates(checkpoint=checkpoints["image"], layers_above=1)
    found = states.fit(data, seed=0, deadline=NEVER, threads=1).transform(data.frame)
    patches = 16 + 1  # and the class token
    assert found.lengths.tolist() == [2 * patches, patches, 0]
    np.testing.assert_allclose(found.row(0)[patches:], found.row(1), atol=2e-3)
    assert np.abs(found.row(0)[:patches] - found.row(1)).max() > 0.1


def test_a_text_net_is_no_image_net(checkpoints: dict[str, str], tmp_path: Path) -> None:
    for file in Path(checkpoints["text"]).iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    (tmp_path / "preprocessor_config.json").write_text("{}")
    data = _dataset(photo=[_png(_images(1)[0])])
    with pytest.raises(FitError, match="is a bert, not an image net"):
        _fit(data, tmp_path)


def test_more_patches_than_the_disk_should_hold_are_refused(
    checkpoints: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    data = _dataset(photo=[_png(_images(1)[0]), None])
    states = ImageStates(checkpoint=checkpoints["image"], layers_above=1)
    monkeypatch.setattr(sequences, "LARGEST", 2 * 17 * 32)  # one image fits
    states.fit(data, seed=0, deadline=NEVER, threads=1)
    monkeypatch.setattr(sequences, "LARGEST", 2 * 17 * 32 - 1)
    with pytest.raises(FitError, match="states of 17 tokens or patches"):
        states.fit(data, seed=0, deadline=NEVER, threads=1)
