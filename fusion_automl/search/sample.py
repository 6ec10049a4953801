"""Candidates drawn from the joint space (define-by-run), and the way back from a candidate to the draw.

The names of the parameters are paths into the candidate, so that a draw can be answered by a candidate:

    level, fusions/<level>                    at which level, and which fusion of it
    classical_model, lone_backbone            the head; lone_<modality>_backbone for a fusion of one modality's nets
    encoders/<prefers>/<modality>             which encoders, "none", or several joined by "+"; `<prefers>` is what the
    backbones/<modality>, trunks/<modality>   classical model prefers, because what suits trees does not suit lines
    classical/<name>/<hyperparameter>         and the same for backbone/, fusion/ and encoder/<prefers>/
    target, balance                           only where the target of a regression is skewed, or a class is rare
    num_members, member0/<any of the above>   decision level
    meta/<classical_model, encoders, ...>     the meta-model over members, and what it sees beside them

A modality that must be taken, because too few others were, asks under `encoders_required/`: without "none" it is another
question. No name is another one's folder, since Ray Tune nests a configuration by the "/" in its names.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from fusion_automl.candidate import Candidate, Param, Spec
from fusion_automl.classical.balance import BALANCES
from fusion_automl.data.schema import Modality
from fusion_automl.errors import SpaceError
from fusion_automl.fusion.takes import MAX_MEMBERS
from fusion_automl.search.space import Branch, LocalSpace, Section, component, fusion_level, fusion_takes, preference
from fusion_automl.search.values import Trial
from fusion_automl.target import TARGETS

NONE = "none"
META = "meta/"


def suggest(trial: Trial, local: LocalSpace) -> Candidate:
    """Draws a candidate; the same answers to the same names always make the same candidate."""
    fusion = _draw_fusion(trial, local, "", tuple(local.fusions))
    if not fusion_takes(fusion).members:
        return _draw(trial, local, fusion, "", taken=[])
    num_members = trial.suggest_int("num_members", 2, min(MAX_MEMBERS, len(local.branches)))
    below = tuple(level for level in local.fusions if level != "decision")
    members: list[Candidate] = []
    taken: list[Branch] = []
    for slot in range(num_members):
        scope = f"member{slot}/"
        members.append(_draw(trial, local, _draw_fusion(trial, local, scope, below), scope, taken=taken))
    classical, encoders = _draw_meta(trial, local, fusion)
    return Candidate(_spec(trial, local, "fusion", fusion, "fusion"), encoders, (), classical, tuple(members))


def _draw_fusion(trial: Trial, local: LocalSpace, scope: str, levels: tuple[Any, ...]) -> str:
    level = trial.suggest_categorical(f"{scope}level", levels)
    fusion: str = trial.suggest_categorical(f"{scope}fusions/{level}", local.fusions[level])
    return fusion


def _draw(trial: Trial, local: LocalSpace, fusion: str, scope: str, *, taken: list[Branch]) -> Candidate:
    """A candidate made of parts, of another branch than those `taken`, to which its own is added."""
    fusion, head = _free(local.branches, (fusion, _draw_head(trial, local, fusion, scope)), taken)
    taken.append((fusion, head))
    takes = fusion_takes(fusion)
    spec = _spec(trial, local, "fusion", fusion, f"{scope}fusion")
    target = trial.suggest_categorical(f"{scope}target", TARGETS) if local.skewed else TARGETS[0]
    classical: Spec | None = None
    backbones: tuple[Spec, ...] = ()
    encoders: tuple[Spec, ...] = ()
    balance = BALANCES[0]
    if takes.classical == "must":
        classical = _spec(trial, local, "classical", head, f"{scope}classical")
        balance = trial.suggest_categorical(f"{scope}balance", BALANCES) if local.imbalanced else balance
    if takes.backbones == "one":
        backbones = (_spec(trial, local, "backbone", head, f"{scope}backbone"),)
    elif takes.backbones == "some":
        backbones = _pick(trial, local, "backbone", f"{scope}backbones", "", local.sets["backbone"], at_least=1)
    elif takes.backbones == "several":
        backbones = _pick(trial, local, "backbone", f"{scope}trunks", "", local.sets["trunk"], at_least=2)
    if takes.encoders != "no" and classical:
        encoders = _pick_encoders(trial, local, classical.name, scope, at_least=int(takes.encoders == "must"))
    return Candidate(spec, encoders, backbones, classical, target=target, balance=balance)


def _draw_head(trial: Trial, local: LocalSpace, fusion: str, scope: str) -> str:
    takes = fusion_takes(fusion)
    heads = tuple(head for name, head in local.branches if name == fusion)
    if takes.classical == "must":
        question = "classical_model"
    elif takes.backbones == "one":
        question = "_".join(["lone", *takes.modalities[:1], "backbone"])
    else:
        return heads[0]
    head: str = trial.suggest_categorical(f"{scope}{question}", heads)
    return head


def _draw_meta(trial: Trial, local: LocalSpace, fusion: str) -> tuple[Spec | None, tuple[Spec, ...]]:
    """What learns from the members' predictions where the fusion leaves that open, and what it sees beside them."""
    if fusion_takes(fusion).classical == "no" or not local.space.tables["classical"]:
        return None, ()
    name = trial.suggest_categorical(f"{META}classical_model", (NONE, *local.space.tables["classical"]))
    if name == NONE:
        return None, ()
    spec = _spec(trial, local, "classical", name, f"{META}classical")
    return spec, _pick_encoders(trial, local, name, META, at_least=0)


