"""How a budget is spent: when the search must stop, and what one trial may take of it."""

from __future__ import annotations

import re
from dataclasses import dataclass

from fusion_automl.errors import UserError

DEFAULT_BUDGET = "10m"
RESERVE = 0.08
"""Share of the budget kept for ensemble, evidence, artifact and test scores."""
REFIT = 0.12
"""Share of the budget kept beside for one more fit on all rows of what is chosen: one trial that took all it may, and much
that took less."""
TRIAL_SHARE = 0.35
"""The most of the search's time that one trial may take: three backbones in a row still leave something to choose from."""

_UNITS = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}


@dataclass(frozen=True, slots=True)
class Clock:
    """Seconds of a run's parts."""

    budget: float
    reserve: float
    max_seconds_per_trial: float


def make_clock(budget: float) -> Clock:
    """Divides a budget in seconds; the reserve is 8 %, at least 2.5 s and at most 5 minutes, and 12 % for a refit."""
    reserve = min(min(max(RESERVE * budget, 2.5), 300.0) + REFIT * budget, budget / 2)
    return Clock(budget, reserve, max(1.0, TRIAL_SHARE * (budget - reserve)))


def parse_budget(text: str | float) -> float:
    """Seconds from `90`, `90s`, `10m`, `1.5h`, `1h30m` or `2d`. Raises UserError."""
    written = str(text).strip().lower()
    parts = re.findall(r"(\d+(?:\.\d+)?)([smhd]?)", written)
    seconds = sum(float(number) * _UNITS[unit or "s"] for number, unit in parts)
    if not parts or "".join(number + unit for number, unit in parts) != written or seconds <= 0:
        raise UserError(f"--budget: got '{text}', expected a time such as 90s, 10m, 1h or 1h30m.")
    return seconds
