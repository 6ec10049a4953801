"""How a job ended, in the words of the `fit` that ran in it."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from fusion_automl.errors import FusionError, UserError
from fusion_automl.jobs.job import Job

VOICE = "fusion-automl: "
"""How the sentence begins with which the command line ends in place of a result."""
NOT_FOUND = 127
"""What a shell ends with where it knows no such command."""


class Transcript:
    """Hands a log on line by line, but for the last word of `fit`, which it keeps: its summary, or the sentence of why not."""

    def __init__(self, show: Callable[[str], None]) -> None:
        self.summary: dict[str, Any] | None = None
        self.sentence = ""
        self._show = show
        self._rest = ""

    def add(self, text: str) -> None:
        """Takes a piece of the log; the end of a line may be in the next one."""
        *lines, self._rest = (self._rest + text).split("\n")
        for line in lines:
            self._take(line)

    def close(self) -> None:
        if self._rest:
            self._take(self._rest)
        self._rest = ""

    def _take(self, line: str) -> None:
        if line.startswith(VOICE):
            self.sentence = line.removeprefix(VOICE)
        elif not (summary := _summary(line)):
            self._show(line)
        else:
            self.summary = summary


def _summary(line: str) -> dict[str, Any] | None:
    if not line.startswith("{"):
        return None
    try:
        found = json.loads(line)
    except ValueError:
        return None
    return found if "run" in found and "members" in found else None


def result(job: Job, transcript: Transcript) -> dict[str, Any]:
    """The summary of a job that ended with one, also where it was stopped.

    Raises UserError with `fit`'s own sentence where the user's input was wrong, FusionError for any other end.
    """
    if transcript.summary and job.status in ("SUCCEEDED", "STOPPED"):
        return transcript.summary
    if job.exit_code == 2:
        raise UserError(transcript.sentence or f"{job.id}: fit refused its input; `fusion-automl jobs logs` says why.")
    if job.exit_code == NOT_FOUND:
        raise UserError(
            f"{job.id}: the cluster's machines have no command `fusion-automl`. Install this package on all of them, in "
            "the environment that Ray was started from, with its bin folder on the PATH."
        )
    go_on = f"Go on with it by `fusion-automl submit --resume --out {job.run}`."
    if job.status == "STOPPED":
        raise FusionError(f"{job.id}: was stopped before it had a result. {go_on}")
    if job.exit_code is None:
        reason = job.message.strip().partition("\n")[0] or "Ray gives no reason"
        raise FusionError(f"{job.id}: its process was lost ({reason}). {go_on}")
    raise FusionError(
        transcript.sentence or f"{job.id}: fit failed, exit code {job.exit_code}; the log above says why."
    )
