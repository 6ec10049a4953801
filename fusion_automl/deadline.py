"""A moment by which work must be over, handed down every fit."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Deadline:
    """A moment on this machine's monotonic clock; valid in every process of the machine, not across machines."""

    at: float

    @classmethod
    def after(cls, seconds: float) -> Deadline:
        return cls(time.monotonic() + seconds)

    @classmethod
    def never(cls) -> Deadline:
        return cls(math.inf)

    def seconds_left(self) -> float:
        return self.at - time.monotonic()

    def passed(self) -> bool:
        return self.seconds_left() <= 0

    def earlier(self, seconds: float) -> Deadline:
        """The moment `seconds` before this one."""
        return Deadline(self.at - seconds)

    def within(self, seconds: float) -> Deadline:
        """The earlier of this deadline and `seconds` from now."""
        return min(self, Deadline.after(seconds), key=lambda deadline: deadline.at)
