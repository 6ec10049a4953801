"""The joint space deep backbone × classical model × fusion, as it stands in a file and as it fits one dataset."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args

from fusion_automl.backbones import BACKBONES
from fusion_automl.candidate import Candidate
from fusion_automl.classical import CLASSICAL
from fusion_automl.component import Table, component_class, missing_libraries
from fusion_automl.data.schema import Modality, Schema
from fusion_automl.encoders import ENCODERS
from fusion_automl.errors import SpaceError
from fusion_automl.fusion import FUSIONS, Level
from fusion_automl.search.values import Values
from fusion_automl.task import Task, TaskKind

Section = Literal["classical", "backbone", "encoder", "fusion"]
Branch = tuple[str, str]
"""A fusion below decision level and its head: the classical model, or the lone backbone."""

BASELINES = ("baseline", "prior")
TABLES: dict[Section, Table] = {
    "classical": {name: line for name, line in CLASSICAL.items() if name not in BASELINES},
    "backbone": BACKBONES,
    "encoder": ENCODERS,
    "fusion": {name: line for name, line in FUSIONS.items() if name not in BASELINES},
}
"""What a space may name. Baselines are not searched: every run has them."""

CODE_ENCODERS = ("ordinal",)
"""Their output holds category codes and nan, which suits only the models that prefer `codes`."""

MODALITIES: tuple[Modality, ...] = get_args(Modality)
_EXTRAS = {
    "lightgbm": "boosting",
    "catboost": "boosting",
    "tabm": "tabular",
    "rtdl_num_embeddings": "tabular",
}


def component(section: Section, name: str) -> type[Any]:
    """The class of a component whose name was checked when the space was read."""
    return component_class(TABLES[section], name, where=section)


def fusion_level(name: str) -> Level:
    level: Level = component("fusion", name).level
    return level


@dataclass(frozen=True, slots=True)
class Entry:
    """A line of the portfolio: a candidate with all its modalities, and the data on which it is worth trying."""

    candidate: Candidate
    modalities: tuple[Modality, ...] = ()
    tasks: tuple[TaskKind, ...] = get_args(TaskKind)
    max_rows: int | None = None


@dataclass(frozen=True, slots=True)
class Space:
    """What may be searched, by section, component and hyperparameter, and what is tried first."""

    name: str
    description: str
    source: str
    tables: Mapping[Section, Mapping[str, Mapping[str, Values]]]
    entries: tuple[Entry, ...]

    def restrict(self, schema: Schema, task: Task, rows: int, *, skewed: bool = False) -> LocalSpace:
        """What of the space fits a dataset and this machine; `skewed` says that a regression target has a long right
        tail, so that its logarithm is worth learning. Raises SpaceError where nothing is left."""
        return fit_space(self, schema.modalities, task.kind, rows, skewed=skewed)


@dataclass(frozen=True, slots=True)
class LocalSpace:
    """A space cut down to one dataset, with the structural choices spelled out.

    `fusions` maps a level to its fusions. `sets` maps `backbone`, and what a classical model prefers (`codes`,
    `dense`), to each modality's choices: names of components joined by "+". `notes` says what was left out, and what
    to install.
    """

    space: Space
    modalities: tuple[Modality, ...]
    task: TaskKind
    rows: int
    skewed: bool
    fusions: Mapping[Level, tuple[str, ...]]
    sets: Mapping[str, Mapping[Modality, tuple[str, ...]]]
    branches: tuple[Branch, ...]
    notes: tuple[str, ...]

    def has(self, section: Section, name: str) -> bool:
        return name in self.space.tables[section]


def fit_space(
    space: Space, modalities: tuple[Modality, ...], task: TaskKind, rows: int, *, skewed: bool = False
) -> LocalSpace:
    """`Space.restrict` for data that is described by its modalities alone."""
    notes: list[str] = []
    tables: dict[Section, Mapping[str, Mapping[str, Values]]] = {}
    for section, components in space.tables.items():
        kept = {}
        for name, values in components.items():
            found = component(section, name)
            if _fits(found, modalities, task):
                obstacle = _obstacle(found, rows)
                if obstacle:
                    notes.append(f"{name} is left out: {obstacle}")
                else:
                    kept[name] = values
        tables[section] = kept
    here = Space(space.name, space.description, space.source, tables, space.entries)
    sets = {
        "backbone": _sets(here, "backbone", modalities, None),
        "codes": _sets(here, "encoder", modalities, "codes"),
        "dense": _sets(here, "encoder", modalities, "dense"),
    }
    fusions = _fusions(here, has_encoders=bool(sets["dense"]), has_backbones=bool(sets["backbone"]))
    branches = tuple(
        (fusion, head)
        for level, names in fusions.items()
        if level != "decision"
        for fusion in names
        for head in tables["backbone" if level == "none" else "classical"]
    )
    if not branches:
        present = ", ".join(modalities) or "none"
        reasons = "".join(f" {note}" for note in notes)
        raise SpaceError(f"{space.source}: nothing here fits a {task} target with modalities: {present}.{reasons}")
    if len(branches) < 2:
        fusions.pop("decision", None)
    skewed = skewed and task == "regression"
    return LocalSpace(here, modalities, task, rows, skewed, fusions, sets, branches, tuple(notes))


def _fits(found: type[Any], modalities: tuple[Modality, ...], task: TaskKind) -> bool:
    return getattr(found, "modality", None) in (None, *modalities) and task in getattr(found, "tasks", (task,))


def _obstacle(found: type[Any], rows: int) -> str:
    """Why a component that fits the data cannot be used, or an empty string."""
    missing = missing_libraries(found)
    if missing:
        extras = sorted({f"fusion_automl[{_EXTRAS[name]}]" if name in _EXTRAS else name for name in missing})
        return f"it needs {', '.join(missing)}. Install with: pip install {' '.join(map(repr, extras))}"
    max_rows = getattr(found, "max_rows", rows)
    return f"{rows:,} rows are more than the {max_rows:,} it is meant for." if rows > max_rows else ""


def _fusions(space: Space, *, has_encoders: bool, has_backbones: bool) -> dict[Level, tuple[str, ...]]:
    """The fusions of each level that have all the parts they need."""
    has_classical = bool(space.tables["classical"])
    possible: dict[Level, bool] = {
        "none": has_backbones,
        "data": has_encoders and has_classical,
        "model": has_backbones and has_classical,
        "decision": True,
    }
    levels = {name: fusion_level(name) for name in space.tables["fusion"]}
    found = {level: tuple(name for name in levels if levels[name] == level) for level in possible if possible[level]}
    return {level: names for level, names in found.items() if names}


def _sets(
    space: Space, section: Section, modalities: Iterable[Modality], prefers: str | None
) -> dict[Modality, tuple[str, ...]]:
    """For each modality the single components that suit, then the sets that the portfolio names."""
    sets: dict[Modality, tuple[str, ...]] = {}
    for modality in modalities:
        names = [name for name in space.tables[section] if component(section, name).modality == modality]
        named = []
        for candidate in _below_decision(space.entries):
            specs = candidate.encoders if section == "encoder" else candidate.backbones
            inside = [spec.name for spec in specs if spec.name in names]
            if inside and (prefers is None or preference(candidate) == prefers):
                named.append("+".join(inside))
        if names:
            sets[modality] = tuple(dict.fromkeys([*_suiting(names, prefers), *named]))
    return sets


def preference(candidate: Candidate) -> str | None:
    """The encoding of tables that the candidate's classical model prefers."""
    if candidate.classical is None:
        return None
    prefers: str = component("classical", candidate.classical.name).prefers
    return prefers


def _suiting(names: list[str], prefers: str | None) -> list[str]:
    if prefers == "dense":
        return [name for name in names if name not in CODE_ENCODERS] or names
    return sorted(names, key=lambda name: name not in CODE_ENCODERS)


def _below_decision(entries: Iterable[Entry]) -> list[Candidate]:
    return [part for entry in entries for part in (entry.candidate.members or (entry.candidate,))]
