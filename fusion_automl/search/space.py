"""The joint space deep backbone × classical model × fusion, as it stands in a file and as it fits one dataset."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args

from fusion_automl.backbones import BACKBONES
from fusion_automl.candidate import Candidate
from fusion_automl.classical import CLASSICAL
from fusion_automl.component import Table, component_class, hyperparameters, missing_libraries
from fusion_automl.data.schema import Modality, Schema
from fusion_automl.encoders import ENCODERS
from fusion_automl.errors import SpaceError
from fusion_automl.fusion import FUSIONS, Level
from fusion_automl.fusion.takes import Takes
from fusion_automl.search.values import Choice, Fixed, Values
from fusion_automl.task import Task, TaskKind

Section = Literal["classical", "backbone", "encoder", "fusion"]
Branch = tuple[str, str]
"""A fusion of parts and its head: the classical model, the lone backbone, or "" for a network of several."""

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
    "peft": "pretrained",
    "tabm": "tabular",
    "rtdl_num_embeddings": "tabular",
}


def component(section: Section, name: str) -> type[Any]:
    """The class of a component whose name was checked when the space was read."""
    return component_class(TABLES[section], name, where=section)


def fusion_level(name: str) -> Level:
    level: Level = component("fusion", name).level
    return level


def fusion_takes(name: str) -> Takes:
    takes: Takes = component("fusion", name).takes
    return takes


@dataclass(frozen=True, slots=True)
class Entry:
    """A line of the portfolio: a candidate with all its modalities, and the data on which it is worth trying: those that
    have all of `modalities`, or exactly those of `mix` where it names some."""

    candidate: Candidate
    modalities: tuple[Modality, ...] = ()
    mix: tuple[Modality, ...] = ()
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

    def restrict(
        self, schema: Schema, task: Task, rows: int, *, skewed: bool = False, imbalanced: bool = False
    ) -> LocalSpace:
        """What of the space fits a dataset and this machine; `skewed` says that a regression target has a long right
        tail, so that its logarithm is worth learning, `imbalanced` that a class is so rare that balancing the rows is
        worth a try. Raises SpaceError where nothing is left."""
        return fit_space(self, schema.modalities, task.kind, rows, skewed=skewed, imbalanced=imbalanced)


@dataclass(frozen=True, slots=True)
class LocalSpace:
    """A space cut down to one dataset, with the structural choices spelled out.

    `fusions` maps a level to its fusions. `sets` maps `backbone`, `trunk` (backbones that can be trained as parts of a
    network) and what a classical model prefers (`codes`, `dense`) to each modality's choices: names of components joined
    by "+". `notes` says what was left out, and what to install.
    """

    space: Space
    modalities: tuple[Modality, ...]
    task: TaskKind
    rows: int
    skewed: bool
    imbalanced: bool
    fusions: Mapping[Level, tuple[str, ...]]
    sets: Mapping[str, Mapping[Modality, tuple[str, ...]]]
    branches: tuple[Branch, ...]
    notes: tuple[str, ...]

    def has(self, section: Section, name: str) -> bool:
        return name in self.space.tables[section]

    @property
    def trains_nets(self) -> bool:
        """Whether any net may be trained whole, not only on the states of frozen layers."""
        return any(not hasattr(component("backbone", name), "below") for name in self.space.tables["backbone"])


def fit_space(
    space: Space,
    modalities: tuple[Modality, ...],
    task: TaskKind,
    rows: int,
    *,
    skewed: bool = False,
    imbalanced: bool = False,
) -> LocalSpace:
    """`Space.restrict` for data that is described by its modalities alone."""
    notes: list[str] = []
    tables: dict[Section, Mapping[str, Mapping[str, Values]]] = {}
    for section, components in space.tables.items():
        kept = {}
        for name, values in components.items():
            found = component(section, name)
            if _fits(found, modalities, task):
                obstacle = _obstacle(found, values, rows)
                if obstacle:
                    notes.append(f"{name} is left out: {obstacle}")
                else:
                    kept[name] = values
        tables[section] = kept
    here = Space(space.name, space.description, space.source, tables, space.entries)
    sets = {
        "backbone": _sets(here, "backbone", modalities, None),
        "trunk": _trunks(here, modalities),
        "codes": _sets(here, "encoder", modalities, "codes"),
        "dense": _sets(here, "encoder", modalities, "dense"),
    }
    fusions = _fusions(here, modalities, sets)
    branches = tuple((name, head) for names in fusions.values() for name in names for head in _heads(name, here))
    if not branches:
        present = ", ".join(modalities) or "none"
        reasons = "".join(f" {note}" for note in notes)
        raise SpaceError(f"{space.source}: nothing here fits a {task} target with modalities: {present}.{reasons}")
    if len(branches) < 2:
        fusions.pop("decision", None)
    return LocalSpace(
        here,
        modalities,
        task,
        rows,
        skewed and task == "regression",
        imbalanced and task != "regression",
        fusions,
        sets,
        branches,
        tuple(notes),
    )


def _fits(found: type[Any], modalities: tuple[Modality, ...], task: TaskKind) -> bool:
    return getattr(found, "modality", None) in (None, *modalities) and task in getattr(found, "tasks", (task,))


def _obstacle(found: type[Any], values: Mapping[str, Values], rows: int) -> str:
    """Why a component that fits the data cannot be used, or an empty string."""
    missing = missing_libraries(found)
    if missing:
        extras = sorted({f"fusion_automl[{_EXTRAS[name]}]" if name in _EXTRAS else name for name in missing})
        return f"it needs {', '.join(missing)}. Install with: pip install {' '.join(map(repr, extras))}"
    for checkpoint in _checkpoints(found, values):
        if problem := found.obstacle(checkpoint):
            return str(problem)
    max_rows = getattr(found, "max_rows", rows)
    return f"{rows:,} rows are more than the {max_rows:,} it is meant for." if rows > max_rows else ""


def _checkpoints(found: type[Any], values: Mapping[str, Values]) -> tuple[Any, ...]:
    """The pretrained weights that a component may be asked to start from."""
    if not hasattr(found, "obstacle"):
        return ()
    allowed = values.get("checkpoint", Fixed(hyperparameters(found)["checkpoint"]))
    return allowed.values if isinstance(allowed, Choice) else (getattr(allowed, "value", None),)


def _fusions(
    space: Space, modalities: tuple[Modality, ...], sets: Mapping[str, Mapping[Modality, tuple[str, ...]]]
) -> dict[Level, tuple[str, ...]]:
    """The fusions of each level that have all the parts they need."""

    def possible(takes: Takes) -> bool:
        backbones = [modality for modality in sets["backbone"] if modality in (takes.modalities[:1] or modalities)]
        return (
            set(takes.modalities) <= set(modalities)
            and (takes.encoders != "must" or bool(sets["dense"]))
            and (takes.classical != "must" or bool(space.tables["classical"]))
            and (takes.backbones not in ("one", "some") or bool(backbones))
            and (takes.backbones != "several" or len(sets["trunk"]) >= 2)
        )

    names = [name for name in space.tables["fusion"] if possible(fusion_takes(name))]
    found = {level: tuple(name for name in names if fusion_level(name) == level) for level in get_args(Level)}
    return {level: names for level, names in found.items() if names}


def _heads(fusion: str, space: Space) -> tuple[str, ...]:
    """What may stand at the head of a fusion of parts; nothing at all for a fusion of members."""
    takes = fusion_takes(fusion)
    if takes.members:
        return ()
    if takes.classical == "must":
        return tuple(space.tables["classical"])
    if takes.backbones == "several":
        return ("",)
    wanted = takes.modalities[:1] or MODALITIES
    return tuple(name for name in space.tables["backbone"] if component("backbone", name).modality in wanted)


def _trunks(space: Space, modalities: tuple[Modality, ...]) -> dict[Modality, tuple[str, ...]]:
    """For each modality the backbones whose nets can be trained as parts of a network."""
    named = {name: component("backbone", name) for name in space.tables["backbone"]}
    found = {
        modality: tuple(name for name, its in named.items() if its.modality == modality and hasattr(its, "design"))
        for modality in modalities
    }
    return {modality: names for modality, names in found.items() if names}


def _sets(
    space: Space, section: Section, modalities: Iterable[Modality], prefers: str | None
) -> dict[Modality, tuple[str, ...]]:
    """For each modality the single components that suit, then the sets that the portfolio names."""
    sets: dict[Modality, tuple[str, ...]] = {}
    for modality in modalities:
        names = [name for name in space.tables[section] if component(section, name).modality == modality]
        named = []
        for candidate in _all_candidates(space.entries):
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


def _all_candidates(entries: Iterable[Entry]) -> list[Candidate]:
    """The candidates of a portfolio and their members."""
    return [part for entry in entries for part in (entry.candidate, *entry.candidate.members)]
