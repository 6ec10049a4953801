"""A search without any fitting: the proposer asks, and a made-up report goes into the ledger."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

from fusion_automl.candidate import Candidate
from fusion_automl.deadline import Deadline
from fusion_automl.search.ledger import Ledger, Report
from fusion_automl.search.propose import Proposer
from fusion_automl.search.read import read_space
from fusion_automl.search.space import LocalSpace, fit_space

NUM_FOLDS = 3


def local(text: str, folder: Path, *, modalities: tuple[str, ...] = ("tabular",)) -> LocalSpace:
    """The space that a file with this text is for 500 rows with two classes."""
    path = folder / "space.toml"
    path.write_text(text)
    return fit_space(read_space(path), modalities, "binary", 500)  # type: ignore[arg-type]


def proposer(
    space: LocalSpace, run: Path, *, seed: int = 0, num_folds: int = NUM_FOLDS, max_seconds: float = math.inf
) -> Proposer:
    return Proposer(space, Ledger(run), seed=seed, num_folds=num_folds, max_seconds_per_trial=max_seconds)


def done(candidate: Candidate, score: float = 0.5, *, seconds: float = 1.0) -> Report:
    return Report(candidate.key, "done", score, (score,) * NUM_FOLDS, seconds, seconds, 0, 0)


def failed(candidate: Candidate, reason: str = "it broke") -> Report:
    return Report(candidate.key, "failed", None, (), 1.0, 1.0, 0, 0, reason)


def pruned(candidate: Candidate, score: float) -> Report:
    return Report(candidate.key, "pruned", score, (score,), 1.0, 1.0, 0, 0, "hopeless")


def run_loop(asker: Proposer, answer: Callable[[Candidate], Report], *, trials: int = 1000) -> list[Candidate]:
    """Asks and answers until `trials` were evaluated or nothing is left; the candidates in order."""
    asked: list[Candidate] = []
    while len(asked) < trials and (proposal := asker.ask(Deadline.never())):
        candidate = proposal.candidate
        asker.ledger.record(candidate, answer(candidate))
        trial = asker.ledger.get(candidate.key)
        assert trial is not None
        asker.tell(candidate.key, trial.report)
        asked.append(candidate)
    return asked
