"""From a TOML file to a `Space`; every mistake is a sentence that names file, table and hyperparameter.

The format is described for users in `search_spaces/README.md`.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, get_args

import search_spaces
from fusion_automl.candidate import Candidate, Param, Spec
from fusion_automl.classical.balance import BALANCES
from fusion_automl.component import component_class, hyperparameters, unknown
from fusion_automl.errors import SpaceError
from fusion_automl.fusion.takes import MAX_MEMBERS, Takes
from fusion_automl.search.space import MODALITIES, TABLES, Branch, Entry, Section, Space, component, fusion_takes
from fusion_automl.search.values import Choice, Fixed, FloatRange, IntRange, Values
from fusion_automl.target import TARGETS
from fusion_automl.task import TaskKind

Tables = Mapping[Section, Mapping[str, Mapping[str, Values]]]

_FOLDER = Path(next(iter(search_spaces.__path__)))
_HEAD = ["name", "description"]
_TOP = [*_HEAD, "include", *TABLES, "portfolio"]
_PARTS = ["fusion", "encoders", "backbones", "classical", "members", "target", "balance"]
_CONDITIONS = ["modalities", "mix", "tasks", "max_rows"]


def space_names() -> list[str]:
    """Names of the spaces that come with the package."""
    return sorted(path.stem for path in _FOLDER.glob("*.toml"))


def read_space(name_or_path: str | Path) -> Space:
    """Reads a space by its name or from a file. Raises SpaceError for whatever is wrong with it."""
    path = _find(str(name_or_path))
    return _space(_load(path), path)


def _load(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise SpaceError(f"{path}: the search space cannot be read ({error.strerror}).") from None
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise SpaceError(f"{path}: expected a TOML file, but {error}.") from None


def _find(name: str) -> Path:
    if name.endswith(".toml") or Path(name).name != name:
        return Path(name)
    if name not in space_names():
        raise SpaceError(f"--space: {unknown('space', name, space_names())} A file's name ends in .toml.")
    return _FOLDER / f"{name}.toml"


def _space(raw: Mapping[str, Any], path: Path) -> Space:
    where = str(path)
    if "restricts" in raw:
        return _restricted(raw, where)
    _known_only(raw, _TOP, where, "table")
    _check_head(raw, where)
    tables: Tables = {section: _section(raw.get(section, {}), section, where) for section in TABLES}
    included = raw.get("include", [])
    if not isinstance(included, list) or not all(isinstance(name, str) for name in included):
        raise SpaceError(f"{where}: include must be a list of files, got {included!r}.")
    entries: list[Entry] = []
    for name in included:
        entries += _portfolio(_load(path.parent / name), ["portfolio"], tables, str(path.parent / name))
    entries += _portfolio(raw, _TOP, tables, where)
    return Space(raw["name"], raw["description"], where, tables, tuple(entries))


def _restricted(raw: Mapping[str, Any], where: str) -> Space:
    """Another space with only some of its components: ranges and portfolio are those of the other."""
    _known_only(raw, [*_HEAD, "restricts", "only"], where, "table")
    _check_head(raw, where)
    if not isinstance(raw["restricts"], str):
        raise SpaceError(f"{where}: restricts must name a space, got {raw['restricts']!r}.")
    whole = read_space(raw["restricts"])
    only = _table(raw.get("only", {}), f"{where}: [only]")
    _known_only(only, list(TABLES), f"{where}: [only]", "section")
    tables: dict[Section, Mapping[str, Mapping[str, Values]]] = dict(whole.tables)
    for section in [section for section in TABLES if section in only]:
        kept = _names(only[section], tuple(whole.tables[section]), "name", f"{where}: [only] {section}")
        tables[section] = {name: whole.tables[section][name] for name in kept}
    entries = tuple(entry for entry in whole.entries if entry.candidate.fusion.name in tables["fusion"])
    return Space(raw["name"], raw["description"], where, tables, entries)


def _check_head(raw: Mapping[str, Any], where: str) -> None:
    for key in _HEAD:
        if not isinstance(raw.get(key), str):
            raise SpaceError(f"{where}: {key} must be a text, got {raw.get(key)!r}.")


def _portfolio(raw: Mapping[str, Any], known: list[str], tables: Tables, where: str) -> list[Entry]:
    _known_only(raw, known, where, "table")
    lines = raw.get("portfolio", [])
    if not isinstance(lines, list):
        raise SpaceError(f"{where}: write each candidate of the portfolio under a heading of its own, [[portfolio]].")
    return [_entry(line, tables, f"{where}: [[portfolio]] {number}") for number, line in enumerate(lines, start=1)]


def _section(raw: Any, section: Section, where: str) -> dict[str, dict[str, Values]]:
    components = {}
    for name, params in _table(raw, f"{where}: [{section}]").items():
        found = component_class(TABLES[section], name, where=f"{where}: [{section}.{name}]")
        known = hyperparameters(found)
        here = f"{where}: [{section}.{name}]"
        _known_only(_table(params, here), list(known), here, "hyperparameter")
        components[name] = {param: _values(value, known[param], f"{here} {param}") for param, value in params.items()}
    return components


def _values(raw: Any, default: Any, where: str) -> Values:
    """A hyperparameter's values, of the type that its default has."""
    if not isinstance(raw, dict):
        return Fixed(_typed(raw, default, where))
    _known_only(raw, ["int", "float", "choice", "log"], where, "key")
    kinds = [kind for kind in ("int", "float", "choice") if kind in raw]
    if len(kinds) != 1:
        raise SpaceError(f"{where}: expected one of int, float and choice, got {raw!r}.")
    kind, values = kinds[0], raw[kinds[0]]
    if not isinstance(values, list) or not values:
        raise SpaceError(f"{where}: {kind} needs a list, got {values!r}.")
    typed: list[Any] = [_typed(value, default, where) for value in values]
    if kind == "choice":
        if "log" in raw or len(set(typed)) != len(typed):
            raise SpaceError(f"{where}: a choice needs different values and no log, got {raw!r}.")
        return Choice(tuple(typed))
    if type(default).__name__ != kind:
        raise SpaceError(f"{where}: its default is {default!r}, so {kind} is not a range of it, got {raw!r}.")
    log = raw.get("log", False)
    if len(typed) != 2 or not typed[0] < typed[1]:
        raise SpaceError(f"{where}: {kind} needs [low, high] with low < high, got {values!r}.")
    if not isinstance(log, bool) or (log and not typed[0] > 0):
        raise SpaceError(f"{where}: log must be true or false, and true only where low > 0, got {raw!r}.")
    low, high = typed
    return IntRange(low, high, log) if kind == "int" else FloatRange(low, high, log)


