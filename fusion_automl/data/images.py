"""Encoded images -> pixels, one size and number of channels for all rows."""

from __future__ import annotations

import io
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import numpy as np
import numpy.typing as npt

from fusion_automl.data import storage
from fusion_automl.errors import DataError

MAX_PIXELS = 50_000_000
"""Above this an image is refused before its pixels are unpacked: 50 million RGB pixels are 150 MB in memory."""
NUM_SAMPLED = 20

MAX_REMEMBERED_BYTES = 512_000_000
"""Pixels kept by `remember_images`; 10,000 images of 32 x 32 RGB are 31 MB."""

_remembered: ContextVar[_Memory | None] = ContextVar("remembered images", default=None)

Cells = Sequence[bytes | str | None] | npt.NDArray[Any]


def decode_images(
    cells: Cells, *, size: int, channels: int, where: str = "images", rows: Sequence[int] | None = None
) -> npt.NDArray[np.uint8]:
    """`(rows, size, size, channels)` uint8, grey for 1 channel, RGB for 3, squashed to a square; zeros where missing.

    Raises DataError, beginning with `where`, that names the first row whose image is broken, huge or not to be read; `rows`
    are the numbers of a part of a table in the whole.
    """
    pixels = np.zeros((len(cells), size, size, channels), dtype=np.uint8)
    for row, cell in enumerate(cells):
        if cell is not None:
            try:
                pixels[row] = _recall(cell, size=size, channels=channels)
            except DataError as error:
                number = rows[row] if rows is not None else row
                raise DataError(f"{where}: row {number} (rows count from 0): {error}") from error
    return pixels


@contextmanager
def remember_images() -> Iterator[None]:
    """Inside, an encoded image that is asked for again at the same size is not unpacked again.

    Several encoders and nets, each in several folds, look at the same images: unpacking was a tenth of a search.
    """
    token = _remembered.set(_Memory())
    try:
        yield
    finally:
        _remembered.reset(token)


@contextmanager
def unremembered_images() -> Iterator[None]:
    """Inside, images take no room in memory from those that come again sooner."""
    token = _remembered.set(None)
    try:
        yield
    finally:
        _remembered.reset(token)


class _Memory:
    """Decoded images by their encoded bytes, until it is full."""

    def __init__(self) -> None:
        self.pixels: dict[tuple[bytes, int, int], npt.NDArray[np.uint8]] = {}
        self.bytes_left = MAX_REMEMBERED_BYTES


def _recall(cell: bytes | str, *, size: int, channels: int) -> npt.NDArray[np.uint8]:
    memory = _remembered.get()
    if memory is None or isinstance(cell, str):  # what a path names may change
        return _decode(cell, size=size, channels=channels)
    key = (cell, size, channels)
    if key in memory.pixels:
        return memory.pixels[key]
    pixels = _decode(cell, size=size, channels=channels)
    if pixels.nbytes <= memory.bytes_left:
        memory.bytes_left -= pixels.nbytes
        memory.pixels[key] = pixels
    return pixels


def _decode(cell: bytes | str, *, size: int, channels: int) -> npt.NDArray[np.uint8]:
    from PIL import Image

    mode = "L" if channels == 1 else "RGB"
    content = storage.read_bytes(cell) if isinstance(cell, str) else cell
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # our own bound is lower
            picture: Image.Image = Image.open(io.BytesIO(content))
        if picture.width * picture.height > MAX_PIXELS:
            raise DataError(
                f"the image has {picture.width} x {picture.height} pixels, more than the {MAX_PIXELS:,} allowed. "
                f"Shrink it or empty the cell."
            )
        if picture.mode.startswith("I;16"):  # Pillow would clip 16 bits at 255 instead of scaling them
            picture = Image.fromarray((np.asarray(picture) >> 8).astype(np.uint8))
        picture.draft(mode, (size, size))  # JPEG is unpacked at a half, quarter or eighth of its size
        square = picture.convert(mode).resize((size, size), Image.Resampling.BILINEAR)
    except Image.DecompressionBombError as error:
        raise DataError(f"the image is too big: {error}. Shrink it or empty the cell.") from error
    except (OSError, ValueError, SyntaxError, EOFError) as error:
        # Pillow's message ends in the address of the buffer, which helps nobody.
        reason = str(error).partition(" <_io")[0]
        raise DataError(f"the image is broken ({reason}). Replace the file or empty the cell.") from error
    return np.asarray(square, dtype=np.uint8).reshape(size, size, channels)


def num_channels(cells: Cells) -> int:
    """1 where a sample of the images is grey (also when stored as RGB), else 3; broken images are passed over."""
    present = [cell for cell in cells if cell is not None]
    found_one = False
    for cell in present[:: max(1, len(present) // NUM_SAMPLED)]:
        try:
            pixels = _decode(cell, size=32, channels=3)
        except DataError:
            continue
        found_one = True
        if (pixels != pixels[..., :1]).any():
            return 3
    return 1 if found_one else 3


def image_errors(cells: Cells) -> list[tuple[int, str]]:
    """The row and the reason of every image that cannot be decoded."""
    errors = []
    for row, cell in enumerate(cells):
        if cell is not None:
            try:
                _decode(cell, size=8, channels=3)
            except DataError as error:
                errors.append((row, str(error)))
    return errors
