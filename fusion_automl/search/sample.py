"""Candidates drawn from the joint space (define-by-run), and the way back from a candidate to the draw.

The names of the parameters are paths into the candidate, so that a draw can be answered by a candidate:

    level, fusions/<level>                    at which level, and which fusion of it
    classical_model, lone_backbone            the head
    encoders/<prefers>/<modality>             which encoders, "none", or several joined by "+"; `<prefers>` is what the
    backbones/<modality>                      classical model prefers, because what suits trees does not suit lines
    classical/<name>/<hyperparameter>         and the same for backbone/, fusion/ and encoder/<prefers>/
    target                                    only where the target of a regression is skewed
    num_members, member0/<any of the above>   decision level

A modality that must be taken, because nothing else was, asks under `encoders_required/`: without "none" it is another
question. No name is another one's folder, since Ray Tune nests a configuration by the "/" in its names.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from fusion_automl.candidate import Candidate, Param, Spec
from fusion_automl.errors import SpaceError
from fusion_automl.fusion import Level
from fusion_automl.search.read import MAX_MEMBERS
from fusion_automl.search.space import Branch, LocalSpace, Section, component, fusion_level, preference
from fusion_automl.search.values import Trial
from fusion_automl.target import TARGETS

NONE = "none"


def suggest(trial: Trial, local: LocalSpace) -> Candidate:
    """Draws a candidate; the same answers to the same names always make the same candidate."""
    level: Level = trial.suggest_categorical("level", tuple(local.fusions))
    if level != "decision":
        return _draw(trial, local, level, "", taken=[])
    fusion = trial.suggest_categorical("fusions/decision", local.fusions["decision"])
    num_members = trial.suggest_int("num_members", 2, min(MAX_MEMBERS, len(local.branches)))
    below = tuple(level for level in local.fusions if level != "decision")
    members: list[Candidate] = []
    taken: list[Branch] = []
    for slot in range(num_members):
        scope = f"member{slot}/"
        members.append(_draw(trial, local, trial.suggest_categorical(f"{scope}level", below), scope, taken=taken))
    return Candidate(_spec(trial, local, "fusion", fusion, "fusion"), members=tuple(members))


def _draw(trial: Trial, local: LocalSpace, level: Level, scope: str, *, taken: list[Branch]) -> Candidate:
    """A candidate below decision level, of another branch than those `taken`, to which its own is added."""
    fusion = trial.suggest_categorical(f"{scope}fusions/{level}", local.fusions[level])
    asked = f"{scope}lone_backbone" if level == "none" else f"{scope}classical_model"
    head = trial.suggest_categorical(asked, tuple(head for name, head in local.branches if name == fusion))
    fusion, head = _free(local.branches, (fusion, head), taken)
    taken.append((fusion, head))
    level = fusion_level(fusion)
    spec = _spec(trial, local, "fusion", fusion, f"{scope}fusion")
    target = trial.suggest_categorical(f"{scope}target", TARGETS) if local.skewed else TARGETS[0]
    if level == "none":
        return Candidate(spec, backbones=(_spec(trial, local, "backbone", head, f"{scope}backbone"),), target=target)
    classical = _spec(trial, local, "classical", head, f"{scope}classical")
    prefers: str = component("classical", head).prefers
    backbones = _pick(trial, local, "backbone", scope, "", "backbone", required=True) if level == "model" else ()
    encoders = _pick(trial, local, "encoder", scope, f"/{prefers}", prefers, required=level == "data")
    return Candidate(spec, encoders, backbones, classical, target=target)


def _free(branches: Sequence[Branch], wished: Branch, taken: list[Branch]) -> Branch:
    """The wished branch or the next one in the list which no earlier member has: equal members would add nothing."""
    start = branches.index(wished)
    return next(branch for branch in (*branches[start:], *branches[:start]) if branch not in taken)


def _pick(
    trial: Trial, local: LocalSpace, section: Section, scope: str, group: str, sets: str, *, required: bool
) -> tuple[Spec, ...]:
    """For each modality one of its sets of components or none of them, but never nothing at all where `required`."""
    specs: list[Spec] = []
    choices = local.sets[sets]
    for modality, options in choices.items():
        if required and not specs and modality == list(choices)[-1]:
            picked = trial.suggest_categorical(f"{scope}{section}s_required{group}/{modality}", options)
        else:
            picked = trial.suggest_categorical(f"{scope}{section}s{group}/{modality}", (*options, NONE))
        names = [] if picked == NONE else picked.split("+")
        specs += [_spec(trial, local, section, name, f"{scope}{section}{group}") for name in names]
    return tuple(specs)


def _spec(trial: Trial, local: LocalSpace, section: Section, name: str, prefix: str) -> Spec:
    searched = local.space.tables[section][name]
    return Spec.of(
        name, **{param: values.draw(trial, f"{prefix}/{name}/{param}") for param, values in searched.items()}
    )


def candidate_of(params: Mapping[str, Param], local: LocalSpace) -> Candidate:
    """The candidate which `suggest` made from these answers. Raises SpaceError where they do not fit the space."""
    return suggest(_Replay(params), local)


def params_of(candidate: Candidate, local: LocalSpace) -> dict[str, Param] | None:
    """The answers with which `suggest` makes this candidate (for `study.enqueue_trial`, `points_to_evaluate` and
    `add_trial`), or None where the space does not hold it."""
    try:
        replay = _Replay(_answers(candidate, local))
        return replay.asked if suggest(replay, local) == candidate else None
    except SpaceError:
        return None


class _Replay:
    """A trial whose answers are known beforehand; `asked` collects those which were wanted."""

    def __init__(self, answers: Mapping[str, Any]) -> None:
        self.answers = answers
        self.asked: dict[str, Param] = {}

    def suggest_categorical(self, name: str, choices: Sequence[Any]) -> Any:
        return self._answer(name, lambda value: value in choices, f"one of {list(choices)}")

    def suggest_int(self, name: str, low: int, high: int, *, log: bool = False) -> int:
        value: int = self._answer(name, lambda value: low <= value <= high, f"{low} .. {high}")
        return value

    def suggest_float(self, name: str, low: float, high: float, *, log: bool = False) -> float:
        value: float = self._answer(name, lambda value: low <= value <= high, f"{low} .. {high}")
        return value

    def _answer(self, name: str, allowed: Any, expected: str) -> Any:
        if name not in self.answers or not allowed(self.answers[name]):
            raise SpaceError(f"{name}: expected {expected}, got {self.answers.get(name)!r}.")
        self.asked[name] = self.answers[name]
        return self.asked[name]


def _answers(candidate: Candidate, local: LocalSpace, scope: str = "") -> dict[str, Param]:
    """What the candidate answers to every question that `suggest` could ask about it."""
    level = fusion_level(candidate.fusion.name)
    prefers = preference(candidate)
    answers: dict[str, Param] = {
        f"{scope}level": level,
        f"{scope}fusions/{level}": candidate.fusion.name,
        f"{scope}target": candidate.target,
        f"{scope}num_members": len(candidate.members),
    }
    if candidate.classical:
        answers[f"{scope}classical_model"] = candidate.classical.name
    elif candidate.backbones:
        answers[f"{scope}lone_backbone"] = candidate.backbones[0].name
    parts: tuple[tuple[Section, str, tuple[Spec, ...]], ...] = (
        ("fusion", "", (candidate.fusion,)),
        ("classical", "", (candidate.classical,) if candidate.classical else ()),
        ("backbone", "", candidate.backbones),
        ("encoder", f"/{prefers}", candidate.encoders),
    )
    for section, group, specs in parts:
        for spec in specs:
            answers |= {f"{scope}{section}{group}/{spec.name}/{param}": value for param, value in spec.params}
    for section, group, specs in parts[2:]:
        for modality in local.modalities:
            names = [spec.name for spec in specs if component(section, spec.name).modality == modality]
            for question in (f"{section}s", f"{section}s_required"):
                answers[f"{scope}{question}{group}/{modality}"] = "+".join(names) or NONE
    for slot, member in enumerate(candidate.members):
        answers |= _answers(member, local, f"member{slot}/")
    return answers
