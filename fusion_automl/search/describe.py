"""A space in words for people, and the proof that all of it can be built."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import get_args

from fusion_automl.candidate import Candidate, Spec
from fusion_automl.component import build, missing_libraries
from fusion_automl.errors import SpaceError
from fusion_automl.search.sample import params_of, suggest
from fusion_automl.search.space import MODALITIES, TABLES, LocalSpace, Section, Space, component, fit_space
from fusion_automl.search.values import Fixed
from fusion_automl.task import TaskKind

NUM_SAMPLES = 200


def describe_space(space: Space) -> str:
    """What is searched, component by component, and what is tried first."""
    lines = [f"{space.name}: {space.description}", size_of(space)]
    for section, components in space.tables.items():
        for name, values in components.items():
            missing = missing_libraries(component(section, name))
            lines.append(f"\n[{section}.{name}]" + (f"  (needs {', '.join(missing)})" if missing else ""))
            lines += [f"  {param}: {allowed}" for param, allowed in values.items()]
    lines.append("\nportfolio, tried in this order where the data has the modalities:")
    for number, entry in enumerate(space.entries, start=1):
        only = [f"needs {', '.join(entry.modalities)}"] if entry.modalities else []
        only += [f"only {' + '.join(entry.mix)}"] if entry.mix else []
        only += [f"only {', '.join(entry.tasks)}"] if entry.tasks != get_args(TaskKind) else []
        only += [f"up to {entry.max_rows:,} rows"] if entry.max_rows else []
        lines.append(f"  {number:2}. {entry.candidate.describe()}" + (f"  [{'; '.join(only)}]" if only else ""))
    return "\n".join(lines)


def size_of(space: Space) -> str:
    """One line: how many components, searched hyperparameters and portfolio entries a space has."""
    components = " × ".join(f"{len(names)} {section}" for section, names in space.tables.items())
    searched = sum(
        not isinstance(values, Fixed)
        for names in space.tables.values()
        for params in names.values()
        for values in params.values()
    )
    return f"{components}; {searched} hyperparameters searched; {len(space.entries)} portfolio entries"


def check_space(space: Space) -> list[str]:
    """Builds every portfolio entry and some random candidates; returns what went wrong, each sentence once."""
    problems = [
        f"{space.source}: [[portfolio]] {number}: {problem}"
        for number, entry in enumerate(space.entries, start=1)
        for problem in _unbuildable(entry.candidate)
    ]
    places: list[LocalSpace] = []
    refusals: list[str] = []
    for task in get_args(TaskKind):
        try:
            places.append(fit_space(space, MODALITIES, task, rows=1000, skewed=True, imbalanced=True))
        except SpaceError as error:
            refusals.append(str(error))
    if not places:
        problems += refusals
    for local in places:
        for candidate in _random_candidates(local, math.ceil(NUM_SAMPLES / len(places))):
            problems += [f"{space.source}: {problem}" for problem in _unbuildable(candidate)]
            if params_of(candidate, local) is None:
                problems.append(f"{space.source}: {candidate.describe()} cannot be found again in the space.")
    return list(dict.fromkeys(problems))


def _random_candidates(local: LocalSpace, number: int) -> Iterator[Candidate]:
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    for _ in range(number):
        yield suggest(study.ask(), local)


def _unbuildable(candidate: Candidate) -> list[str]:
    """Why parts of the candidate cannot be built."""
    parts: tuple[tuple[Section, tuple[Spec, ...]], ...] = (
        ("fusion", (candidate.fusion,)),
        ("encoder", candidate.encoders),
        ("backbone", candidate.backbones),
        ("classical", (candidate.classical,) if candidate.classical else ()),
    )
    problems: list[str] = []
    for section, specs in parts:
        for spec in specs:
            try:
                build(TABLES[section], spec, where=section)
            except (SpaceError, ValueError) as error:
                problems.append(f"[{section}.{spec.name}]: {error}")
    return problems + [problem for member in candidate.members for problem in _unbuildable(member)]
