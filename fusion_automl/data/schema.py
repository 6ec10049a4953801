"""What each column is: the kinds, and the schema that a run and an artifact carry with them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, get_args

Kind = Literal["numeric", "category", "boolean", "datetime", "text", "image", "series", "identifier", "constant"]
Modality = Literal["tabular", "text", "image", "series"]

KINDS: tuple[Kind, ...] = get_args(Kind)
MODALITY_OF: dict[Kind, Modality] = {
    "numeric": "tabular",
    "category": "tabular",
    "boolean": "tabular",
    "datetime": "tabular",
    "text": "text",
    "image": "image",
    "series": "series",
}
"""Identifiers and constants belong to no modality: nothing learns from them."""


@dataclass(frozen=True, slots=True)
class Column:
    """A column's name, its kind, and what it looked like in training, for messages and for the request schema.

    `num_unparsed` counts training cells that were not of the kind (words in a numeric column) and were read as missing;
    only where there were some is such a cell read as missing later, too.
    """

    name: str
    kind: Kind
    num_missing: int = 0
    num_distinct: int = 0
    example: str = ""
    num_unparsed: int = 0

    @property
    def modality(self) -> Modality | None:
        return MODALITY_OF.get(self.kind)


@dataclass(frozen=True, slots=True)
class Schema:
    """The feature columns in table order; the target, group and ignored columns are not among them."""

    columns: tuple[Column, ...]

    def names(self, *kinds: Kind) -> tuple[str, ...]:
        """Names of the columns of these kinds, in table order."""
        return tuple(column.name for column in self.columns if column.kind in kinds)

    def of_modality(self, modality: Modality) -> tuple[str, ...]:
        return tuple(column.name for column in self.columns if column.modality == modality)

    @property
    def modalities(self) -> tuple[Modality, ...]:
        """The modalities present, in the order of `Modality`."""
        present = {column.modality for column in self.columns}
        return tuple(modality for modality in get_args(Modality) if modality in present)

    @property
    def used(self) -> tuple[str, ...]:
        """Names of the columns that models learn from, in table order; a prediction needs these and no other."""
        return tuple(column.name for column in self.columns if column.modality)

    def to_json(self) -> list[dict[str, Any]]:
        return [{field: getattr(column, field) for field in Column.__slots__} for column in self.columns]

    @classmethod
    def from_json(cls, value: list[dict[str, Any]]) -> Schema:
        return cls(tuple(Column(**column) for column in value))
