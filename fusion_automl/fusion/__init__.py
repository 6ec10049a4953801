"""The table of fusions: how encoders, backbones and classical models make one prediction."""

from __future__ import annotations

from typing import ClassVar, Literal, Protocol

from fusion_automl.candidate import Candidate
from fusion_automl.classical.balance import BALANCES
from fusion_automl.component import build, component_class, unknown
from fusion_automl.errors import SpaceError
from fusion_automl.fusion.bench import Bench, LearnFrom
from fusion_automl.fusion.takes import Takes
from fusion_automl.store.node import Ref

Level = Literal["none", "data", "model", "decision"]


class Fusion(Protocol):
    """A frozen dataclass whose fields are hyperparameters; `level` is where modalities meet, `takes` which parts it joins."""

    level: ClassVar[Level]
    takes: ClassVar[Takes]

    def fit(self, candidate: Candidate, bench: Bench, *, learn_from: LearnFrom) -> Ref:
        """Fits the candidate's parts on one fold; the prediction it returns covers the fold's validation rows
        (`learn_from="train"`) or its holdout rows (`learn_from="fit"`)."""


FUSIONS: dict[str, str] = {
    "baseline": "fusion_automl.fusion.baseline:Baseline",
    "backbone": "fusion_automl.fusion.backbone:BackboneAlone",
    "concat": "fusion_automl.fusion.concat:Concat",
    "concat_pca": "fusion_automl.fusion.concat:ConcatPCA",
    "concat_select": "fusion_automl.fusion.concat:ConcatSelect",
    "as_text": "fusion_automl.fusion.as_text:AsText",
    "deep_features": "fusion_automl.fusion.deep_features:DeepFeatures",
    "concat_net": "fusion_automl.fusion.network:ConcatNet",
    "sum_net": "fusion_automl.fusion.network:SumNet",
    "product_net": "fusion_automl.fusion.network:ProductNet",
    "gated_net": "fusion_automl.fusion.network:GatedNet",
    "attention_net": "fusion_automl.fusion.network:AttentionNet",
    "cross_attention_net": "fusion_automl.fusion.network:CrossAttentionNet",
    "low_rank_tensor_net": "fusion_automl.fusion.network:LowRankTensorNet",
    "hybrid": "fusion_automl.fusion.network:Hybrid",
    "average": "fusion_automl.fusion.decision:Average",
    "weighted": "fusion_automl.fusion.decision:Weighted",
    "vote": "fusion_automl.fusion.decision:Vote",
    "product_of_experts": "fusion_automl.fusion.decision:ProductOfExperts",
    "bayesian": "fusion_automl.fusion.decision:Bayesian",
    "stack": "fusion_automl.fusion.decision:Stack",
}


def level_of(candidate: Candidate) -> Level:
    """The level at which a candidate fuses."""
    level: Level = component_class(FUSIONS, candidate.fusion.name, where="fusion").level
    return level


def fit_candidate(candidate: Candidate, bench: Bench, *, learn_from: LearnFrom = "train") -> Ref:
    """Fits a candidate on one fold. Raises FitError, OutOfTime, or SpaceError for a candidate that makes no sense."""
    fusion: Fusion = build(FUSIONS, candidate.fusion, where="fusion")
    if not fusion.takes.accepts(candidate):
        raise SpaceError(f"{candidate.fusion.name} needs {fusion.takes}, got {candidate.describe()}.")
    if candidate.balance not in BALANCES:
        raise SpaceError(f"balance: {unknown('name', candidate.balance, list(BALANCES))}")
    if candidate.balance != "none" and not (candidate.classical and bench.dataset.task.is_classification):
        raise SpaceError(
            f"balance '{candidate.balance}' is for a classical model that learns classes, got {candidate.describe()} for a "
            f"{bench.dataset.task.kind} target. Leave the balance out."
        )
    return fusion.fit(candidate, bench, learn_from=learn_from)
