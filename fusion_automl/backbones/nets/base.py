"""What the shared loop expects of a net, where it runs, and what it says about a batch.

Shapes: B rows in a batch, K ensemble members inside one net, D embedding size, O outputs.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn

Inputs = tuple[Tensor, ...]
BULK_ROWS = 256
"""From so many rows on, nets run in bfloat16 where the hardware multiplies it: with AMX 1.7 to 2.5 times as fast. A vector of
length 1 then moves by 0.002 or less, a probability by 0.0002 on the average, and with the batch its row is in; fewer rows get
float32."""


class Net(nn.Module):
    """`embed` gives `(B, D)`, or `(B, K, D)` for an ensemble; `head` turns that into `(B, O)` or `(B, K, O)` logits or
    standardised values. A row's result in `eval` mode depends on that row alone."""

    embedding_size: int
    head: nn.Module
    evaluation_rows: int = 128
    """Rows that are run at a time where nothing is learned. Activations then stay in the cache: 1,024 took 1.4 times as long
    for images, 1.2 times for tables and texts."""

    def embed(self, *inputs: Tensor) -> Tensor:
        raise NotImplementedError

    def learn(self, *inputs: Tensor) -> tuple[Tensor, Tensor | float]:
        """The outputs for a training batch, and what is added to their loss."""
        return self(*inputs), 0.0

    def lengths(self, *inputs: Tensor) -> Tensor | None:
        """`(B,)` how long each row is, for a net whose cost grows with the longest row of the batch."""
        return None

    def forward(self, *inputs: Tensor) -> Tensor:
        outputs: Tensor = self.head(self.embed(*inputs))
        return outputs


def best_device() -> torch.device:
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def multiplies_bf16(device: torch.device) -> bool:
    """Whether the hardware has units for bfloat16 products: CUDA since Ampere, or AMX in the processor (a convolution
    net trains 2.4 times as fast with it)."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    capabilities = getattr(torch.cpu, "get_capabilities", None)  # torch 2.9 has none
    return bool(capabilities and capabilities().get("amx_bf16", False))


@contextmanager
def running(num_rows: int) -> Iterator[torch.device]:
    """The device on which to run so many rows, in the precision that they are worth."""
    device = best_device()
    bf16 = num_rows >= BULK_ROWS and multiplies_bf16(device)
    with torch.inference_mode(), torch.autocast(device.type, torch.bfloat16, enabled=bf16):
        yield device


@contextmanager
def isolated(seed: int, threads: int | None) -> Iterator[None]:
    """Seeds torch and sets its threads inside the block; the caller's random state and threads come back after it."""
    # Looking at the random state of a GPU takes memory there, and in training by several each has its own.
    devices = [torch.cuda.current_device()] if torch.cuda.is_available() else []
    with torch.random.fork_rng(devices=devices), torch_threads(threads):
        torch.manual_seed(seed)
        yield


@contextmanager
def torch_threads(threads: int | None) -> Iterator[None]:
    """Sets torch's threads inside the block; `None` leaves them as they are."""
    before = torch.get_num_threads()
    if threads is None or threads == before:
        yield
        return
    torch.set_num_threads(threads)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def batch_loss(outputs: Tensor, targets: Tensor, *, label_smoothing: float = 0.0) -> Tensor:
    """Mean cross entropy for int64 targets, mean squared error for floats; ensemble members are taught one by one,
    because a loss of their mean would make them lean on each other (Gorishniy et al., TabM, ICLR 2025)."""
    if outputs.ndim == 3:
        targets = targets.repeat_interleave(outputs.shape[1])
        outputs = outputs.flatten(0, 1)
    if targets.is_floating_point():
        return nn.functional.mse_loss(outputs[:, 0].float(), targets)
    return nn.functional.cross_entropy(outputs.float(), targets, label_smoothing=label_smoothing)


def predict(outputs: Tensor, *, is_classification: bool) -> Tensor:
    """`(B, O)` float64 probabilities or standardised values, averaged over ensemble members."""
    outputs = outputs.double()
    if is_classification:
        outputs = outputs.softmax(-1)
    return outputs.mean(1) if outputs.ndim == 3 else outputs


def holdout_loss(predictions: Tensor, targets: Tensor) -> float:
    """Log loss of `(rows, O)` probabilities, or mean squared error of values."""
    if targets.is_floating_point():
        return float(((predictions[:, 0] - targets) ** 2).mean())
    chosen = predictions.gather(1, targets[:, None])[:, 0]
    return float(-chosen.clamp_min(1e-15).log().mean())


def in_batches(net: Net, inputs: Inputs, rows: Tensor) -> tuple[Tensor, ...]:
    """`rows` of the inputs as they are run where nothing is learned.

    Those of like length are together, so that little of a batch is padding: reviews of 25 to 128 words take half the time.
    """
    lengths = net.lengths(*inputs)
    if lengths is not None:
        rows = rows[lengths[rows].argsort()]
    return torch.split(rows, net.evaluation_rows)


def rows_of(inputs: Sequence[Tensor], rows: Tensor | slice) -> Inputs:
    return tuple(values[rows] for values in inputs)
