"""A cell of a series column -> an array without gaps."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt


def without_gaps(cell: npt.NDArray[np.float32] | None) -> npt.NDArray[np.float64] | None:
    """The series with nan and infinite steps interpolated from their neighbours; None where no step is finite."""
    if cell is None:
        return None
    steps = cell.astype(np.float64)
    finite = np.isfinite(steps)
    if finite.all():
        return steps if len(steps) else None
    if not finite.any():
        return None
    places = np.arange(len(steps))
    return np.interp(places, places[finite], steps[finite])
