"""What an engine hands to a process that runs trials."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from fusion_automl.candidate import Candidate


@dataclass(frozen=True, slots=True)
class Order:
    """A candidate to evaluate; the memory that it is expected to need beyond what any trial needs; whether a look at it on
    fewer rows comes first; and the most time that it may take."""

    candidate: Candidate
    needs_bytes: float = 0.0
    preview: bool = False
    max_seconds: float = math.inf

    def to_json(self) -> dict[str, Any]:
        return {
            "candidate": self.candidate.to_json(),
            "needs_bytes": self.needs_bytes,
            "preview": self.preview,
            "max_seconds": self.max_seconds,
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Order:
        return cls(
            Candidate.from_json(value["candidate"]), value["needs_bytes"], value["preview"], value["max_seconds"]
        )
