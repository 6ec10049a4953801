"""By-products of a trained net: candidates over what it learned that cost no more than a head.

The store has the net's embedding for every fold, so a classical model over it, or an average with what is best without
nets, takes seconds where the net took minutes.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from fusion_automl.candidate import Candidate, Spec
from fusion_automl.component import hyperparameters
from fusion_automl.search.ledger import Ledger, Trial
from fusion_automl.search.sample import params_of
from fusion_automl.search.space import LocalSpace, Section, component, fusion_takes, preference
from fusion_automl.search.values import Fixed

LINEAR = ("logistic", "ridge")
"""The first that the space has for the task."""


@dataclass(frozen=True, slots=True)
class Net:
    """What is trained on the target: a lone backbone, or what a fusion makes of one or several by `how`."""

    backbones: tuple[Spec, ...]
    target: str
    how: Spec | None = None


def nets(candidate: Candidate) -> tuple[Net, ...]:
    """The nets inside a candidate and its members, each once."""
    found = [net for member in candidate.members for net in nets(member)]
    if not candidate.backbones:
        return tuple(dict.fromkeys(found))
    takes = fusion_takes(candidate.fusion.name)
    if takes.backbones == "several":
        found.append(Net(candidate.backbones, candidate.target, _how(candidate.fusion)))
    else:
        how = candidate.fusion if takes.modalities else None  # it sees other columns than the backbone alone would
        found += [Net((spec,), candidate.target, how) for spec in candidate.backbones]
    return tuple(dict.fromkeys(found))


def _how(fusion: Spec) -> Spec:
    """A network's own part of a fusion: a hybrid has one in it, the others are one."""
    params = dict(fusion.params)
    params.pop("components", None)
    name = params.pop("net", None) or component("fusion", fusion.name).how
    return Spec.of(str(name), **params)


def candidates_per_backbone(ledger: Ledger) -> tuple[int, int]:
    """How many nets a run trained, and how many candidates it evaluated that have at least one of them inside."""
    evaluated = [trial for trial in ledger.trials() if trial.report.fold_scores]
    inside = [found for trial in evaluated if (found := nets(trial.candidate))]
    return len({net for found in inside for net in found}), len(inside)


def follow_ups(
    candidate: Candidate, fresh: Iterable[Net], ranked: Sequence[Trial], space: LocalSpace
) -> list[Candidate]:
    """What to try after `candidate`, which trained the `fresh` nets; `ranked` are the trials that are done, best first.

    All of them lie in the space. There are up to five for a net: the average with the best candidate without nets, boosting
    and a linear model over the embedding and the raw features that did best without the net, and a linear model and nearest
    neighbours over the embedding alone.
    """
    rivals = [trial.candidate for trial in ranked if trial.candidate.classical and not nets(trial.candidate)]
    found = [] if candidate.members else [_average(rivals, candidate, space)]
    for net in fresh:
        found += _over(net, rivals, space)
    inside = [wished for wished in found if wished and params_of(wished, space)]
    return list(dict.fromkeys(inside))


def _average(rivals: Sequence[Candidate], candidate: Candidate, space: LocalSpace) -> Candidate | None:
    spec = _usual("fusion", "average", space)
    alone = [rival for rival in rivals if not rival.members]
    return Candidate(spec, members=(alone[0], candidate)) if spec and alone else None


def _over(net: Net, rivals: Sequence[Candidate], space: LocalSpace) -> Iterator[Candidate]:
    """Classical models over the embedding of `net`."""
    fusion = _usual("fusion", "hybrid" if net.how else "deep_features", space)
    if fusion is None:
        return
    if net.how:
        fusion = Spec.of(fusion.name, **{**dict(fusion.params), **dict(net.how.params), "net": net.how.name})
    boosted, near = _usual("classical", "lightgbm", space), _usual("classical", "knn", space)
    linear = next((head for name in LINEAR if (head := _usual("classical", name, space))), None)
    for head in filter(None, (boosted, linear)):
        over = Candidate(fusion, (), net.backbones, head, target=net.target)
        features = (rival.encoders for rival in rivals if rival.encoders and preference(rival) == preference(over))
        if best := next(features, None):
            yield replace(over, encoders=best)
    for head in filter(None, (linear, near)):
        yield Candidate(fusion, (), net.backbones, head, target=net.target)


def _usual(section: Section, name: str, space: LocalSpace) -> Spec | None:
    """A component as it is by default, or None where the space does not have it so."""
    if not space.has(section, name):
        return None
    defaults = hyperparameters(component(section, name))
    searched = space.space.tables[section][name]
    params = {
        param: values.value if isinstance(values, Fixed) else defaults[param] for param, values in searched.items()
    }
    return Spec.of(name, **params) if all(values.holds(params[param]) for param, values in searched.items()) else None