def _typed(value: Any, default: Any, where: str) -> Param:
    """The value in its default's type, so that 1 and 1.0 make one candidate and one key."""
    if type(value) is type(default):
        typed: Param = value
        return typed
    if type(default) is float and type(value) is int:
        return float(value)
    raise SpaceError(f"{where}: expected {type(default).__name__} like {default!r}, got {value!r}.")


def _entry(raw: Any, tables: Tables, where: str) -> Entry:
    _known_only(_table(raw, where), [*_PARTS, *_CONDITIONS], where, "key")
    modalities = _names(raw.get("modalities", []), MODALITIES, "modality", f"{where} modalities")
    mix = _names(raw.get("mix", []), MODALITIES, "modality", f"{where} mix")
    tasks = _names(raw.get("tasks", list(get_args(TaskKind))), get_args(TaskKind), "task", f"{where} tasks")
    max_rows = raw.get("max_rows")
    if max_rows is not None and (type(max_rows) is not int or max_rows < 1):
        raise SpaceError(f"{where}: max_rows must be a whole number above 0, got {max_rows!r}.")
    parts = {key: value for key, value in raw.items() if key in _PARTS}
    return Entry(_candidate(parts, tables, where), modalities, mix, tasks, max_rows)


def _candidate(raw: Any, tables: Tables, where: str) -> Candidate:
    _known_only(_table(raw, where), _PARTS, where, "key")
    if "fusion" not in raw:
        raise SpaceError(f"{where}: fusion is missing. Known: {', '.join(sorted(tables['fusion']))}.")
    fusion = _spec(raw["fusion"], "fusion", tables, f"{where} fusion")
    takes = fusion_takes(fusion.name)
    _check_parts(raw, takes, f"{where} ({fusion.name})")
    target = raw.get("target", "identity")
    if target not in TARGETS:
        raise SpaceError(f"{where} target: {unknown('target', str(target), list(TARGETS))}")
    balance = raw.get("balance", "none")
    if balance not in BALANCES:
        raise SpaceError(f"{where} balance: {unknown('balance', str(balance), list(BALANCES))}")
    classical = raw.get("classical")
    candidate = Candidate(
        fusion=fusion,
        encoders=_by_modality(raw.get("encoders", {}), "encoder", tables, f"{where} encoders"),
        backbones=_by_modality(raw.get("backbones", {}), "backbone", tables, f"{where} backbones"),
        classical=None if classical is None else _spec(classical, "classical", tables, f"{where} classical"),
        members=_members(raw["members"], tables, f"{where} members") if takes.members else (),
        target=target,
        balance=balance,
    )
    if not takes.accepts(candidate):
        raise SpaceError(f"{where}: {fusion.name} needs {takes}, got {candidate.describe()}.")
    return candidate


