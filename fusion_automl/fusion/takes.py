"""Which parts a fusion is made of. One answer for the fit that checks a candidate, the files that list candidates, and the
search that draws them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from fusion_automl.backbones import BACKBONES
from fusion_automl.candidate import Candidate
from fusion_automl.component import component_class
from fusion_automl.data.schema import Modality

Need = Literal["no", "may", "must"]
Backbones = Literal["no", "one", "some", "several"]
MAX_MEMBERS = 3

_BACKBONES = {"one": "one backbone", "some": "backbones", "several": "one backbone for each of two modalities or more"}


@dataclass(frozen=True, slots=True)
class Takes:
    """`backbones` says `several` where each is of another modality and there are two at the least, `members` says whether
    two or three candidates stand in place of parts. `modalities` are those that the data must have; where there are some,
    backbones are of the first of them."""

    encoders: Need = "no"
    backbones: Backbones = "no"
    classical: Need = "no"
    members: bool = False
    modalities: tuple[Modality, ...] = ()

    def __str__(self) -> str:
        needs = [f"2 to {MAX_MEMBERS} members that have no members themselves"] if self.members else []
        needs += [_BACKBONES[self.backbones]] if self.backbones != "no" else []
        needs += ["encoders"] if self.encoders == "must" else []
        needs += ["a classical model"] if self.classical == "must" else []
        optional = [f"encoders{' beside them' if needs else ''}"] if self.encoders == "may" else []
        optional += ["a classical model"] if self.classical == "may" else []
        return (" and ".join(needs) or "nothing") + "".join(f", perhaps {part}" for part in optional)

    def accepts(self, candidate: Candidate) -> bool:
        """Whether the candidate has what it must and nothing that has no meaning for its fusion."""
        return all(self._rules(candidate))

    def _rules(self, candidate: Candidate) -> Iterator[bool]:
        yield _kept(self.encoders, bool(candidate.encoders))
        yield _kept(self.classical, candidate.classical is not None)
        members = candidate.members
        yield 2 <= len(members) <= MAX_MEMBERS if self.members else not members
        yield not any(member.members for member in members)
        modalities = [_modality(spec.name) for spec in candidate.backbones]
        num_backbones, distinct = len(modalities), len(set(modalities))
        yield {
            "no": num_backbones == 0,
            "one": num_backbones == 1,
            "some": num_backbones >= 1,
            "several": num_backbones == distinct >= 2,
        }[self.backbones]
        yield not self.modalities or set(modalities) <= {self.modalities[0]}


def _kept(need: Need, found: bool) -> bool:
    return need == "may" or found == (need == "must")


def _modality(backbone: str) -> Modality:
    modality: Modality = component_class(BACKBONES, backbone, where="backbone").modality
    return modality
