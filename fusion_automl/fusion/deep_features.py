"""Model-level fusion: embeddings trained on the target -> principal components -> with the raw features -> classical.

The recipe with the best measured gain for its cost in MulTaBench (2026): a small encoder tuned on the target, some 30
components, boosted trees.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from fusion_automl.candidate import Candidate, Spec
from fusion_automl.fusion import Level
from fusion_automl.fusion.bench import Bench, LearnFrom
from fusion_automl.fusion.takes import Takes
from fusion_automl.store.node import Ref


@dataclass(frozen=True, slots=True)
class DeepFeatures:
    """`components` principal components of each backbone's embedding go to the head."""

    components: int = 30
    level: ClassVar[Level] = "model"
    takes: ClassVar[Takes] = Takes(encoders="may", backbones="some", classical="must")

    def fit(self, candidate: Candidate, bench: Bench, *, learn_from: LearnFrom) -> Ref:
        assert candidate.classical is not None
        embeddings = [bench.train(spec, candidate.target)[0] for spec in candidate.backbones]
        narrow = Spec.of("pca", components=self.components)
        inputs = [bench.reduce(narrow, [embedding], learn_from=learn_from) for embedding in embeddings]
        inputs += [bench.encode(spec) for spec in candidate.encoders]
        return bench.head(
            candidate.classical, inputs, candidate.target, learn_from=learn_from, balance=candidate.balance
        )