def _check_parts(raw: Mapping[str, Any], takes: Takes, where: str) -> None:
    needs = {
        "encoders": takes.encoders,
        "backbones": "no" if takes.backbones == "no" else "must",
        "classical": takes.classical,
        "members": "must" if takes.members else "no",
        "target": "no" if takes.members else "may",
        "balance": "no" if takes.members or takes.classical == "no" else "may",
    }
    missing = [part for part, need in needs.items() if need == "must" and not raw.get(part)]
    surplus = [part for part in raw if needs.get(part, "must") == "no"]
    if missing or surplus:
        lead = f"{missing[0]} is missing" if missing else f"{surplus[0]} has no meaning here"
        allowed = ["fusion", *(part for part, need in needs.items() if need != "no")]
        raise SpaceError(f"{where}: {lead}. Allowed: {', '.join(sorted(allowed))}.")


def _members(raw: Any, tables: Tables, where: str) -> tuple[Candidate, ...]:
    if not isinstance(raw, list) or not 2 <= len(raw) <= MAX_MEMBERS:
        raise SpaceError(f"{where}: expected a list of 2 to {MAX_MEMBERS} candidates, got {raw!r}.")
    members = tuple(_candidate(member, tables, f"{where} {i}") for i, member in enumerate(raw, start=1))
    if any(member.members for member in members):
        raise SpaceError(f"{where}: a member must not have members itself.")
    branches = [branch(member) for member in members]
    if len(set(branches)) != len(branches):
        found = ", ".join(f"{fusion} {head}" for fusion, head in branches)
        raise SpaceError(f"{where}: members must differ in fusion or model, got {found}.")
    return members


def branch(candidate: Candidate) -> Branch:
    """The fusion and the head of a candidate that is made of parts."""
    if candidate.classical:
        return candidate.fusion.name, candidate.classical.name
    lone = fusion_takes(candidate.fusion.name).backbones == "one"
    return candidate.fusion.name, candidate.backbones[0].name if lone else ""


def _by_modality(raw: Any, section: Section, tables: Tables, where: str) -> tuple[Spec, ...]:
    """The components for each modality, in the order of the modalities."""
    _known_only(_table(raw, where), list(MODALITIES), where, "modality")
    specs: list[Spec] = []
    for modality in MODALITIES:
        lines = raw.get(modality, [])
        for line in lines if isinstance(lines, list) else [lines]:
            spec = _spec(line, section, tables, f"{where} {modality}")
            its = component(section, spec.name).modality
            if its != modality:
                raise SpaceError(f"{where} {modality}: {spec.name} is for {its}, not for {modality}.")
            specs.append(spec)
    if len({spec.name for spec in specs}) != len(specs):
        raise SpaceError(f"{where}: the same name stands here twice: {', '.join(spec.name for spec in specs)}.")
    return tuple(specs)


def _spec(raw: Any, section: Section, tables: Tables, where: str) -> Spec:
    """A component with a value for each hyperparameter that its table names: the line's own, else the default."""
    line = {"name": raw} if isinstance(raw, str) else _table(raw, where)
    name = line.get("name")
    if not isinstance(name, str):
        raise SpaceError(f"{where}: expected a name or a table with a name, got {raw!r}.")
    if name not in tables[section]:
        missing = unknown("name", name, list(tables[section]))
        raise SpaceError(f"{where}: {missing} What the portfolio uses needs a table, here [{section}.{name}].")
    searched = tables[section][name]
    _known_only(line, ["name", *searched], where, f"hyperparameter in [{section}.{name}]")
    defaults = hyperparameters(component(section, name))
    params: dict[str, Param] = {}
    for param, values in searched.items():
        value = line.get(param, values.value if isinstance(values, Fixed) else defaults[param])
        params[param] = _typed(value, defaults[param], f"{where} {name}.{param}")
        if not values.holds(params[param]):
            origin = "" if param in line else "the default "
            raise SpaceError(f"{where}: {name}.{param}: {origin}{value!r} is not in [{section}.{name}]: {values}.")
    return Spec.of(name, **params)


def _table(raw: Any, where: str) -> dict[str, Any]:
    if not isinstance(raw, dict):
        raise SpaceError(f"{where}: expected a table, got {raw!r}.")
    return raw


def _names(raw: Any, known: tuple[Any, ...], what: str, where: str) -> tuple[Any, ...]:
    if not isinstance(raw, list):
        raise SpaceError(f"{where}: expected a list of names, got {raw!r}.")
    _known_only(raw, list(known), where, what)
    return tuple(raw)


def _known_only(found: Any, known: list[str], where: str, what: str) -> None:
    for name in found:
        if name not in known:
            raise SpaceError(f"{where}: {unknown(what, str(name), known)}")
