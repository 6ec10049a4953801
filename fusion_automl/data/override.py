"""A small TOML in which a user corrects what was inferred: column kinds and the task.

[columns]
zip = "category"

[target]
task = "regression"
"""

from __future__ import annotations

import json
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fusion_automl.component import unknown
from fusion_automl.data.schema import Schema
from fusion_automl.errors import DataError


@dataclass(frozen=True, slots=True)
class Overrides:
    """Column kinds by column name, and the task's kind, None where the data shall decide."""

    columns: Mapping[str, str] = field(default_factory=dict)
    task_kind: str | None = None


def read_overrides(source: str | Path | Mapping[str, Any] | None) -> Overrides:
    """Reads a TOML file, or a mapping of the same shape, or a plain mapping column -> kind. Raises DataError."""
    if source is None:
        return Overrides()
    if isinstance(source, Mapping):
        flat = all(isinstance(value, str) for value in source.values())
        return Overrides(dict(source)) if flat else _from_tables(source, where="overrides")
    try:
        tables = tomllib.loads(Path(source).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise DataError(f"{source}: no such file. Expected a TOML file with a [columns] table.") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, OSError) as error:
        raise DataError(f"{source}: not a readable TOML file: {error}.") from error
    return _from_tables(tables, where=str(source))


def _from_tables(tables: Mapping[str, Any], *, where: str) -> Overrides:
    for name, table in tables.items():
        if name not in ("columns", "target"):
            raise DataError(f"{where}: {unknown('table', name, ['columns', 'target'])}")
        if not isinstance(table, Mapping) or not all(isinstance(value, str) for value in table.values()):
            raise DataError(f'{where}: [{name}]: expected lines such as name = "word", got {table!r}.')
    target = tables.get("target", {})
    for name in target:
        if name != "task":
            raise DataError(f"{where}: [target]: {unknown('name', name, ['task'])}")
    return Overrides(dict(tables.get("columns", {})), target.get("task"))


def to_toml(schema: Schema) -> str:
    """The kinds of all columns as TOML that `read_overrides` reads, to print, edit and pass back."""
    lines = [f"{_quoted(column.name)} = {_quoted(column.kind)}" for column in schema.columns]
    return "\n".join(["[columns]", *lines, ""])


def _quoted(word: str) -> str:
    """A JSON string is a TOML basic string, except that TOML wants DEL escaped."""
    return json.dumps(word, ensure_ascii=False).replace("\x7f", "\\u007f")
