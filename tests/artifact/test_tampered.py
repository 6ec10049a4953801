"""Artifacts that were changed: by accident, which their SHA-256 tell, and by someone who wrote new ones. Neither runs code."""

from __future__ import annotations

import io
import json
import os
import pickle
import shutil
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import skops.io
import torch

from fusion_automl.artifact import load
from fusion_automl.artifact.manifest import MANIFEST, files_under, read_manifest, seal
from fusion_automl.candidate import Candidate, Spec
from fusion_automl.errors import ArtifactError
from tests.artifact.conftest import make_artifact

CLASSICAL = ("logistic", "random_forest", "xgboost", "lightgbm", "catboost")
CANDIDATES = (
    *(Candidate(Spec.of("concat"), encoders=(Spec.of("ordinal"),), classical=Spec.of(name)) for name in CLASSICAL),
    Candidate(Spec.of("backbone"), backbones=(Spec.of("tabm", epochs=1),)),
)
FORMATS = {".json", ".npz", ".skops", ".safetensors", ".ubj", ".txt", ".cbm"}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An artifact with a file of each format, never changed."""
    folder = make_artifact(tmp_path_factory.mktemp("made"), CANDIDATES)
    assert {path.suffix for path in folder.rglob("*") if path.is_file()} == FORMATS
    load(folder)
    return folder


@pytest.fixture
def copy(made: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(made, tmp_path / "artifact"))


def files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


def test_one_flipped_bit_in_any_file_is_found(copy: Path) -> None:
    for path in files(copy):
        whole = path.read_bytes()
        for place in {0, len(whole) // 2, len(whole) - 1}:
            changed = bytearray(whole)
            changed[place] ^= 1
            path.write_bytes(changed)
            with pytest.raises(ArtifactError, match=r"changed after it was saved|not readable as a manifest"):
                load(copy)
        path.write_bytes(whole)
    load(copy)


def test_one_flipped_bit_anywhere_in_the_manifest_is_found_or_changes_nothing(made: Path, copy: Path) -> None:
    path = copy / MANIFEST
    whole, manifest = path.read_bytes(), read_manifest(made)
    num_found = 0
    for place in range(0, len(whole), 61):
        changed = bytearray(whole)
        changed[place] ^= 1
        path.write_bytes(changed)
        try:  # the last digit of a number may be one that makes no difference
            assert read_manifest(copy) == manifest
        except ArtifactError:
            num_found += 1
    assert num_found > 0.9 * len(whole) / 61


class Payload:
    """Makes a file when it is unpickled."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self.mark),)


class Eager:
    """Makes a file when its state is given back to it, as skops does with the types that it is told to trust."""

    def __init__(self, mark: Path) -> None:
        self.mark = str(mark)

    def __getstate__(self) -> dict[str, str]:
        return {"mark": self.mark}

    def __setstate__(self, state: dict[str, str]) -> None:
        os.mkdir(state["mark"])


def _pickle(mark: Path) -> bytes:
    return pickle.dumps(Payload(mark))


def _torch(mark: Path) -> bytes:
    file = io.BytesIO()
    torch.save({"weight": Payload(mark)}, file)
    return file.getvalue()


def _numpy(mark: Path) -> bytes:
    file = io.BytesIO()
    np.savez(
        file, **dict.fromkeys(("columns", "means", "nodes", "values", "x"), np.array([Payload(mark)], dtype=object))
    )
    return file.getvalue()


def _skops(mark: Path) -> bytes:
    return skops.io.dumps({"estimator": Eager(mark), "scaler": None})


def _skops_with_a_pickle(mark: Path) -> bytes:
    file = io.BytesIO(skops.io.dumps({"estimator": np.zeros(3), "scaler": None}))
    with zipfile.ZipFile(file, "a") as archive:
        (array,) = (name for name in archive.namelist() if name.endswith(".npy"))
    whole = io.BytesIO()
    with zipfile.ZipFile(file) as before, zipfile.ZipFile(whole, "w") as after:
        for name in before.namelist():
            content = before.read(name)
            if name == array:
                objects = io.BytesIO()
                np.save(objects, np.array([Payload(mark)], dtype=object))
                content = objects.getvalue()
            after.writestr(name, content)
    return whole.getvalue()


PAYLOADS = {
    ".json": (_pickle,),
    ".npz": (_pickle, _numpy),
    ".skops": (_pickle, _skops, _skops_with_a_pickle),
    ".safetensors": (_pickle, _torch),
    ".ubj": (_pickle,),
    ".txt": (_pickle,),
    ".cbm": (_pickle,),
}
SMUGGLED = [(suffix, make) for suffix, makes in PAYLOADS.items() for make in makes]


@pytest.mark.parametrize(
    ("suffix", "make"), SMUGGLED, ids=[f"{suffix[1:]}{make.__name__}" for suffix, make in SMUGGLED]
)
def test_a_pickle_in_place_of_a_file_is_never_run(copy: Path, tmp_path: Path, suffix: str, make: Any) -> None:
    mark = tmp_path / "mark"
    for path in files(copy / "nodes"):
        if path.suffix != suffix or path.name == "stats.json":  # times, which loading does not look at
            continue
        whole = path.read_bytes()
        path.write_bytes(make(mark))
        _sign(copy)
        with pytest.raises(ArtifactError):
            load(copy)
        assert not mark.exists()
        path.write_bytes(whole)


UNGUARDED = [
    (_pickle, pickle.loads),
    (_torch, lambda content: torch.load(io.BytesIO(content), weights_only=False)),
    (_numpy, lambda content: np.load(io.BytesIO(content), allow_pickle=True)["x"]),
    (_skops, lambda content: skops.io.loads(content, trusted=skops.io.get_untrusted_types(data=content))),
]


@pytest.mark.parametrize(("make", "read"), UNGUARDED, ids=[make.__name__ for make, _ in UNGUARDED])
def test_these_payloads_run_where_nobody_is_on_guard(tmp_path: Path, make: Any, read: Any) -> None:
    read(make(tmp_path / "mark"))
    assert (tmp_path / "mark").exists()


def _sign(folder: Path) -> None:
    """What whoever can write the artifact can do as well: a manifest that fits the files."""
    value = json.loads((folder / MANIFEST).read_text())
    del value["sha256"]
    value["files"] = files_under(folder)
    (folder / MANIFEST).write_text(json.dumps(value | {"sha256": seal(value)}))
