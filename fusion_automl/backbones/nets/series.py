"""A convolution net over time. Shapes: B rows, C channels, T steps."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from fusion_automl.backbones.nets.base import Inputs, Net

KERNELS = (9, 19, 39)
"""Steps that the parallel filters of a block see: short, middle and long patterns."""


class Jitter:
    """Adds noise of `noise` deviations, scales each series by up to as much, and moves it by up to 5 % of its length."""

    def __init__(self, noise: float) -> None:
        self.noise = noise

    def __call__(self, batch: Inputs) -> Inputs:
        (values_BCT,) = batch
        rows, _, steps = values_BCT.shape
        margin, device = steps // 20, values_BCT.device
        moved = torch.arange(steps, device=device) + torch.randint(-margin, margin + 1, (rows, 1), device=device)
        index = moved.clamp(0, steps - 1)[:, None, :].expand_as(values_BCT)
        scale = 1 + self.noise * torch.randn(rows, 1, 1, device=device)
        return (values_BCT.gather(2, index) * scale + self.noise * torch.randn_like(values_BCT),)


class InceptionBlock(nn.Module):
    """Filters of several lengths and a pooled view side by side, behind a bottleneck, with a way round them
    (Ismail Fawaz et al., "InceptionTime", 2020)."""

    def __init__(self, channels_in: int, width: int) -> None:
        super().__init__()
        self.bottleneck = nn.Conv1d(channels_in, width, 1, bias=False)
        self.filters = nn.ModuleList(nn.Conv1d(width, width, size, padding=size // 2, bias=False) for size in KERNELS)
        self.pooled = nn.Sequential(nn.MaxPool1d(3, stride=1, padding=1), nn.Conv1d(channels_in, width, 1, bias=False))
        channels_out = width * (len(KERNELS) + 1)
        self.norm = nn.BatchNorm1d(channels_out)
        self.around = nn.Sequential(nn.Conv1d(channels_in, channels_out, 1, bias=False), nn.BatchNorm1d(channels_out))

    def forward(self, x_BCT: Tensor) -> Tensor:
        narrow = self.bottleneck(x_BCT)
        views = torch.cat([*(filters(narrow) for filters in self.filters), self.pooled(x_BCT)], 1)
        total: Tensor = self.norm(views) + self.around(x_BCT)
        return total.relu()


class ConvolutionOverTime(Net):
    """Inception blocks and the mean over time."""

    def __init__(self, *, num_channels: int, width: int, num_blocks: int, dropout: float, num_outputs: int) -> None:
        super().__init__()
        self.embedding_size = width * (len(KERNELS) + 1)
        sizes = [num_channels] + [self.embedding_size] * (num_blocks - 1)
        self.blocks = nn.Sequential(*(InceptionBlock(size, width) for size in sizes))
        self.head = nn.Sequential(nn.Dropout(dropout), nn.Linear(self.embedding_size, num_outputs))

    def embed(self, *inputs: Tensor) -> Tensor:
        features_BCT: Tensor = self.blocks(inputs[0])
        return features_BCT.float().mean(2)
