"""A job as its cluster knows it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Self

MARK = "fusion_automl"
"""The key in a job's metadata that tells our jobs from others'; its value is the version of who sent it."""
ENDED = frozenset({"STOPPED", "SUCCEEDED", "FAILED"})


@dataclass(frozen=True, slots=True)
class Job:
    """`status` is Ray's word: PENDING, RUNNING, STOPPED, SUCCEEDED or FAILED. `started` is in seconds since 1970.

    `exit_code` is that of the command, None where it was stopped, never ran, or was lost with its machine; `message` is
    Ray's reason then.
    """

    id: str
    status: str
    run: str
    target: str
    budget: str
    started: float | None
    exit_code: int | None
    message: str

    @classmethod
    def of(cls, details: Any) -> Self:
        """From Ray's `JobDetails`."""
        metadata = details.metadata or {}
        return cls(
            id=details.submission_id or details.job_id,
            status=details.status.value,
            run=metadata.get("run", ""),
            target=metadata.get("target", ""),
            budget=metadata.get("budget", ""),
            started=details.start_time / 1000 if details.start_time else None,
            exit_code=details.driver_exit_code,
            message=details.message or "",
        )

    @property
    def ended(self) -> bool:
        return self.status in ENDED
