"""The candidates that are tried first: a space's portfolio, cut down to the modalities and tools at hand."""

from __future__ import annotations

from dataclasses import replace

from fusion_automl.candidate import Candidate
from fusion_automl.search.space import Entry, LocalSpace, fusion_level, fusion_takes


def portfolio(local: LocalSpace) -> list[Candidate]:
    """The portfolio's candidates for this dataset, in order, each key once."""
    found = [_prune(entry.candidate, local) for entry in local.space.entries if _applies(entry, local)]
    return list(dict.fromkeys(candidate for candidate in found if candidate))


def _applies(entry: Entry, local: LocalSpace) -> bool:
    return (
        set(entry.modalities) <= set(local.modalities)
        and (not entry.mix or set(entry.mix) == set(local.modalities))
        and local.task in entry.tasks
        and (entry.max_rows is None or local.rows <= entry.max_rows)
    )


def _prune(candidate: Candidate, local: LocalSpace) -> Candidate | None:
    """The candidate without the parts that do not fit here, or None where too little is left of it."""
    level = fusion_level(candidate.fusion.name)
    if candidate.fusion.name not in local.fusions.get(level, ()):
        return None
    if (candidate.target == "log" and not local.skewed) or (candidate.balance != "none" and not local.imbalanced):
        return None
    if candidate.classical and not local.has("classical", candidate.classical.name):
        return None
    pruned = replace(
        candidate,
        encoders=tuple(spec for spec in candidate.encoders if local.has("encoder", spec.name)),
        backbones=tuple(spec for spec in candidate.backbones if local.has("backbone", spec.name)),
        members=_prune_members(candidate, local),
    )
    return pruned if fusion_takes(candidate.fusion.name).accepts(pruned) else None


def _prune_members(candidate: Candidate, local: LocalSpace) -> tuple[Candidate, ...]:
    members = [_prune(member, local) for member in candidate.members]
    return tuple(dict.fromkeys(member for member in members if member))
