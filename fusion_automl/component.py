"""From a name and hyperparameters to a component: the tables of encoders, backbones, classical models and fusions.

A table is a plain dict from a name to `"module:Class"`; the class is a frozen dataclass whose fields are its
hyperparameters, imported only when it is asked for. `requires` on the class names the optional libraries it needs.
"""

from __future__ import annotations

import dataclasses
import difflib
import importlib
import importlib.util
import typing
from collections.abc import Mapping
from typing import Any

from fusion_automl.candidate import Spec
from fusion_automl.errors import SpaceError

Table = Mapping[str, str]


def unknown(what: str, found: str, known: list[str]) -> str:
    """The sentence for a name that is not in a list, with the nearest one that is."""
    near = difflib.get_close_matches(found, known, n=1)
    hint = f" Did you mean '{near[0]}'?" if near else ""
    return f"unknown {what} '{found}'.{hint} Known: {', '.join(sorted(known))}."


def component_class(table: Table, name: str, *, where: str) -> type[Any]:
    """The class behind a table's line. Raises SpaceError for a name that is not in the table."""
    if name not in table:
        raise SpaceError(f"{where}: {unknown('name', name, list(table))}")
    module, _, attribute = table[name].partition(":")
    found: type[Any] = getattr(importlib.import_module(module), attribute)
    return found


def fitted_class(table: Table, name: str, *, where: str) -> type[Any]:
    """The class of what a line's component fits, which can load it: the one that its `fit` says it returns."""
    found: type[Any] = typing.get_type_hints(component_class(table, name, where=where).fit)["return"]
    return found


def hyperparameters(component: type[Any]) -> dict[str, Any]:
    """Names of a component's hyperparameters with their defaults."""
    return {field.name: field.default for field in dataclasses.fields(component)}


def build(table: Table, spec: Spec, *, where: str) -> Any:
    """Makes the component that `spec` names. Raises SpaceError for unknown names of components or hyperparameters."""
    component = component_class(table, spec.name, where=where)
    known = hyperparameters(component)
    for name, value in spec.params:
        if name not in known:
            raise SpaceError(f"[{where}.{spec.name}]: {unknown('hyperparameter', name, list(known))}")
        default = known[name]
        if not (isinstance(value, type(default)) or (isinstance(default, float) and isinstance(value, int))):
            raise SpaceError(
                f"[{where}.{spec.name}]: {name} must be {type(default).__name__} like {default!r}, got {value!r}."
            )
    return component(**dict(spec.params))


def missing_libraries(component: type[Any]) -> tuple[str, ...]:
    """The libraries in `component.requires` that are not installed here."""
    return tuple(name for name in getattr(component, "requires", ()) if importlib.util.find_spec(name) is None)
