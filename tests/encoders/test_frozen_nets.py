"""Which checkpoints are refused, and how; what each fold learns of a frozen net, and what an artifact keeps of it."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import huggingface_hub
import numpy as np
import pytest

from fusion_automl.artifact import load, save
from fusion_automl.assemble import make_manifest
from fusion_automl.candidate import Candidate, Spec
from fusion_automl.data.dataset import Dataset
from fusion_automl.data.split import make_split
from fusion_automl.deadline import Deadline
from fusion_automl.encoders.image_embedding import ImageEmbedding
from fusion_automl.encoders.image_states import ImageStates
from fusion_automl.encoders.text_embedding import TextEmbedding
from fusion_automl.encoders.text_states import TextStates
from fusion_automl.ensemble.build import Ensemble
from fusion_automl.errors import DataError, FitError
from fusion_automl.evaluate import Problem, evaluate
from fusion_automl.metrics import METRICS
from fusion_automl.search.ledger import Report, Trial
from fusion_automl.search.read import read_space
from fusion_automl.search.space import fit_space
from fusion_automl.store.disk import Store
from fusion_automl.store.node import Part, Ref
from tests.contracts.rows import mixed_dataset

NEVER = Deadline.never()
FOREST = Spec.of("random_forest", n_estimators=10)
BASE = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 48}


def _fit(encoder: TextEmbedding | ImageEmbedding | TextStates | ImageStates, data: Dataset) -> object:
    return encoder.fit(data, seed=0, deadline=NEVER, threads=1)


def test_a_broken_image_is_told_by_its_row(checkpoints: dict[str, str]) -> None:
    data = mixed_dataset(rows=45)
    fitted = ImageEmbedding(checkpoint=checkpoints["image"]).fit(data, seed=0, deadline=NEVER, threads=1)
    frame = data.frame.copy()
    frame.at[40, "photo"] = b"not an image"
    with pytest.raises(DataError, match="photo: row 40 "):
        fitted.transform(frame)


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        ("model.safetensors", b"cut off", "cannot be read"),
        ("config.json", b"{", "cannot be read"),
        ("config.json", b'{"model_type": "no such net"}', "cannot be read"),
        ("tokenizer.json", b"{}", "cannot be read"),
    ],
)
def test_broken_files_fail_the_candidate(
    file: str, content: bytes, message: str, checkpoints: dict[str, str], tmp_path: Path
) -> None:
    shutil.copytree(checkpoints["text"], tmp_path / "net")
    (tmp_path / "net" / file).write_bytes(content)
    with pytest.raises(FitError, match=message):
        _fit(TextEmbedding(checkpoint=str(tmp_path / "net")), mixed_dataset(rows=4))


def test_broken_pixel_settings_fail_the_candidate(checkpoints: dict[str, str], tmp_path: Path) -> None:
    shutil.copytree(checkpoints["image"], tmp_path / "net")
    (tmp_path / "net" / "preprocessor_config.json").write_text("{")
    with pytest.raises(FitError, match="cannot be read"):
        _fit(ImageEmbedding(checkpoint=str(tmp_path / "net")), mixed_dataset(rows=4))


def test_code_in_a_checkpoint_is_not_run(checkpoints: dict[str, str], tmp_path: Path) -> None:
    shutil.copytree(checkpoints["text"], tmp_path / "net")
    (tmp_path / "net" / "own.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')")
    config = json.loads((tmp_path / "net" / "config.json").read_text())
    config |= {"model_type": "own", "auto_map": {"AutoConfig": "own.Own", "AutoModel": "own.Own"}}
    (tmp_path / "net" / "config.json").write_text(json.dumps(config))
    with pytest.raises(FitError, match="cannot be read"):
        _fit(TextEmbedding(checkpoint=str(tmp_path / "net")), mixed_dataset(rows=4))
    assert not (tmp_path / "ran").exists()


def test_a_net_of_the_other_modality_is_refused(checkpoints: dict[str, str], tmp_path: Path) -> None:
    both = tmp_path / "net"
    shutil.copytree(checkpoints["image"], both)
    shutil.copy(Path(checkpoints["text"]) / "tokenizer.json", both)
    with pytest.raises(FitError, match="is a vit, not a text transformer"):
        _fit(TextEmbedding(checkpoint=str(both)), mixed_dataset(rows=4))
    shutil.copy(Path(checkpoints["text"]) / "config.json", both)
    shutil.copy(Path(checkpoints["text"]) / "model.safetensors", both)
    with pytest.raises(FitError, match="is a bert, not an image net"):
        _fit(ImageEmbedding(checkpoint=str(both)), mixed_dataset(rows=4))


@pytest.mark.parametrize("name", ["MPNet", "DebertaV2", "ModernBert", "GPT2"])
def test_a_text_net_whose_layers_cannot_run_alone_is_embedded_but_not_tuned(
    name: str, checkpoints: dict[str, str], tmp_path: Path
) -> None:
    """MPNet's layers get a bias of positions from outside, DeBERTa's read the mask the other way round."""
    import transformers

    sizes = {"n_embd": 32, "n_layer": 2, "n_head": 2} if name == "GPT2" else BASE
    config = getattr(transformers, f"{name}Config")(
        vocab_size=80, max_position_embeddings=66, initializer_range=0.5, pad_token_id=0, bos_token_id=2,
        eos_token_id=3, **sizes
    )  # fmt: skip
    getattr(transformers, f"{name}Model")(config).save_pretrained(tmp_path)
    shutil.copy(Path(checkpoints["text"]) / "tokenizer.json", tmp_path)
    data = mixed_dataset(rows=4)
    _fit(TextEmbedding(checkpoint=str(tmp_path)), data)
    with pytest.raises(FitError, match="cannot be run on their own, so they cannot be tuned"):
        _fit(TextStates(checkpoint=str(tmp_path), layers_above=1), data)


def test_an_image_net_that_is_no_stack_of_layers_is_embedded_but_not_tuned(
    checkpoints: dict[str, str], tmp_path: Path
) -> None:
    from transformers import ResNetConfig, ResNetModel

    config = ResNetConfig(embedding_size=8, hidden_sizes=[8, 16], depths=[1, 1], layer_type="basic")
    ResNetModel(config).save_pretrained(tmp_path)
    shutil.copy(Path(checkpoints["image"]) / "preprocessor_config.json", tmp_path)
    data = mixed_dataset(rows=4)
    fitted = ImageEmbedding(checkpoint=str(tmp_path)).fit(data, seed=0, deadline=NEVER, threads=1)
    assert fitted.transform(data.frame).shape == (4, 16)
    with pytest.raises(FitError, match="a resnet is not one stack of layers"):
        _fit(ImageStates(checkpoint=str(tmp_path)), data)


def test_a_net_that_leaves_out_patches_at_random_is_refused(checkpoints: dict[str, str], tmp_path: Path) -> None:
    from transformers import ViTMAEConfig, ViTMAEModel

    ViTMAEModel(ViTMAEConfig(image_size=16, patch_size=4, **BASE)).save_pretrained(tmp_path)
    shutil.copy(Path(checkpoints["image"]) / "preprocessor_config.json", tmp_path)
    with pytest.raises(FitError, match="leaves out patches at random"):
        _fit(ImageEmbedding(checkpoint=str(tmp_path)), mixed_dataset(rows=4))


@pytest.fixture
def problem() -> Problem:
    data = mixed_dataset(rows=60)
    return Problem(data, make_split(data, num_folds=2, seed=0), METRICS["roc_auc"], seed=7)


def test_components_are_learned_in_each_fold_from_its_train_rows(
    checkpoints: dict[str, str], problem: Problem, tmp_path: Path
) -> None:
    words = Spec.of("text_embedding", checkpoint=checkpoints["text"], components=3)
    candidate = Candidate(Spec.of("concat"), encoders=(words,), classical=FOREST)

    def projections(data: Dataset, folder: Path) -> list[Part]:
        store = Store(folder)
        results = evaluate(candidate, replace(problem, dataset=data), store, deadline=NEVER, threads=1)
        narrow = [store.node(fold.output.node).inputs[0] for fold in results]
        assert store.misses == 1 + 2 * 2  # the encoder once, in each fold a projection and a forest
        for ref, fold in zip(narrow, problem.folds, strict=True):
            assert store.read(Ref(ref.node, "matrix"), fold.valid).shape == (len(fold.valid), 3)
        return [store.part(ref.node) for ref in narrow]

    data = problem.dataset
    frame = data.frame.copy()
    frame.loc[problem.folds[0].valid, "review"] = "awful broken returned"
    changed = replace(data, frame=frame, fingerprint="others")
    (one, two), (same, other) = projections(data, tmp_path / "a"), projections(changed, tmp_path / "b")
    np.testing.assert_array_equal(one.fitted.mean, same.fitted.mean)
    assert not np.allclose(two.fitted.mean, other.fitted.mean)
    assert not np.allclose(one.fitted.mean, two.fitted.mean)


@pytest.mark.parametrize("name", ["deep_features", "as_text", "concat"])
def test_an_artifact_outlives_its_checkpoint(
    name: str, checkpoints: dict[str, str], problem: Problem, tmp_path: Path
) -> None:
    text, image = tmp_path / "text", tmp_path / "image"
    shutil.copytree(checkpoints["text"], text)
    shutil.copytree(checkpoints["image"], image)
    embeddings = (
        Spec.of("text_embedding", checkpoint=str(text), components=3),
        Spec.of("image_embedding", checkpoint=str(image)),
    )
    words, photos = (Spec.of(f"{each.name}_lora", checkpoint=str(each), layers=1, epochs=1) for each in (text, image))
    candidate = {
        "concat": Candidate(Spec.of("concat"), encoders=embeddings, classical=FOREST),
        "as_text": Candidate(Spec.of("as_text"), backbones=(words,)),
        "deep_features": Candidate(
            Spec.of("deep_features", components=4), (Spec.of("ordinal"),), (words, photos), FOREST
        ),
    }[name]
    store = Store(tmp_path / "store")
    first = next(evaluate(candidate, problem, store, deadline=NEVER, threads=1))
    report = Report(candidate.key, "done", 1.0, (1.0,), 0, 0, 0, 0, outputs=(first.output,), nodes=first.nodes)
    ensemble = Ensemble(((Trial(candidate, report), 1.0),), 1.0, first.predictions)
    save(make_manifest(problem, store, ensemble), store, tmp_path / "artifact")
    for folder in (text, image, store.folder):
        shutil.rmtree(folder)
    artifact = load(tmp_path / "artifact")
    frame = problem.dataset.frame.iloc[problem.folds[0].valid].reset_index(drop=True)
    np.testing.assert_allclose(artifact.run(frame), first.predictions, atol=1e-5)
    np.testing.assert_allclose(artifact.run(frame.iloc[[2]]), first.predictions[[2]], atol=1e-4)
    kinds = {path.suffix for path in (tmp_path / "artifact").rglob("*") if path.is_file()}
    assert kinds <= {".json", ".safetensors", ".npz", ".skops"}


def test_a_checkpoint_that_is_nowhere_leaves_one_note(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    file = tmp_path / "space.toml"
    file.write_text("""
name = "lost"
description = "Words by a net that is nowhere."
[encoder.ordinal]
[encoder.tfidf]
[encoder.text_embedding]
checkpoint = {choice = ["nobody/lost-net", "/no/such/folder"]}
[classical.ridge]
[classical.logistic]
[fusion.concat]
""")
    local = fit_space(read_space(str(file)), ("tabular", "text"), "binary", 100)
    (note,) = local.notes
    assert note.startswith("text_embedding is left out: the checkpoint nobody/lost-net is not on this machine")
    assert not local.has("encoder", "text_embedding") and local.has("encoder", "tfidf")