def _free(branches: Sequence[Branch], wished: Branch, taken: list[Branch]) -> Branch:
    """The wished branch or the next one in the list which no earlier member has: equal members would add nothing."""
    start = branches.index(wished)
    return next(branch for branch in (*branches[start:], *branches[:start]) if branch not in taken)


def _pick_encoders(trial: Trial, local: LocalSpace, classical: str, scope: str, *, at_least: int) -> tuple[Spec, ...]:
    prefers: str = component("classical", classical).prefers
    return _pick(trial, local, "encoder", f"{scope}encoders", f"/{prefers}", local.sets[prefers], at_least=at_least)


def _pick(
    trial: Trial,
    local: LocalSpace,
    section: Section,
    question: str,
    group: str,
    choices: Mapping[Modality, tuple[str, ...]],
    *,
    at_least: int,
) -> tuple[Spec, ...]:
    """For each modality one of its sets of components or none of them, but sets for `at_least` so many modalities."""
    specs: list[Spec] = []
    scope = question.rpartition("/")[0]
    prefix = f"{scope}/{section}{group}" if scope else f"{section}{group}"
    for left, (modality, options) in zip(range(len(choices), 0, -1), choices.items(), strict=True):
        if left <= at_least:
            picked = trial.suggest_categorical(f"{question}_required{group}/{modality}", options)
        else:
            picked = trial.suggest_categorical(f"{question}{group}/{modality}", (*options, NONE))
        names = [] if picked == NONE else picked.split("+")
        at_least -= bool(names)
        specs += [_spec(trial, local, section, name, prefix) for name in names]
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
    head = META if candidate.members else scope
    answers: dict[str, Param] = {
        f"{scope}level": level,
        f"{scope}fusions/{level}": candidate.fusion.name,
        f"{scope}target": candidate.target,
        f"{scope}balance": candidate.balance,
        f"{scope}num_members": len(candidate.members),
        f"{head}classical_model": candidate.classical.name if candidate.classical else NONE,
    }
    if candidate.backbones:
        first = candidate.backbones[0].name
        lone = ("lone_backbone", f"lone_{component('backbone', first).modality}_backbone")
        answers |= {f"{scope}{question}": first for question in lone}
    parts: tuple[tuple[str, Section, str, tuple[Spec, ...]], ...] = (
        (scope, "fusion", "", (candidate.fusion,)),
        (head, "classical", "", (candidate.classical,) if candidate.classical else ()),
        (scope, "backbone", "", candidate.backbones),
        (head, "encoder", f"/{prefers}", candidate.encoders),
    )
    for place, section, group, specs in parts:
        for spec in specs:
            answers |= {f"{place}{section}{group}/{spec.name}/{param}": value for param, value in spec.params}
    picks: tuple[tuple[str, Section, str, tuple[Spec, ...]], ...] = (
        (f"{scope}backbones", "backbone", "", candidate.backbones),
        (f"{scope}trunks", "backbone", "", candidate.backbones),
        (f"{head}encoders", "encoder", f"/{prefers}", candidate.encoders),
    )
    for question, section, group, specs in picks:
        for modality in local.modalities:
            names = "+".join(spec.name for spec in specs if component(section, spec.name).modality == modality)
            answers |= {f"{question}{ending}{group}/{modality}": names or NONE for ending in ("", "_required")}
    for slot, member in enumerate(candidate.members):
        answers |= _answers(member, local, f"member{slot}/")
    return answers
