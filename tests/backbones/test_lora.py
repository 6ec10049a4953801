"""Layers tuned over stored states: what is trained and kept, and that the frozen layers run once whatever is built on them."""

from __future__ import annotations

import copy
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch

from fusion_automl.artifact import load, save
from fusion_automl.assemble import make_manifest
from fusion_automl.backbones.fitted import Outputs
from fusion_automl.backbones.lora import Tuning, _opened
from fusion_automl.backbones.nets.lora import LayersOverStates, add_updates, merge_updates, read_updates
from fusion_automl.backbones.recipe import Recipe
from fusion_automl.candidate import Candidate, Spec
from fusion_automl.data.split import make_split
from fusion_automl.deadline import Deadline
from fusion_automl.encoders import pretrained_net, sequences
from fusion_automl.encoders.pretrained_net import layers_of, load_net, norm_of
from fusion_automl.encoders.sequences import Sequences
from fusion_automl.encoders.text_states import FittedTextStates, TextStates
from fusion_automl.ensemble.build import Ensemble
from fusion_automl.errors import FitError
from fusion_automl.evaluate import FoldResult, Problem, evaluate
from fusion_automl.metrics import METRICS
from fusion_automl.search.ledger import Report, Trial
from fusion_automl.store.disk import Store
from tests.contracts.rows import mixed_dataset

NEVER = Deadline.never()
FRAME = mixed_dataset(rows=20).frame


@pytest.fixture(scope="module")
def frozen(checkpoints: dict[str, str]) -> FittedTextStates:
    states = TextStates(checkpoint=checkpoints["text"], layers_above=1)
    return states.fit(mixed_dataset(rows=20), seed=0, deadline=NEVER, threads=1)


def _over(frozen: FittedTextStates) -> LayersOverStates:
    net = frozen.net.net
    torch.manual_seed(0)
    layers = copy.deepcopy(layers_of(net)[-1:])
    return LayersOverStates(layers, norm_of(net), frozen.net.size, dropout=0.0, num_outputs=2).eval()


def _embed(net: LayersOverStates, states: Sequences) -> torch.Tensor:
    with net.reading(states.values), torch.inference_mode():
        return net.embed(torch.from_numpy(states.starts), torch.from_numpy(states.lengths))


def test_untuned_layers_over_the_states_are_the_whole_net(frozen: FittedTextStates) -> None:
    found = _embed(_over(frozen), frozen.transform(FRAME)).numpy()
    texts = ["\n".join(text for text in row if text) for row in zip(FRAME["title"], FRAME["review"], strict=True)]
    for row, text in enumerate(texts):
        numbers = torch.tensor([frozen.net.tokenizer.encode(text).ids])
        with torch.inference_mode():
            whole = frozen.net.net(input_ids=numbers).last_hidden_state[0].mean(0).numpy()
        np.testing.assert_allclose(found[row], whole, atol=2e-3)  # the states are kept in float16


def test_only_updates_and_head_are_trained(frozen: FittedTextStates) -> None:
    net = _over(frozen)
    add_updates(net.layers, rank=2)
    trained = {name for name, weight in net.named_parameters() if weight.requires_grad}
    assert {name for name in trained if "lora_" not in name} == {"head.1.weight", "head.1.bias"}
    linear = [module for module in layers_of(frozen.net.net)[-1].modules() if isinstance(module, torch.nn.Linear)]
    assert len(trained) == 2 + 2 * len(linear)


def test_merged_updates_say_what_they_said_beside_the_weights(frozen: FittedTextStates) -> None:
    plain = _over(frozen)
    tuned = copy.deepcopy(plain)
    add_updates(tuned.layers, rank=2)
    for name, weight in tuned.layers.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(weight, std=1.0)
    for module in tuned.modules():
        module.float()  # where the hardware multiplies bfloat16, they are in it for training
    states = frozen.transform(FRAME)
    before, expected = _embed(plain, states), _embed(tuned, states)
    merge_updates(plain.layers, read_updates(tuned.layers))
    assert (before - expected).abs().max() > 0.2
    # Weights that were in bfloat16 for a while are rounded; the updates are not.
    torch.testing.assert_close(_embed(plain, states), expected, atol=0.02, rtol=0)


def test_layers_that_learn_have_another_attention_with_the_same_result(
    frozen: FittedTextStates, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    frozen.save(tmp_path)
    monkeypatch.setattr(pretrained_net, "best_device", lambda: torch.device("cpu"))
    learning, applied = load_net(tmp_path, learning=True), load_net(tmp_path)
    assert [net.config._attn_implementation for net in (learning, applied)] == ["eager", "sdpa"]
    numbers = torch.arange(5, 25).view(2, 10)
    inside = torch.arange(10) < torch.tensor([[10], [6]])
    with torch.inference_mode():
        found, expected = (
            net(input_ids=numbers, attention_mask=inside.long()).last_hidden_state[inside]
            for net in (learning, applied)
        )
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)

    data = mixed_dataset(rows=20)
    tuning = Tuning(1, 2, 0.0, Recipe(1e-3, 1e-2, epochs=1, patience=1, batch_size=8))
    states = np.zeros((1, frozen.net.size), np.float16)
    with _opened(tuning, tmp_path, Outputs.fit(data.task, data.y), states) as net:
        assert isinstance(net, LayersOverStates)
        assert net.layers[0].attention.self.config._attn_implementation == "eager"


