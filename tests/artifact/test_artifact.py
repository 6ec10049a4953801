import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from fusion_automl.artifact import load
from fusion_automl.artifact.manifest import FORMAT_VERSION, MANIFEST, seal
from fusion_automl.data.plain import from_plain
from fusion_automl.ensemble.calibrate import Calibration
from fusion_automl.ensemble.decide import Decision
from fusion_automl.ensemble.readout import Readout
from fusion_automl.errors import ArtifactError, DataError
from fusion_automl.metrics import METRICS
from tests.contracts.rows import mixed_dataset


def _edit(folder: Path, **changes: object) -> None:
    value = json.loads((folder / MANIFEST).read_text()) | changes
    del value["sha256"]
    (folder / MANIFEST).write_text(json.dumps(value | {"sha256": seal(value)}))


def test_a_run_folder_and_its_artifact_folder_load_alike(artifact_folder: Path) -> None:
    frame = mixed_dataset("binary", rows=40).frame
    first, second = load(artifact_folder), load(artifact_folder.parent)
    np.testing.assert_array_equal(first.run(frame), second.run(frame))
    assert set(first.predict(frame)) <= {"no", "yes"}
    proba = first.predict_proba(frame)
    assert list(proba.columns) == ["no", "yes"]
    np.testing.assert_allclose(proba.sum(axis=1), 1)


def test_loading_and_predicting_needs_no_ray_and_no_optuna(artifact_folder: Path) -> None:
    script = (
        "import sys, pandas as pd; from fusion_automl.artifact import load;"
        f"a = load({str(artifact_folder)!r}); from fusion_automl.data.plain import from_plain;"
        "print(a.predict_frame(from_plain([a.manifest.example], a.manifest.schema), where='x').shape);"
        "print('ray' in sys.modules, 'optuna' in sys.modules)"
    )
    answer = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert answer.stdout.split("\n")[:2] == ["(1, 2)", "False False"]


def test_no_file_of_an_artifact_is_a_pickle(artifact_folder: Path) -> None:
    endings = {path.suffix for path in artifact_folder.rglob("*") if path.is_file()}
    assert endings <= {".json", ".npz", ".npy", ".skops", ".safetensors", ".txt", ".ubj", ".cbm"}


def test_a_missing_or_smuggled_file_is_found(artifact_folder: Path) -> None:
    extra = artifact_folder / "nodes" / "model.pkl"
    extra.write_bytes(b"cos\nsystem\n")
    with pytest.raises(ArtifactError, match=r"nodes/model\.pkl is not in the manifest"):
        load(artifact_folder)
    extra.unlink()
    next(artifact_folder.rglob("stats.json")).unlink()
    with pytest.raises(ArtifactError, match=r"stats\.json is missing"):
        load(artifact_folder)


def test_a_newer_format_says_to_upgrade(artifact_folder: Path) -> None:
    _edit(artifact_folder, format_version=FORMAT_VERSION + 1)
    known = rf"format version {FORMAT_VERSION + 1}, this release knows up to {FORMAT_VERSION}\. Install a newer"
    with pytest.raises(ArtifactError, match=known):
        load(artifact_folder)


def test_an_artifact_of_format_1_predicts_as_it_did(artifact_folder: Path) -> None:
    frame = mixed_dataset("binary", rows=40).frame
    before = load(artifact_folder).run(frame)
    value = json.loads((artifact_folder / MANIFEST).read_text())
    del value["readout"], value["profiles"], value["sha256"]
    (artifact_folder / MANIFEST).write_text(json.dumps({**value, "format_version": 1}))
    np.testing.assert_array_equal(load(artifact_folder).run(frame), before)


def test_probabilities_are_calibrated_and_labels_decided_and_evaluate_agrees(artifact_folder: Path) -> None:
    dataset = mixed_dataset("binary", rows=40)
    labelled = dataset.frame.assign(target=[dataset.task.classes[code] for code in dataset.y])
    before = load(artifact_folder)
    readout = Readout(Calibration("temperature", temperature=2.0), Decision((0.2, 0.8)))
    _edit(artifact_folder, readout=readout.to_json())
    after = load(artifact_folder)
    roots = np.sqrt(np.clip(before.run(dataset.frame), 1e-15, 1))
    proba = roots / roots.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(after.predict_proba(dataset.frame).to_numpy(), proba)
    labels = np.where(0.8 * proba[:, 1] > 0.2 * proba[:, 0], "yes", "no")
    assert after.predict(dataset.frame).tolist() == labels.tolist()
    table = after.predict_table(dataset.frame)
    assert list(table) == ["prediction", "probability_no", "probability_yes"]
    assert table["prediction"].tolist() == labels.tolist()
    scores = after.evaluate(labelled)
    assert scores["accuracy"] == (labels == labelled["target"]).mean()
    assert scores["log_loss"] == pytest.approx(METRICS["log_loss"].value(dataset.y, proba))


def test_a_metric_of_one_s_own_is_added_when_asked_for(artifact_folder: Path, tmp_path: Path) -> None:
    dataset = mixed_dataset("binary", rows=40)
    labelled = dataset.frame.assign(target=[dataset.task.classes[code] for code in dataset.y])
    (tmp_path / "mine.py").write_text("def share(y_true, y_pred):\n    return (y_pred == 'yes').mean()\n")
    name = f"{tmp_path / 'mine.py'}:share"
    artifact = load(artifact_folder)
    assert artifact.evaluate(labelled, metric=name)[name] == (artifact.predict(labelled) == "yes").mean()
    assert name not in artifact.evaluate(labelled)


def test_a_folder_that_is_neither_is_named(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match="neither a run folder nor an artifact"):
        load(tmp_path)
    (tmp_path / "run.json").write_text("{}")
    with pytest.raises(ArtifactError, match="this run has no artifact yet"):
        load(tmp_path)


def test_the_example_predicts(artifact_folder: Path) -> None:
    artifact = load(artifact_folder)
    frame = from_plain([artifact.manifest.example], artifact.manifest.schema)
    np.testing.assert_allclose(artifact.predict_frame(frame, where="rows").sum(), 1)


def test_unseen_categories_missing_modalities_one_row_and_no_row(artifact_folder: Path) -> None:
    artifact, frame = load(artifact_folder), mixed_dataset("binary", rows=40).frame
    row = frame.iloc[:1].copy()
    row["colour"], row["title"], row["review"] = "never seen", None, None
    assert artifact.probabilities(row).shape == (1, 2)
    assert artifact.probabilities(frame.iloc[:0]).shape == (0, 2)


def test_a_missing_column_is_named_with_the_nearest(artifact_folder: Path) -> None:
    frame = mixed_dataset("binary", rows=40).frame.rename(columns={"colour": "color"})
    with pytest.raises(DataError, match=r"unknown column 'colour'\. Did you mean 'color'"):
        load(artifact_folder).predict(frame)


def test_evaluating_needs_the_target(artifact_folder: Path) -> None:
    dataset = mixed_dataset("binary", rows=40)
    artifact = load(artifact_folder)
    with pytest.raises(DataError, match="rows with the target column 'target' are needed"):
        artifact.evaluate(dataset.frame)
    labelled = dataset.frame.assign(target=[dataset.task.classes[code] for code in dataset.y])
    assert artifact.evaluate(labelled)["roc_auc"] > 0.8
