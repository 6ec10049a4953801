from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest

from fusion_automl.encoders.hog import Hog, hog
from fusion_automl.errors import SpaceError


def stripes(angle: float, size: int = 16) -> npt.NDArray[np.uint8]:
    """Waves whose gradient points along `angle` degrees."""
    y, x = np.mgrid[:size, :size]
    along = x * np.cos(np.radians(angle)) + y * np.sin(np.radians(angle))
    return np.asarray(127 + 100 * np.sin(along * 0.8), dtype=np.uint8)[None]


@pytest.mark.parametrize(("angle", "orientation"), [(0, 0), (45, 2), (90, 4), (135, 6)])
def test_stripes_vote_for_their_own_orientation(angle: float, orientation: int) -> None:
    histogram = hog(stripes(angle), 4, 8).reshape(-1, 8).sum(axis=0)
    assert histogram.argmax() == orientation
    assert histogram[orientation] > 0.6 * histogram.sum()


def test_a_gradient_between_two_orientations_votes_for_both_alike() -> None:
    histogram = hog(stripes(45), 4, 2).reshape(-1, 2).sum(axis=0)
    np.testing.assert_allclose(histogram[0], histogram[1], rtol=0.02)


def test_brightness_and_contrast_do_not_matter() -> None:
    image = np.random.default_rng(0).integers(0, 100, (1, 16, 16)).astype(np.uint8)
    np.testing.assert_allclose(hog(image, 4, 9), hog(image * 2 + 50, 4, 9), atol=1e-4)


def test_a_flat_image_has_no_gradients_and_blocks_have_unit_length() -> None:
    flat = np.full((1, 16, 16), 200, dtype=np.uint8)
    assert not hog(flat, 4, 9).any()
    blocks = hog(stripes(30), 4, 9).reshape(-1, 36)
    assert blocks.shape == (9, 36)
    np.testing.assert_allclose(np.linalg.norm(blocks, axis=1), 1, rtol=1e-3)


def test_pixels_beyond_the_last_whole_cell_are_left_out() -> None:
    assert hog(np.zeros((3, 18, 18), dtype=np.uint8), 8, 9).shape == (3, 36)


def test_a_size_below_two_cells_is_refused() -> None:
    with pytest.raises(SpaceError, match=r"\[encoders.hog\]: size must be at least 2 cells, got size 12 and cell 8"):
        Hog(size=12, cell=8)