def test_training_leaves_out_tokens_and_prediction_none(frozen: FittedTextStates) -> None:
    net = _over(frozen)
    net.dropout = 0.5
    states = frozen.transform(FRAME)
    assert torch.equal(_embed(net, states), _embed(net, states))
    net.train()
    assert not torch.allclose(_embed(net, states), _embed(net, states))
    assert not net.layers.training


def _problem() -> Problem:
    dataset = mixed_dataset("binary", rows=60)
    return Problem(dataset, make_split(dataset, num_folds=2, seed=0), METRICS["roc_auc"], seed=7)


def _candidates(checkpoints: dict[str, str]) -> dict[str, Candidate]:
    def lone(name: str, **params: str | int) -> Candidate:
        return Candidate(Spec.of("backbone"), backbones=(Spec.of(name, epochs=1, layers=1, **params),))

    return {
        "text": lone("text_lora", checkpoint=checkpoints["text"], rank=2),
        "text of higher rank": lone("text_lora", checkpoint=checkpoints["text"], rank=4),
        "image": lone("image_lora", checkpoint=checkpoints["image"], rank=2),
        "frozen": Candidate(
            Spec.of("concat"),
            encoders=(
                Spec.of("text_embedding", checkpoint=checkpoints["text"]),
                Spec.of("image_embedding", checkpoint=checkpoints["image"]),
            ),
            classical=Spec.of("logistic"),
        ),
    }


def _evaluate(candidate: Candidate, problem: Problem, store: Store) -> list[FoldResult]:
    return list(evaluate(candidate, problem, store, deadline=NEVER, threads=1))


def _fitted(store: Store) -> Counter[str]:
    return Counter(store.node(path.parent.name).spec.name for path in store.folder.glob("*/DONE"))


def test_frozen_layers_run_once_for_all_folds_and_all_candidates(checkpoints: dict[str, str], tmp_path: Path) -> None:
    problem, store, candidates = _problem(), Store(tmp_path), _candidates(checkpoints)
    _evaluate(candidates["text"], problem, store)
    _evaluate(candidates["text of higher rank"], problem, store)
    assert _fitted(store) == {"text_states": 1, "text_lora": 4}
    _evaluate(candidates["frozen"], problem, store)
    assert _fitted(store) == {
        "text_states": 1, "text_lora": 4, "text_embedding": 1, "image_embedding": 1, "logistic": 2
    }  # fmt: skip


@pytest.mark.parametrize("name", ["text", "image", "frozen"])
def test_an_artifact_needs_no_checkpoint_and_says_what_the_search_saw(
    name: str, checkpoints: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    problem, store, candidate = _problem(), Store(tmp_path / "store"), _candidates(checkpoints)[name]
    first = _evaluate(candidate, problem, store)[0]
    report = Report(candidate.key, "done", 1.0, (1.0,), 0, 0, 0, 0, outputs=(first.output,), nodes=first.nodes)
    manifest = make_manifest(problem, store, Ensemble(((Trial(candidate, report), 1.0),), 1.0, first.predictions))
    save(manifest, store, tmp_path / "artifact")
    monkeypatch.setattr("fusion_automl.encoders.pretrained.find", None)  # no folder, no hub
    artifact = load(tmp_path / "artifact")
    frame = problem.dataset.frame.iloc[problem.folds[0].valid].reset_index(drop=True)
    np.testing.assert_allclose(artifact.run(frame), first.predictions, atol=1e-5)
    alone = artifact.run(frame.iloc[3:4].reset_index(drop=True))
    np.testing.assert_allclose(alone, first.predictions[3:4], atol=1e-4)
    assert artifact.run(frame.iloc[:0]).shape == (0, 2)


@pytest.mark.parametrize("name", ["text", "image"])
def test_validation_targets_leave_their_predictions_unchanged(
    name: str, checkpoints: dict[str, str], tmp_path: Path
) -> None:
    problem, candidate = _problem(), _candidates(checkpoints)[name]
    turned = problem.dataset.y.copy()
    turned[problem.folds[0].valid] = 1 - turned[problem.folds[0].valid]
    other = Problem(problem.dataset.with_targets(turned), problem.folds, problem.metric, problem.seed)
    seen = next(evaluate(candidate, problem, Store(tmp_path / "a"), deadline=NEVER, threads=1))
    again = next(evaluate(candidate, other, Store(tmp_path / "b"), deadline=NEVER, threads=1))
    np.testing.assert_array_equal(seen.predictions, again.predictions)


def test_more_states_than_the_disk_should_hold_fail_the_candidate(
    checkpoints: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sequences, "LARGEST", 1000)
    with pytest.raises(FitError, match=r"states of .* tokens or patches would fill"):
        _evaluate(_candidates(checkpoints)["text"], _problem(), Store(tmp_path))
