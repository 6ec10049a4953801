"""A function of the user's own, found by `package.module:function` or `path/to/file.py:function`."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

from fusion_automl.component import unknown
from fusion_automl.errors import UserError


def full_name(name: str) -> str:
    """The name by which another process, wherever it works, finds the same function."""
    place, _, function = name.rpartition(":")
    return f"{Path(place).resolve()}:{function}" if _is_file(place) else name


def load_function(name: str, *, where: str) -> Callable[..., Any]:
    """Imports the function that `name` leads to. Raises UserError where it cannot; `where` says who asked."""
    place, _, attribute = name.rpartition(":")
    try:
        module = _module_of_file(str(Path(place).resolve())) if _is_file(place) else importlib.import_module(place)
    except Exception as error:  # whatever the user's own code raises while it is imported
        raise UserError(
            f"{where}: {name} cannot be imported ({type(error).__name__}: {error}). Expected path/to/file.py:function, or "
            "package.module:function of an installed package."
        ) from error
    if not hasattr(module, attribute):
        known = [key for key, value in vars(module).items() if callable(value) and not key.startswith("_")]
        raise UserError(f"{where}: {place}: {unknown('function', attribute, known)}")
    found = getattr(module, attribute)
    if not callable(found):
        raise UserError(f"{where}: {name} is a {type(found).__name__}, expected a function.")
    return found


def _is_file(place: str) -> bool:
    return place.endswith(".py")


@cache
def _module_of_file(path: str) -> ModuleType:
    """Runs the file, once a process."""
    spec = importlib.util.spec_from_file_location(f"fusion_automl_custom_{Path(path).stem}", path)
    assert spec is not None and spec.loader is not None  # a name that ends in .py always has a loader
    module = sys.modules[spec.name] = importlib.util.module_from_spec(spec)  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module
