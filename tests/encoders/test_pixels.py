from __future__ import annotations

import io

import numpy as np
import numpy.typing as npt
from PIL import Image

from fusion_automl.deadline import Deadline
from fusion_automl.encoders.pixels import Pixels

from .tables import dataset


def png(pixels: npt.NDArray[np.uint8]) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, format="PNG")
    return file.getvalue()


def test_raw_pixels_lie_in_zero_to_one_and_missing_images_are_marked() -> None:
    grey = np.array([[0, 51], [102, 255]], dtype=np.uint8)
    red = np.zeros((2, 2, 3), dtype=np.uint8)
    red[..., 0] = 255
    data = dataset(front=("image", [png(grey), None]), back=("image", [png(red), png(red)]))
    fitted = Pixels(size=2, components=0).fit(data, seed=0, deadline=Deadline.never(), threads=1)
    assert fitted.columns == {"front": 1, "back": 3}
    assert fitted.names[-2:] == ("front missing", "back missing")
    expected = np.array([[0, 0.2, 0.4, 1, *[1, 0, 0] * 4, 0, 0], [0, 0, 0, 0, *[1, 0, 0] * 4, 1, 0]])
    np.testing.assert_allclose(fitted.transform(data.frame), expected, rtol=1e-6)


def test_components_have_unit_variance_on_average_or_each() -> None:
    rng = np.random.default_rng(0)
    images = [png((rng.random((8, 8)) * rng.integers(20, 255)).astype(np.uint8)) for _ in range(40)]
    data = dataset(photo=("image", images))
    for whiten in (False, True):
        fitted = Pixels(size=8, components=5, whiten=whiten).fit(data, seed=0, deadline=Deadline.never(), threads=1)
        variances = fitted.transform(data.frame)[:, :5].var(axis=0, ddof=1)
        np.testing.assert_allclose(variances.mean(), 1, rtol=1e-3)
        assert np.allclose(variances, 1, rtol=1e-2) == whiten
        assert (np.diff(variances) < 1e-2).all()


def test_there_are_no_more_components_than_rows() -> None:
    data = dataset(photo=("image", [png(np.full((4, 4), value, dtype=np.uint8)) for value in (0, 90, 255)]))
    fitted = Pixels(components=60).fit(data, seed=0, deadline=Deadline.never(), threads=1)
    assert fitted.names == ("pixels component 0", "pixels component 1", "pixels component 2", "photo missing")
    assert np.isfinite(fitted.transform(data.frame)).all()
