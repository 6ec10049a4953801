"""A frozen text transformer with its tokeniser: text in, a vector for each token or for each text out.

It imports torch at the top, so import it inside the function that needs it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from fusion_automl.backbones.nets.base import running
from fusion_automl.deadline import Deadline
from fusion_automl.encoders.pretrained_net import (
    Rows,
    batches_by_length,
    check_split,
    layers_of,
    load_net,
    norm_of,
    paced,
    read_checkpoint,
    reading,
    through,
    write_net,
)
from fusion_automl.errors import FitError

TOKENIZER = "tokenizer.json"
MAX_STEPS = 4096
"""Tokens in a batch, padding included; twice or half as many are slower."""


class FrozenText:
    """`max_length` cuts texts, in tokens, the special ones at both ends included."""

    def __init__(self, net: nn.Module, tokenizer: Any, max_length: int) -> None:
        config: Any = net.config
        self.net, self.tokenizer = net, tokenizer
        # Two places fewer than there are: RoBERTa counts them from 2.
        self.max_length = min(max_length, config.max_position_embeddings - 2)
        self.size: int = config.hidden_size
        self.padding: int = config.pad_token_id or 0
        tokenizer.no_padding()
        tokenizer.enable_truncation(self.max_length)

    @classmethod
    def read(cls, folder: Path, *, max_length: int) -> Self:
        """Reads a checkpoint. Raises FitError where it is not a text transformer."""
        from tokenizers import Tokenizer

        net = read_checkpoint(folder)
        config: Any = net.config
        if not all(hasattr(config, name) for name in ("max_position_embeddings", "hidden_size")):
            raise FitError(f"the checkpoint in {folder} is a {config.model_type}, not a text transformer")
        with reading(folder):
            tokenizer = Tokenizer.from_file(str(folder / TOKENIZER))
        return cls(net, tokenizer, max_length)

    def save(self, folder: Path) -> None:
        write_net(self.net, folder)
        self.tokenizer.save(str(folder / TOKENIZER))

    @classmethod
    def load(cls, folder: Path, *, max_length: int) -> Self:
        from tokenizers import Tokenizer

        return cls(load_net(folder), Tokenizer.from_file(str(folder / TOKENIZER)), max_length)

    def tokenize(self, texts: Sequence[str | None]) -> list[npt.NDArray[np.int64]]:
        """Token numbers of each text, none for a missing one."""
        present = [row for row, text in enumerate(texts) if text is not None]
        tokens = [np.empty(0, np.int64)] * len(texts)
        encoded = self.tokenizer.encode_batch([texts[row] for row in present])
        for row, encoding in zip(present, encoded, strict=True):
            tokens[row] = np.array(encoding.ids, np.int64)
        return tokens

    def run(
        self, tokens: Sequence[npt.NDArray[np.int64]], *, skip: int, deadline: Deadline, name: str
    ) -> Iterator[tuple[Rows, Tensor, Tensor]]:
        """Batches of rows with their states `(B, T, D)`, and which of the steps there are `(B, T)`.

        With `skip`, the last layers are left out. Rows without tokens are in no batch.
        """
        lengths = np.array([len(row) for row in tokens], np.int64)
        batches = batches_by_length(lengths, max_steps=MAX_STEPS)
        for rows in paced(batches, lengths, deadline=deadline, name=name):
            padded = np.full((len(rows), lengths[rows].max()), self.padding, np.int64)
            for place, row in enumerate(rows):
                padded[place, : lengths[row]] = tokens[row]
            inside = np.arange(padded.shape[1]) < lengths[rows][:, None]
            with running(len(tokens)) as device:
                inside_BT = torch.from_numpy(inside).to(device)
                states_BTD = self._states(torch.from_numpy(padded).to(device), inside_BT, skip)
            yield rows, states_BTD, inside_BT

    def _states(self, numbers_BT: Tensor, inside_BT: Tensor, skip: int) -> Tensor:
        if skip == 0:
            states: Tensor = self.net(input_ids=numbers_BT, attention_mask=inside_BT.long()).last_hidden_state
            return states
        layers = layers_of(self.net)
        embeddings: Any = self.net.embeddings
        return through(layers[: max(0, len(layers) - skip)], embeddings(input_ids=numbers_BT), inside_BT)

    def check_layers(self, skip: int) -> None:
        """Raises FitError unless the last `skip` layers over the states below them give what the whole net gives."""
        config: Any = self.net.config
        with running(1) as device:
            # Unlike tokens and some padding: with like ones no attention, however wrong, would be noticed.
            numbers_BT = (7 * torch.arange(1, 17, device=device) % config.vocab_size).view(2, 8)
            inside_BT = torch.arange(8, device=device) < torch.tensor([[8], [5]], device=device)
            numbers_BT = numbers_BT.masked_fill(~inside_BT, self.padding)

            def split() -> Tensor:
                below = self._states(numbers_BT, inside_BT, skip)
                states_BTD: Tensor = norm_of(self.net)(through(layers_of(self.net)[-skip:], below, inside_BT))
                return states_BTD

            check_split(self._states(numbers_BT, inside_BT, 0), split, inside_BT)
