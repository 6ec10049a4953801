"""One point of the joint space, as a value with a name of its own."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast

Param = str | int | float | bool


def digest(value: object, *, length: int = 12) -> str:
    """The first hex digits of the SHA-256 of `value` as JSON with sorted keys."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(text.encode()).hexdigest()[:length]


@dataclass(frozen=True, slots=True)
class Spec:
    """The name of a table's line and its hyperparameters, sorted by name."""

    name: str
    params: tuple[tuple[str, Param], ...] = ()

    @classmethod
    def of(cls, name: str, /, **params: Param) -> Spec:
        return cls(name, tuple(sorted(params.items())))

    def to_json(self) -> dict[str, Any]:
        return {"name": self.name, **dict(self.params)}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Spec:
        return cls.of(value["name"], **{name: param for name, param in value.items() if name != "name"})


@dataclass(frozen=True, slots=True)
class Candidate:
    """A fusion with everything under it.

    Data-level and model-level fusions use `encoders`, `backbones` and `classical`; decision-level fusions use `members`,
    which are candidates themselves. `target` bends the target of a regression: `identity` or `log`. `balance` says how the
    rows of rare classes are made to count when the classical model learns; it stands in the JSON only where it is not
    `none`, so that keys are what they were before there was such a choice.
    """

    fusion: Spec
    encoders: tuple[Spec, ...] = ()
    backbones: tuple[Spec, ...] = ()
    classical: Spec | None = None
    members: tuple[Candidate, ...] = ()
    target: str = "identity"
    balance: str = "none"

    @property
    def key(self) -> str:
        """Names the trial folder, the log lines and the ledger's line; equal in every process."""
        return digest(self.to_json())

    def to_json(self) -> dict[str, Any]:
        return {
            "fusion": self.fusion.to_json(),
            "encoders": [spec.to_json() for spec in self.encoders],
            "backbones": [spec.to_json() for spec in self.backbones],
            "classical": self.classical.to_json() if self.classical else None,
            "members": [member.to_json() for member in self.members],
            "target": self.target,
        } | ({} if self.balance == "none" else {"balance": self.balance})

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Candidate:
        return cls(
            fusion=Spec.from_json(value["fusion"]),
            encoders=tuple(Spec.from_json(spec) for spec in value["encoders"]),
            backbones=tuple(Spec.from_json(spec) for spec in value["backbones"]),
            classical=Spec.from_json(value["classical"]) if value["classical"] else None,
            members=tuple(cls.from_json(member) for member in value["members"]),
            target=cast(str, value["target"]),
            balance=value.get("balance", "none"),
        )

    def all_backbones(self) -> tuple[str, ...]:
        """Names of the backbones here and in the members, each once, in order."""
        names = [spec.name for spec in self.backbones] + [n for m in self.members for n in m.all_backbones()]
        return tuple(dict.fromkeys(names))

    def all_encoders(self) -> tuple[str, ...]:
        """Names of the encoders here and in the members, each once, in order."""
        names = [spec.name for spec in self.encoders] + [n for m in self.members for n in m.all_encoders()]
        return tuple(dict.fromkeys(names))

    def all_classical(self) -> tuple[str, ...]:
        """Names of the classical models here and in the members, each once, in order."""
        own = [self.classical.name] if self.classical else []
        return tuple(dict.fromkeys(own + [n for m in self.members for n in m.all_classical()]))

    def describe(self) -> str:
        """One line for people: `deep_features(text_cnn + ordinal -> lightgbm)`, `hybrid[gated](...)`."""
        inside = [member.describe() for member in self.members]
        parts = (*self.backbones, *self.encoders)
        inside += [" + ".join(spec.name for spec in parts)] if parts else []
        choices = [value for _, value in self.fusion.params if isinstance(value, str)]
        name = self.fusion.name + (f"[{', '.join(choices)}]" if choices else "")
        head = f" -> {self.classical.name}" if self.classical else ""
        target = f", {self.target} target" if self.target != "identity" else ""
        balance = f", {self.balance}" if self.balance != "none" else ""
        return f"{name}({', '.join(inside)}{head}{target}{balance})"
