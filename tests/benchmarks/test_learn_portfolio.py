"""The order in which a portfolio is learned, on made-up measurements."""

from __future__ import annotations

import tomllib
from typing import Any

import numpy as np

from benchmarks.learn_portfolio import learn, to_toml
from fusion_automl.candidate import Candidate, Spec

Y = [0, 1] * 50


def _line(classical: str, quality: float, seconds: dict[str, float], dataset: str = "a") -> dict[str, Any]:
    """A candidate whose probabilities are right with a share of `quality`, each in rows of its own."""
    candidate = Candidate(Spec.of("concat"), (Spec.of("onehot"),), classical=Spec.of(classical))
    rng = np.random.default_rng(len(classical))
    right = np.where(rng.random(len(Y)) < quality, Y, 1 - np.array(Y))
    return {
        "dataset": dataset,
        "key": candidate.key,
        "candidate": candidate.to_json(),
        "score": float((right == Y).mean()),
        "nodes": seconds,
        "metric": "accuracy",
        "y": Y,
        "oof": np.stack([1 - right, right], axis=1).tolist(),
    }


def test_what_adds_most_for_a_second_comes_first_and_what_adds_nothing_is_left_out() -> None:
    lines = [
        _line("lightgbm", 1.0, {"encoder": 1.0, "slow": 100.0}),
        _line("ridge", 0.8, {"encoder": 1.0, "fast": 0.1}),
        _line("knn", 0.55, {"encoder": 1.0, "near": 0.1}),
    ]
    chosen = learn(lines)
    assert [candidate.all_classical() for candidate, _, _ in chosen] == [("ridge",), ("lightgbm",)]
    assert chosen[0][2] == 1.1 and chosen[1][2] == 100.0  # the encoder is paid for once


def test_a_list_is_a_portfolio_file() -> None:
    lines = [_line("ridge", 0.8, {"node": 0.1})]
    raw = tomllib.loads(to_toml(learn(lines), lines, ("tabular",), 5000))
    entry = {"encoders": {"tabular": "onehot"}, "classical": "ridge", "mix": ["tabular"], "max_rows": 5000}
    assert raw == {"portfolio": [{"fusion": "concat", **entry}]}
