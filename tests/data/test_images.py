"""Pixels from encoded images; broken and huge ones are told with their row."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fusion_automl.data import images
from fusion_automl.data.images import decode_images, image_errors, num_channels
from fusion_automl.errors import DataError


def encoded(pixels: np.ndarray, form: str = "PNG") -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, form)
    return buffer.getvalue()


RED = np.full((8, 6, 3), (250, 0, 0), dtype=np.uint8)
GREY = np.full((8, 6), 100, dtype=np.uint8)


def test_images_are_squashed_to_one_shape_and_missing_ones_are_zeros(tmp_path: Path) -> None:
    (tmp_path / "red.png").write_bytes(encoded(RED))
    pixels = decode_images([encoded(RED), None, str(tmp_path / "red.png"), encoded(GREY)], size=4, channels=3)
    assert pixels.shape == (4, 4, 4, 3) and pixels.dtype == np.uint8
    assert (pixels[[0, 2]] == [250, 0, 0]).all() and not pixels[1].any() and (pixels[3] == 100).all()


def test_grey_has_one_channel() -> None:
    assert (decode_images([encoded(GREY, "JPEG")], size=2, channels=1) == 100).all()


def test_sixteen_bits_are_scaled_to_eight() -> None:
    assert decode_images([encoded(np.full((2, 2), 0x8000, dtype=np.uint16))], size=1, channels=1).item() == 0x80


def test_a_huge_jpeg_is_decoded_small() -> None:
    left_dark = np.zeros((1000, 1000), dtype=np.uint8)
    left_dark[:, 500:] = 200
    pixels = decode_images([encoded(left_dark, "JPEG")], size=2, channels=1)[0, ..., 0]
    assert (pixels[:, 0] < 30).all() and (pixels[:, 1] > 170).all()


def test_no_rows_give_no_pixels() -> None:
    assert decode_images([], size=4, channels=1).shape == (0, 4, 4, 1)


def test_channels_are_those_of_the_colours_not_of_the_mode() -> None:
    grey_as_rgb = np.repeat(GREY[..., None], 3, axis=2)
    assert num_channels([None, encoded(grey_as_rgb), encoded(GREY)]) == 1
    assert num_channels([b"broken", encoded(GREY), encoded(RED)]) == 3
    assert num_channels([]) == 3


TRUNCATED = encoded(np.random.default_rng(0).integers(0, 255, (64, 64, 3), dtype=np.uint8))[:3000]


@pytest.mark.parametrize(
    ("cell", "message"),
    [
        (b"no image", r"^photo: row 1 \(rows count from 0\): the image is broken \(cannot identify image file\)"),
        (TRUNCATED, r"^photo: row 1 .*the image is broken"),
        ("/nowhere/a.png", r"row 1 .*/nowhere/a\.png: no such file"),
    ],
)
def test_a_broken_image_is_named(cell: bytes | str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        decode_images([encoded(RED), cell], size=4, channels=3, where="photo")


def test_a_huge_image_is_refused_before_its_pixels_are_unpacked(monkeypatch: pytest.MonkeyPatch) -> None:
    buffer = io.BytesIO()
    Image.new("1", (10_000, 6_000)).save(buffer, "PNG")
    with pytest.raises(DataError, match=r"row 0 .*10000 x 6000 pixels, more than the 50,000,000 allowed"):
        decode_images([buffer.getvalue()], size=4, channels=3)
    monkeypatch.setattr(
        Image, "MAX_IMAGE_PIXELS", 1_000_000
    )  # so that Pillow itself refuses, as it does at 179 million
    with pytest.raises(DataError, match=r"row 0 .*the image is too big"):
        decode_images([buffer.getvalue()], size=4, channels=3)


def test_image_errors_give_row_and_reason() -> None:
    errors = image_errors([encoded(RED), b"x", None, TRUNCATED])
    assert [row for row, _ in errors] == [1, 3] and all("broken" in message for _, message in errors)
    assert images.MAX_PIXELS == 50_000_000


def test_inside_remember_images_an_image_is_unpacked_once_a_size(monkeypatch: pytest.MonkeyPatch) -> None:
    unpacked = []
    real = images._decode

    def counting(cell: bytes | str, *, size: int, channels: int) -> np.ndarray:
        unpacked.append((cell, size, channels))
        return real(cell, size=size, channels=channels)

    monkeypatch.setattr(images, "_decode", counting)
    red, grey = encoded(RED), encoded(GREY)
    plain = decode_images([red, grey, red], size=4, channels=3)
    assert len(unpacked) == 3
    with images.remember_images():
        again = [decode_images([red, grey, red], size=4, channels=3) for _ in range(2)]
        decode_images([red], size=2, channels=1)
    assert len(unpacked) == 3 + 2 + 1
    assert all((pixels == plain).all() for pixels in again)
    decode_images([red], size=4, channels=3)
    assert len(unpacked) == 7


def test_images_of_rows_that_pass_by_are_not_remembered() -> None:
    with images.remember_images():
        with images.unremembered_images():
            decode_images([encoded(RED)], size=4, channels=3)
        memory = images._remembered.get()
        assert memory is not None and not memory.pixels


def test_what_is_remembered_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(images, "MAX_REMEMBERED_BYTES", 4 * 4 * 3)
    with images.remember_images():
        decode_images([encoded(RED), encoded(GREY)], size=4, channels=3)
        memory = images._remembered.get()
        assert memory is not None and len(memory.pixels) == 1
