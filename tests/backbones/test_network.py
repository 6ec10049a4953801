"""Several backbones trained as one: from rows to predictions, through a file and back."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fusion_automl.backbones.network import HOW, FittedNetwork, Network
from fusion_automl.candidate import Spec
from fusion_automl.component import hyperparameters
from fusion_automl.data.dataset import Dataset
from fusion_automl.deadline import Deadline
from fusion_automl.errors import OutOfTime, SpaceError
from fusion_automl.fusion.network import Hybrid
from fusion_automl.store.node import Node
from tests.contracts.rows import mixed_dataset

TRUNKS = (
    Spec.of("text_cnn", word_size=16, num_filters=8, max_width=3),
    Spec.of("series_cnn", width=4, num_blocks=1),
    Spec.of("image_cnn", width=4, num_stages=2),
)
OTHER: dict[str, Any] = {
    "how": "low_rank_tensor",
    "rank": 2,
    "size": 16,
    "dropout": 0.5,
    "modality_dropout": 0.5,
    "alignment": 1.0,
    "learning_rate": 1e-4,
    "weight_decay": 10.0,
    "epochs": 1,
    "batch_size": 8,
}


def fit(network: Network, data: Dataset, *, deadline: Deadline | None = None) -> FittedNetwork:
    """Trains on the first 48 rows of 60, and holds out the rest."""
    rows = np.arange(60)
    return network.fit(
        TRUNKS, data.take(rows[:48]), data.take(rows[48:]), seed=3, deadline=deadline or Deadline.never(), threads=1
    )


@pytest.fixture(scope="module")
def data() -> Dataset:
    return mixed_dataset(rows=60)


@pytest.mark.parametrize("how", HOW)
def test_it_learns_what_sixty_easy_rows_tell(how: str, data: Dataset) -> None:
    fitted = fit(Network(how=how, size=16, epochs=15, patience=15), data)
    embedding, prediction = fitted.forward(data.frame)
    assert embedding.shape == (60, 16) and embedding.dtype == np.float32
    assert (prediction.argmax(axis=1) == data.y).mean() > 0.85


def test_a_regression_is_learned_in_the_units_of_its_target() -> None:
    data = mixed_dataset("regression", rows=60)
    data = data.with_targets(5000 + 100 * data.y)
    _, prediction = fit(Network(size=16, epochs=15, patience=15), data).forward(data.frame)
    assert np.corrcoef(prediction[:, 0], data.y)[0, 1] > 0.7
    assert prediction.mean() == pytest.approx(5000, abs=60)


def test_a_loaded_network_says_the_same(data: Dataset, tmp_path: Path) -> None:
    fitted = fit(Network(how="attention", size=8, epochs=1), data)
    fitted.save(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["config.json", "weights.safetensors"]
    loaded = FittedNetwork.load(tmp_path)
    for seen, expected in zip(loaded.forward(data.frame), fitted.forward(data.frame), strict=True):
        np.testing.assert_allclose(seen, expected, atol=1e-6)


def test_a_row_that_lacks_a_modality_does_not_depend_on_the_gap(data: Dataset) -> None:
    fitted = fit(Network(size=8, epochs=1), data)
    frame = data.frame.copy()
    frame["photo"] = None
    rows = fitted.reader.read(frame)
    assert rows[0][:, 2].sum() == 0 and rows[0][:, 1].all()
    nothing = frame.assign(title=None, review=None, left=None, right=None)
    _, prediction = fitted.forward(nothing)
    np.testing.assert_allclose(prediction, np.broadcast_to(prediction[:1], (60, 2)), atol=1e-6)


def test_every_hyperparameter_reaches_the_net_or_its_training(data: Dataset) -> None:
    assert set(OTHER) | {"patience"} == set(hyperparameters(Network))
    base = Network(size=8, epochs=2, batch_size=20)
    default = {how: fit(replace(base, how=how), data).forward(data.frame).prediction for how in ("gated", OTHER["how"])}
    for name, value in OTHER.items():
        how = OTHER["how"] if name == "rank" else "gated"
        changed = fit(replace(base, **({"how": how} | {name: value})), data).forward(data.frame)
        assert changed.prediction.shape == (60, 2)
        assert not np.allclose(changed.prediction, default[how], atol=1e-7), name


def test_a_deadline_that_has_passed_raises_out_of_time(data: Dataset) -> None:
    with pytest.raises(OutOfTime, match="deadline had passed"):
        fit(Network(), data, deadline=Deadline.after(-1))


def test_unknown_ways_to_fuse_are_refused() -> None:
    with pytest.raises(SpaceError, match=r"unknown way to fuse 'gatd'. Did you mean 'gated'\?"):
        Network(how="gatd")
    with pytest.raises(SpaceError, match=r"\[fusion.hybrid\]: unknown net 'atention'. Did you mean 'attention'\?"):
        Hybrid(net="atention")


def test_a_backbone_that_is_not_one_net_from_columns_to_output_is_refused(data: Dataset) -> None:
    with pytest.raises(SpaceError, match="text_lora cannot be trained inside a network"):
        Network().design((Spec.of("text_lora"), *TRUNKS[1:]), data)


def test_the_key_of_a_node_without_parts_is_what_it_was_before_there_were_parts() -> None:
    alone = Node("backbones", Spec.of("tabm"), "rows")
    assert alone.key == "7e6189653381f482"
    several = Node("networks", Network().spec, "rows", parts=TRUNKS)
    assert several.key != replace(several, parts=TRUNKS[:2]).key
    assert Node.from_json(several.to_json()) == several
