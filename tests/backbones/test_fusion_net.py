"""What a fusion network does with the tokens of its modalities."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from fusion_automl.backbones import network
from fusion_automl.backbones.nets.base import Net, isolated
from fusion_automl.backbones.nets.fusion import (
    HOW,
    AugmentEach,
    CrossAttention,
    FusionNet,
    Gated,
    LowRankTensor,
    Product,
    alignment_loss,
    drop_modalities,
    num_heads,
)

SIZE = 8


class Trunk(Net):
    """One layer; three members inside the net where `is_ensemble`."""

    def __init__(self, num_inputs: int, *, is_ensemble: bool = False) -> None:
        super().__init__()
        self.embedding_size = 5
        self.hidden = nn.Linear(num_inputs, 5)
        self.is_ensemble = is_ensemble
        self.head = nn.Linear(5, SIZE)

    def embed(self, *inputs: Tensor) -> Tensor:
        states: Tensor = self.hidden(torch.cat(inputs, 1)).tanh()
        return torch.stack([states, 2 * states, -states], 1) if self.is_ensemble else states

    def lengths(self, *inputs: Tensor) -> Tensor | None:
        return None if self.is_ensemble else inputs[0].sum(1)


def make(how: str = "gated", *, modality_dropout: float = 0.0, alignment: float = 0.0) -> FusionNet:
    """Two trunks: an ensemble over one array of 3 columns, and a net over two arrays of 2 columns each."""
    with isolated(0, 1):
        net = FusionNet(
            [Trunk(3, is_ensemble=True), Trunk(4)],
            [1, 2],
            how=how,
            size=SIZE,
            dropout=0.0,
            modality_dropout=modality_dropout,
            alignment=alignment,
            rank=2,
            num_outputs=3,
        )
        nn.init.normal_(net.missing_MS)
    return net.eval()


def batch(rows: int = 6) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    with isolated(1, 1):
        present = torch.ones(rows, 2, dtype=torch.bool)
        return present, torch.randn(rows, 3), torch.randn(rows, 2), torch.randn(rows, 2)


def tokens(rows: int = 6, modalities: int = 2) -> Tensor:
    with isolated(2, 1):
        return torch.randn(rows, modalities, SIZE)


def test_every_way_to_fuse_has_its_module() -> None:
    assert tuple(HOW) == network.HOW


@pytest.mark.parametrize("how", HOW)
@torch.inference_mode()
def test_a_row_alone_equals_the_row_in_a_batch(how: str) -> None:
    net, inputs = make(how), batch()
    together = net.embed(*inputs)
    assert together.shape == (6, SIZE) and net(*inputs).shape == (6, 3)
    for row in range(6):
        alone = net.embed(*(array[row : row + 1] for array in inputs))
        torch.testing.assert_close(alone[0], together[row], atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("how", HOW)
def test_both_modalities_count_and_a_missing_one_does_not_whatever_stands_in_its_place(how: str) -> None:
    net, (present, numbers, left, right) = make(how), batch()
    both = net(present, numbers, left, right)
    assert not torch.allclose(net(present, numbers + 1, left, right), both, atol=1e-4)
    assert not torch.allclose(net(present, numbers, left, right + 1), both, atol=1e-4)
    missing = present.clone()
    missing[:, 1] = False
    without = net(missing, numbers, left, right)
    assert not torch.allclose(without, both, atol=1e-4)
    torch.testing.assert_close(net(missing, numbers, left * 9, right + 1), without)
    assert not torch.allclose(net(missing, numbers + 1, left, right), without, atol=1e-4)


@pytest.mark.parametrize("how", HOW)
def test_any_number_of_modalities_is_fused(how: str) -> None:
    for modalities in (2, 3, 4):
        fuse = HOW[how](modalities, SIZE, dropout=0.0, rank=2)
        assert fuse(tokens(modalities=modalities)).shape == (6, fuse.output_size)


def test_modalities_are_hidden_as_often_as_asked_but_never_all_of_a_row() -> None:
    present = torch.ones(20_000, 2, dtype=torch.bool)
    present[:10_000, 1] = False
    with isolated(0, 1):
        shown = drop_modalities(present, 0.3)
    assert not (shown & ~present).any()
    assert shown[:10_000, 0].all()
    kept = shown[10_000:]
    assert kept.any(1).all()
    # Each alone with 0.3 * 0.7, both with 0.7 ** 2 and, where none would be left, 0.3 ** 2.
    assert float(kept.all(1).float().mean()) == pytest.approx(0.58, abs=0.02)
    assert float((~kept[:, 0]).float().mean()) == pytest.approx(0.21, abs=0.02)
    assert torch.equal(drop_modalities(present, 0.0), present)


def test_a_row_without_any_modality_stays_so() -> None:
    nothing = torch.zeros(5, 2, dtype=torch.bool)
    assert torch.equal(drop_modalities(nothing, 0.5), nothing)
    _, *arrays = batch(5)
    outputs = make()(nothing, *arrays)
    torch.testing.assert_close(outputs, outputs[:1].expand(5, -1))


def test_alignment_is_one_minus_the_cosine_of_pairs_that_are_present() -> None:
    pairs = torch.tensor([[[1.0, 0.0], [2.0, 0.0]], [[1.0, 0.0], [-3.0, 0.0]], [[1.0, 0.0], [0.0, 1.0]]])
    everything = torch.ones(3, 2, dtype=torch.bool)
    assert [float(alignment_loss(pairs[row : row + 1], everything[:1])) for row in range(3)] == [0.0, 2.0, 1.0]
    assert float(alignment_loss(pairs, everything)) == pytest.approx(1.0)
    some = torch.tensor([[True, True], [True, False], [True, True]])
    assert float(alignment_loss(pairs, some)) == pytest.approx(0.5)
    assert float(alignment_loss(pairs, torch.zeros(3, 2, dtype=torch.bool))) == 0.0


def test_training_teaches_the_fused_outputs_and_each_token_by_itself() -> None:
    inputs = batch()
    outputs, added = make().learn(*inputs)
    assert outputs.shape == (6, 3, 3) and added == 0.0
    torch.testing.assert_close(outputs[:, 0], make()(*inputs))
    changed, _ = make().learn(*inputs[:-1], inputs[-1] + 1)
    torch.testing.assert_close(changed[:, 1], outputs[:, 1])  # the token of the other modality
    assert not torch.allclose(changed[:, 2], outputs[:, 2], atol=1e-4)
    with torch.inference_mode():
        _, pull = make(alignment=0.5).learn(*inputs)
        _, double = make(alignment=1.0).learn(*inputs)
    assert isinstance(pull, Tensor) and 0 < float(pull) == pytest.approx(float(double) / 2)


def test_hidden_modalities_change_training_alone() -> None:
    inputs = batch(50)
    net = make(modality_dropout=0.5)
    with isolated(0, 1):
        outputs, _ = net.learn(*inputs)
    torch.testing.assert_close(net(*inputs), make()(*inputs))
    hidden = (outputs[:, 0] - net(*inputs)).abs().amax(1) > 1e-5
    assert 0.3 < float(hidden.float().mean()) < 0.7


def test_the_members_inside_a_trunk_are_averaged() -> None:
    net, inputs = make("concat"), batch()
    trunk, norm = net.trunks[0], net.feature_norms[0]
    states = norm(trunk.embed(inputs[1]))
    expected = net.token_norms[0]((trunk.head(states[:, 0]) + trunk.head(states[:, 1]) + trunk.head(states[:, 2])) / 3)
    torch.testing.assert_close(net._tokens(inputs)[:, 0], expected, atol=1e-5, rtol=0)


def test_rows_are_as_long_as_for_the_trunk_that_has_lengths() -> None:
    inputs = batch()
    lengths = make().lengths(*inputs)
    assert lengths is not None
    torch.testing.assert_close(lengths, inputs[2].sum(1))


def test_each_trunk_has_its_own_augmentation() -> None:
    inputs = batch()
    changed = AugmentEach([None, lambda arrays: (arrays[0] + 1, arrays[1] * 2)], [1, 2])(inputs)
    for found, expected in zip(changed, (inputs[0], inputs[1], inputs[2] + 1, inputs[3] * 2), strict=True):
        torch.testing.assert_close(found, expected)


def test_gates_of_two_modalities_are_the_sigmoid_of_the_paper() -> None:
    fuse, given = Gated(2, SIZE, dropout=0.0, rank=2), tokens()
    logits = fuse.gates(given.flatten(1)).view(6, 2, SIZE)
    gate = (logits[:, 0] - logits[:, 1]).sigmoid()
    views = [view(given[:, m]).tanh() for m, view in enumerate(fuse.views)]
    torch.testing.assert_close(fuse(given), gate * views[0] + (1 - gate) * views[1], atol=1e-6, rtol=1e-5)


def test_a_token_of_zeros_changes_no_product() -> None:
    fuse, given = Product(3, SIZE, dropout=0.0, rank=2), tokens(modalities=3)
    given[:, 2] = 0
    torch.testing.assert_close(fuse(given), (1 + given[:, 0].tanh()) * (1 + given[:, 1].tanh()))


def test_the_low_rank_product_equals_the_outer_product_times_the_whole_tensor() -> None:
    fuse, given = LowRankTensor(2, SIZE, dropout=0.0, rank=3), tokens()
    longer = torch.cat([given, torch.ones(6, 2, 1)], 2)  # (B, M, S + 1)
    factors = [torch.cat([f.weight, f.bias[:, None]], 1).view(3, SIZE, SIZE + 1) for f in fuse.factors]
    tensor = torch.einsum("r,roi,roj->oij", fuse.weights_R1[:, 0], *factors)
    expected = torch.einsum("bi,bj,oij->bo", longer[:, 0], longer[:, 1], tensor) + fuse.bias
    torch.testing.assert_close(fuse(given), expected, atol=1e-5, rtol=0)


def test_a_token_looks_at_the_others_and_may_look_at_nothing() -> None:
    fuse, given = CrossAttention(3, SIZE, dropout=0.0, rank=2).eval(), tokens(modalities=3)
    _, weights = fuse.attention(given, given, given, attn_mask=fuse.itself)
    assert weights.shape == (6, 3, 4)  # the last column is the key of zeros
    assert (weights[:, [0, 1, 2], [0, 1, 2]] == 0).all()
    assert (weights[:, :, 3] > 0).all()


def test_heads_divide_the_token_size() -> None:
    assert [num_heads(size) for size in (64, 6, 7)] == [4, 2, 1]
