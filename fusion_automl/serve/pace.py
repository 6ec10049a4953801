"""How many rows a call of the model may have, from how long calls took."""

from __future__ import annotations

import numpy as np

LONGEST_CALL_SECONDS = 0.1
"""As long as a request that just missed a call waits for the next one."""
OVERHEAD_SHARE = 0.25
"""Where a call costs much whatever its rows, it may have as many as make that cost this share of it."""
LEAST_ROWS, MAX_ROWS = 32, 4096
MEMORY = 0.98
"""A call counts as much less than the one after it."""


class Pace:
    """Fits `seconds = fixed + each * rows` to the calls of late, by least squares; thread-safe as far as one thread adds."""

    def __init__(self) -> None:
        self._sums = np.zeros(5)

    def add(self, rows: int, seconds: float) -> None:
        self._sums = MEMORY * self._sums + (1.0, rows, seconds, rows * rows, rows * seconds)

    @property
    def max_rows(self) -> int:
        """Rows that a call may have; `MAX_ROWS` before calls of two sizes tell more."""
        count, rows, seconds, squares, products = self._sums
        spread = count * squares - rows**2
        if spread <= 1e-6 * squares:
            return MAX_ROWS
        # On a busy machine the slope may be anything, but a row never costs more than its share of the calls.
        each = min((count * products - rows * seconds) / spread, seconds / rows)
        fixed = max(0.0, (seconds - each * rows) / count)
        budget = max(LONGEST_CALL_SECONDS, fixed / OVERHEAD_SHARE) - fixed
        return MAX_ROWS if each * MAX_ROWS <= budget else max(LEAST_ROWS, int(budget / each))
