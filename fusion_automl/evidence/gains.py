"""Did fusing help, and did each modality? Answered by the best with against the best without, on rows that chose neither."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from fusion_automl.backbones import BACKBONES
from fusion_automl.candidate import Candidate
from fusion_automl.component import component_class
from fusion_automl.deadline import Deadline
from fusion_automl.encoders import ENCODERS
from fusion_automl.ensemble.build import Ensemble
from fusion_automl.ensemble.field import Field
from fusion_automl.ensemble.honest import best_single
from fusion_automl.evidence.compare import Gain, paired_bootstrap
from fusion_automl.fusion import FUSIONS
from fusion_automl.search.ledger import Trial
from fusion_automl.search.propose import BASELINE

POOL = 40
"""The best trials of each side of a comparison that are looked at; choosing the best needs no more."""


def modalities_of(candidate: Candidate) -> frozenset[str]:
    """The modalities that a candidate learns from."""
    used = [component_class(ENCODERS, name, where="encoder").modality for name in candidate.all_encoders()]
    used += [component_class(BACKBONES, name, where="backbone").modality for name in candidate.all_backbones()]
    for part in (candidate, *candidate.members):
        used += component_class(FUSIONS, part.fusion.name, where="fusion").takes.modalities
    return frozenset(used)


def is_deep(candidate: Candidate) -> bool:
    """Whether nets are all there is to it: a backbone alone, or several trained as one."""
    return bool(candidate.backbones) and not candidate.classical


def is_classical(candidate: Candidate) -> bool:
    """Whether classical models and encoders are all there is to it."""
    return candidate.classical is not None and not candidate.backbones and not candidate.members


def is_fused(candidate: Candidate) -> bool:
    """Whether it brings several modalities together, or deep with classical learning, or members."""
    both = bool(candidate.backbones) and candidate.classical is not None
    return both or bool(candidate.members) or len(modalities_of(candidate)) > 1


def family(candidate: Candidate) -> str:
    """The word for what a candidate is: its classical model, its backbone, or its fusion."""
    if is_classical(candidate) and candidate.classical:
        return candidate.classical.name
    return candidate.backbones[0].name if candidate.fusion.name == "backbone" else candidate.fusion.name


class Evidence:
    """The comparisons of a finished search; each answers None where one side has no candidate."""

    def __init__(self, field: Field, *, seconds: float) -> None:
        self.field = field
        modalities = field.problem.dataset.schema.modalities
        num_comparisons = 2 + (len(modalities) if len(modalities) > 1 else 0)
        self._seconds_each = seconds / num_comparisons

    def best(self, wanted: Callable[[Candidate], bool]) -> dict[str, Any] | None:
        """The best of the wanted candidates with the honest score of choosing it."""
        trials = self._those(wanted)
        if not trials:
            return None
        problem, chosen = self.field.problem, trials[0]
        return {
            "key": chosen.report.key,
            "family": family(chosen.candidate),
            "candidate": chosen.candidate.describe(),
            "score": problem.metric.score(problem.y, self.field.honest_best(trials)),
        }

    def gain(self, first: Callable[[Candidate], bool], second: Callable[[Candidate], bool]) -> Gain | None:
        """The best of the first candidates against the best of the second."""
        sides = [self._those(first), self._those(second)]
        return self._compare(*map(self.field.honest_best, sides)) if all(sides) else None

    def fusion_gain(self) -> Gain | None:
        """The best fused candidate against the best that is not fused."""
        return self.gain(is_fused, lambda candidate: not is_fused(candidate))

    def ensemble_gain(self, ensemble: Ensemble) -> Gain | None:
        """The ensemble against the best single candidate, both read in the same way: a threshold is no merit of either."""
        best = best_single(self.field.problem.metric)
        _, judged = self.field.read(self.field.trials[:POOL], best, deadline=Deadline.after(self._seconds_each))
        return self._compare(ensemble.honest, judged.honest)

    def modality_gains(self) -> dict[str, Gain | None]:
        """For each modality, the best candidate that uses it against the best that does not; empty where there is one."""
        modalities = self.field.problem.dataset.schema.modalities
        if len(modalities) < 2:
            return {}
        return {
            modality: self.gain(
                lambda candidate, one=modality: one in modalities_of(candidate),  # type: ignore[misc]  # a bound default
                lambda candidate, one=modality: candidate != BASELINE and one not in modalities_of(candidate),  # type: ignore[misc]
            )
            for modality in modalities
        }

    def _those(self, wanted: Callable[[Candidate], bool]) -> list[Trial]:
        return [trial for trial in self.field.trials if wanted(trial.candidate)][:POOL]

    def _compare(self, first: Any, second: Any) -> Gain:
        problem = self.field.problem
        deadline = Deadline.after(self._seconds_each)
        return paired_bootstrap(problem.y, first, second, problem.metric, seed=problem.seed, deadline=deadline)
