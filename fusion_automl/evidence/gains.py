"""Did fusing help, and did each modality? Answered by the best with against the best without, on rows that chose neither."""

from __future__ import annotations

from typing import Any

from fusion_automl.backbones import BACKBONES
from fusion_automl.candidate import Candidate
from fusion_automl.component import component_class
from fusion_automl.deadline import Deadline
from fusion_automl.encoders import ENCODERS
from fusion_automl.ensemble.build import Ensemble, Pool
from fusion_automl.evaluate import Problem
from fusion_automl.evidence.compare import Gain, paired_bootstrap
from fusion_automl.search.ledger import Ledger, Trial

POOL = 40
"""The best trials of each side of a comparison that are looked at; choosing the best needs no more."""


def modalities_of(candidate: Candidate) -> frozenset[str]:
    """The modalities that a candidate learns from."""
    used = [component_class(ENCODERS, name, where="encoder").modality for name in candidate.all_encoders()]
    used += [component_class(BACKBONES, name, where="backbone").modality for name in candidate.all_backbones()]
    return frozenset(used)


def is_deep(candidate: Candidate) -> bool:
    """Whether it is a backbone alone."""
    return candidate.fusion.name == "backbone"


def is_classical(candidate: Candidate) -> bool:
    """Whether classical models and encoders are all there is to it."""
    return candidate.fusion.name == "concat"


def is_fused(candidate: Candidate) -> bool:
    """Whether it brings several modalities together, or deep with classical learning."""
    return len(modalities_of(candidate)) > 1 or candidate.fusion.name not in ("backbone", "concat", "baseline")


def family(candidate: Candidate) -> str:
    """The word for what a candidate is: its classical model, its backbone, or its fusion."""
    if is_classical(candidate) and candidate.classical:
        return candidate.classical.name
    return candidate.backbones[0].name if is_deep(candidate) else candidate.fusion.name


class Evidence:
    """The comparisons of a finished search; each answers None where one side has no candidate."""

    def __init__(self, problem: Problem, ledger: Ledger, *, deadline: Deadline) -> None:
        self.problem = problem
        self.ledger = ledger
        self.deadline = deadline
        self.trials = ledger.ranked()

    def best(self, trials: list[Trial]) -> dict[str, Any] | None:
        """The best of `trials` with the honest score of choosing it."""
        if not trials:
            return None
        pool = Pool(self.problem, self.ledger, trials[:POOL])
        score = self.problem.metric.score(self.problem.y, pool.honest_best())
        chosen = trials[0]
        return {
            "key": chosen.report.key,
            "family": family(chosen.candidate),
            "candidate": chosen.candidate.describe(),
            "score": score,
        }

    def gain(self, first: list[Trial], second: list[Trial]) -> Gain | None:
        """The best of `first` against the best of `second`."""
        if not first or not second:
            return None
        predictions = [Pool(self.problem, self.ledger, trials[:POOL]).honest_best() for trials in (first, second)]
        return self._compare(*predictions)

    def fusion_gain(self) -> Gain | None:
        """The best fused candidate against the best that is not fused."""
        fused = [trial for trial in self.trials if is_fused(trial.candidate)]
        plain = [trial for trial in self.trials if not is_fused(trial.candidate)]
        return self.gain(fused, plain)

    def ensemble_gain(self, ensemble: Ensemble) -> Gain | None:
        """The ensemble against the best single candidate."""
        return self._compare(ensemble.honest, Pool(self.problem, self.ledger, self.trials[:POOL]).honest_best())

    def modality_gains(self) -> dict[str, Gain | None]:
        """For each modality, the best candidate that uses it against the best that does not; empty where there is one."""
        modalities = self.problem.dataset.schema.modalities
        if len(modalities) < 2:
            return {}
        uses = [
            (trial, modalities_of(trial.candidate))
            for trial in self.trials
            if trial.candidate.fusion.name != "baseline"
        ]
        return {
            modality: self.gain(
                [trial for trial, used in uses if modality in used],
                [trial for trial, used in uses if modality not in used],
            )
            for modality in modalities
        }

    def _compare(self, first: Any, second: Any) -> Gain:
        problem = self.problem
        return paired_bootstrap(problem.y, first, second, problem.metric, seed=problem.seed, deadline=self.deadline)
