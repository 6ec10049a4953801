"""Model-level fusion: the backbones of all modalities trained end to end as one network, alone or under a classical head."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import ClassVar

from fusion_automl.backbones.network import HOW, Network, Settings
from fusion_automl.candidate import Candidate, Spec
from fusion_automl.component import unknown
from fusion_automl.errors import SpaceError
from fusion_automl.fusion import Level
from fusion_automl.fusion.bench import Bench, LearnFrom
from fusion_automl.fusion.takes import Takes
from fusion_automl.store.node import Ref


@dataclass(frozen=True, slots=True)
class FusionNetwork(Settings):
    """A network's own predictions; each way to fuse is a class below, so that a leaderboard tells it by name."""

    level: ClassVar[Level] = "model"
    takes: ClassVar[Takes] = Takes(backbones="several")
    how: ClassVar[str]

    def fit(self, candidate: Candidate, bench: Bench, *, learn_from: LearnFrom) -> Ref:
        network = Network(how=self.how, **asdict(self))
        return bench.network(network.spec, candidate.backbones, candidate.target)[1]


class ConcatNet(FusionNetwork):
    how = "concat"


class SumNet(FusionNetwork):
    how = "sum"


class ProductNet(FusionNetwork):
    how = "product"


class GatedNet(FusionNetwork):
    how = "gated"


class AttentionNet(FusionNetwork):
    how = "attention"


class CrossAttentionNet(FusionNetwork):
    how = "cross_attention"


@dataclass(frozen=True, slots=True)
class LowRankTensorNet(FusionNetwork):
    """`rank` of the weight tensor."""

    rank: int = 4
    how: ClassVar[str] = "low_rank_tensor"


@dataclass(frozen=True, slots=True)
class Hybrid(Settings):
    """The last layer of a network that fuses by `net`, as `components` principal components (0: as it is), with the raw
    features of the encoders to the head."""

    net: str = "gated"
    components: int = 0
    level: ClassVar[Level] = "model"
    takes: ClassVar[Takes] = Takes(encoders="may", backbones="several", classical="must")

    def __post_init__(self) -> None:
        if self.net not in HOW:
            raise SpaceError(f"[fusion.hybrid]: {unknown('net', self.net, list(HOW))}")

    def fit(self, candidate: Candidate, bench: Bench, *, learn_from: LearnFrom) -> Ref:
        assert candidate.classical is not None
        settings = {name: value for name, value in asdict(self).items() if name not in ("net", "components")}
        embedding, _ = bench.network(Network(how=self.net, **settings).spec, candidate.backbones, candidate.target)
        if self.components:
            embedding = bench.reduce(Spec.of("pca", components=self.components), [embedding], learn_from=learn_from)
        inputs = [embedding]
        inputs += [bench.encode(spec) for spec in candidate.encoders]
        return bench.head(
            candidate.classical, inputs, candidate.target, learn_from=learn_from, balance=candidate.balance
        )
