"""A job's last words and its exit code, as the one who waited for it gets them."""

from __future__ import annotations

import json

import pytest

from fusion_automl.errors import FusionError, UserError
from fusion_automl.jobs.job import Job
from fusion_automl.jobs.outcome import Transcript, result


def _job(status: str, exit_code: int | None, message: str = "") -> Job:
    return Job("houses-1", status, "/runs/houses-1", "price", "1h", 0.0, exit_code, message)


def _heard(log: str, size: int = 7) -> tuple[Transcript, list[str]]:
    lines: list[str] = []
    transcript = Transcript(lines.append)
    for start in range(0, len(log), size):
        transcript.add(log[start : start + size])
    transcript.close()
    return transcript, lines


def test_the_summary_is_kept_back_and_the_rest_handed_on_line_by_line() -> None:
    summary = {"run": "/runs/houses-1", "members": []}
    transcript, lines = _heard(f'one\n{{"not": "it"}}\n{{broken\n{json.dumps(summary)}\nlast')
    assert lines == ["one", '{"not": "it"}', "{broken", "last"]
    assert result(_job("SUCCEEDED", 0), transcript) == summary
    assert result(_job("STOPPED", None), transcript) == summary


@pytest.mark.parametrize(
    ("job", "log", "kind", "sentence"),
    [
        (_job("FAILED", 2), "fusion-automl: bad column 'x'", UserError, r"^bad column 'x'$"),
        (_job("FAILED", 1), "fusion-automl: no candidate", FusionError, r"^no candidate$"),
        (_job("FAILED", 1), "Traceback", FusionError, r"fit failed, exit code 1; the log above says why"),
        (
            _job("FAILED", 127),
            "sh: 1: fusion-automl: not found",
            UserError,
            r"machines have no command `fusion-automl`",
        ),
        (_job("STOPPED", None), "", FusionError, r"stopped before it had a result\. .*--resume --out /runs/houses-1`"),
        (_job("FAILED", None, "actor died: x\ny"), "", FusionError, r"its process was lost \(actor died: x\)\. Go on"),
    ],
)
def test_every_other_end_is_a_sentence(job: Job, log: str, kind: type[FusionError], sentence: str) -> None:
    transcript, _ = _heard(log)
    with pytest.raises(kind, match=sentence) as caught:
        result(job, transcript)
    assert type(caught.value) is kind
