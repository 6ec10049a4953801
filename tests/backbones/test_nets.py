"""What the nets and their augmentations do to a batch."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from fusion_automl.backbones.nets.base import in_batches, isolated
from fusion_automl.backbones.nets.image import ConvolutionOverImages, ShiftAndFlip
from fusion_automl.backbones.nets.series import Jitter
from fusion_automl.backbones.nets.text import ConvolutionOverWords, RecurrentOverWords, TextNet, WordDropout
from fusion_automl.backbones.text_rnn import TextRNN
from fusion_automl.backbones.vocabulary import PADDING, UNKNOWN
from fusion_automl.errors import SpaceError

CNN: dict[str, Any] = {
    "num_words": 50,
    "word_size": 8,
    "num_filters": 6,
    "max_width": 4,
    "dropout": 0.5,
    "num_outputs": 3,
}
RNN: dict[str, Any] = {
    "num_words": 50,
    "word_size": 8,
    "cell": "lstm",
    "hidden_size": 5,
    "dropout": 0.5,
    "num_outputs": 3,
}


def text_nets() -> list[TextNet]:
    with isolated(0, 1):
        return [ConvolutionOverWords(**CNN).eval(), RecurrentOverWords(**RNN).eval()]


def test_padding_changes_nothing() -> None:
    for net in text_nets():
        text = torch.tensor([[4, 9, 7]])
        padded = torch.tensor([[4, 9, 7, PADDING, PADDING], [3, 4, 5, 6, 7]])
        torch.testing.assert_close(net(text)[0], net(padded)[0], atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("words", [[4], [4, 9]])
def test_a_batch_of_texts_shorter_than_the_widest_window_gives_what_it_gives_in_a_longer_batch(
    words: list[int],
) -> None:
    for net in text_nets():
        longer = torch.tensor([words + [PADDING] * (5 - len(words)), [3, 4, 5, 6, 7]])
        torch.testing.assert_close(net(torch.tensor([words]))[0], net(longer)[0], atol=1e-6, rtol=1e-5)


def test_the_order_of_words_matters() -> None:
    for net in text_nets():
        onward, backward = net(torch.tensor([[4, 9, 7, 12], [12, 7, 9, 4]]))
        assert not torch.allclose(onward, backward, atol=1e-4)


def test_convolution_over_words_equals_the_one_of_torch() -> None:
    net = text_nets()[0]
    assert isinstance(net, ConvolutionOverWords)
    tokens = torch.tensor([[4, 9, 7, 12, 30]])
    words = net.words(tokens)[0]
    first = net.filters.weight[:12].view(2, 6, 8)  # the two places of the windows of width 2
    bias = net.filters.bias[:12].view(2, 6)
    windows = [words[step] @ first[0].T + bias[0] + words[step + 1] @ first[1].T + bias[1] for step in range(4)]
    windows.append(words[4] @ first[0].T + bias[0])  # the last window hangs over the end
    torch.testing.assert_close(net.embed(tokens)[0, :6], torch.stack(windows).amax(0).relu(), atol=1e-5, rtol=0)


def test_word_dropout_leaves_padding_and_most_words() -> None:
    tokens = torch.full((100, 20), 7)
    tokens[:, 15:] = PADDING
    with isolated(0, 1):
        (dropped,) = WordDropout(0.25)((tokens,))
    assert (dropped[:, 15:] == PADDING).all()
    assert float((dropped[:, :15] == UNKNOWN).float().mean()) == pytest.approx(0.25, abs=0.05)


def test_rows_of_like_length_run_together_and_none_is_left_out() -> None:
    net = text_nets()[0]
    net.evaluation_rows = 3
    tokens = torch.full((7, 5), PADDING)
    for row, length in enumerate([5, 1, 4, 2, 5, 1, 3]):
        tokens[row, :length] = 7
    rows = torch.tensor([0, 1, 2, 3, 4, 6])
    assert [sorted(batch.tolist()) for batch in in_batches(net, (tokens,), rows)] == [[1, 3, 6], [0, 2, 4]]


def test_an_unknown_cell_is_refused() -> None:
    with pytest.raises(SpaceError, match=r"\[backbones.text_rnn\]: unknown cell 'lsmt'. Did you mean 'lstm'\?"):
        TextRNN(cell="lsmt")


def test_images_are_moved_and_mirrored_one_by_one() -> None:
    ramp = torch.arange(10, dtype=torch.uint8).expand(64, 2, 1, 10, 10)
    with isolated(0, 1):
        moved, present = ShiftAndFlip(shift=0.1, flip=True)((ramp, torch.ones(64, 2, dtype=torch.bool)))
    rows = {tuple(row) for row in moved[:, :, 0, 5].flatten(0, 1).tolist()}
    onward = {(0, *range(9)), tuple(range(10)), (*range(1, 10), 9)}
    assert rows == onward | {row[::-1] for row in onward}
    assert present.all()
    with isolated(0, 1):
        still, _ = ShiftAndFlip(shift=0.0, flip=False)((ramp, present))
    assert torch.equal(still, ramp)


def test_a_missing_image_gives_zeros_whatever_its_pixels_are() -> None:
    with isolated(0, 1):
        net = ConvolutionOverImages(
            num_columns=2,
            channels=3,
            means=[0.0] * 3,
            stds=[1.0] * 3,
            width=4,
            num_stages=3,
            dropout=0.0,
            num_outputs=2,
        ).eval()
    pixels = torch.full((1, 2, 3, 9, 9), 50, dtype=torch.uint8)
    embedding = net.embed(pixels, torch.tensor([[True, False]]))
    assert embedding.shape == (1, 32)
    assert (embedding[0, 16:] == 0).all() and (embedding[0, :16] != 0).any()


def test_series_are_jittered_by_the_noise_asked_for() -> None:
    series = torch.zeros(50, 3, 40)
    with isolated(0, 1):
        (noisy,) = Jitter(0.1)((series,))
    assert float(noisy.std()) == pytest.approx(0.1, rel=0.05)
    with isolated(0, 1):
        (still,) = Jitter(0.0)((series + 1,))
    assert torch.equal(still, series + 1)
