"""Pretrained nets: reading a checkpoint, keeping it with an artifact, and running it batch by batch.

It imports torch at the top, so import it inside the function that needs it. Shapes: B rows, T steps (tokens of a text,
patches of an image), D size of a step's vector.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from fusion_automl.backbones.nets.base import best_device, isolated
from fusion_automl.deadline import Deadline
from fusion_automl.errors import FitError, OutOfTime

Rows = npt.NDArray[np.int64]

CONFIG, WEIGHTS = "net.json", "net.safetensors"
WARM_BATCHES = 2
"""Batches that also pay for allocations and the choice of kernels, and tell nothing of the others."""


def read_checkpoint(folder: Path) -> nn.Module:
    """The frozen net of a checkpoint, with its weights rounded to float16, in which `write_net` keeps them (MiniLM's
    embeddings move by 0.0003). Raises FitError where transformers cannot read it without running code from it."""
    from transformers import AutoModel

    with reading(folder), _quiet():
        net, report = AutoModel.from_pretrained(
            folder,
            local_files_only=True,
            use_safetensors=True,
            trust_remote_code=False,
            dtype=torch.float32,
            output_loading_info=True,
        )
    lacking = sorted(name for name in report["missing_keys"] if "pooler" not in name)
    if lacking:
        raise FitError(f"the checkpoint in {folder} has no weights for {lacking[0]} and {len(lacking) - 1} others")
    with torch.no_grad():
        for weight in net.parameters():
            weight.copy_(weight.half())
            if not weight.isfinite().all():
                raise FitError(f"the checkpoint in {folder} has weights that float16 cannot hold")
    return _frozen(net)


@contextmanager
def reading(folder: Path) -> Iterator[None]:
    """Inside, whatever goes wrong is raised as FitError: the files are broken, or need code that is not here."""
    try:
        yield
    except MemoryError:
        raise
    except Exception as error:  # safetensors and tokenizers raise bare ones
        raise FitError(f"the checkpoint in {folder} cannot be read: {error}") from error


def write_net(net: nn.Module, folder: Path) -> None:
    """Writes `net.json` and `net.safetensors` into an existing folder."""
    from safetensors.torch import save_file

    config: Any = net.config
    (folder / CONFIG).write_text(config.to_json_string())
    weights = {name: value.detach().cpu() for name, value in net.state_dict().items()}
    halves = {name: value.half() if value.is_floating_point() else value for name, value in weights.items()}
    save_file({name: value.contiguous() for name, value in halves.items()}, folder / WEIGHTS)


def load_net(folder: Path, *, learning: bool = False) -> nn.Module:
    """What `write_net` wrote: a class of transformers' own and weights, nothing downloaded and no code from the folder.

    Where the architecture has it, attention is torch's own: three times as fast, 1.3 to 1.7 times the whole net over reviews.
    Its backward pass is the opposite on a processor (45 ms where plain products take 10), so there `learning` is without it.
    """
    from safetensors.torch import load_file
    from transformers import AutoConfig, AutoModel

    config = AutoConfig.for_model(**json.loads((folder / CONFIG).read_text()))
    with isolated(seed=0, threads=None):  # Building draws random weights, which are replaced at once.
        slow = learning and best_device().type == "cpu"
        attention = {"attn_implementation": "eager"} if slow else {}
        net = _frozen(AutoModel.from_config(config, trust_remote_code=False, **attention))
    net.load_state_dict({name: value.float() for name, value in load_file(folder / WEIGHTS).items()})
    return net


def _frozen(net: nn.Module) -> nn.Module:
    # Most checkpoints have no weights for the pooler, which would pass on noise.
    if isinstance(getattr(net, "pooler", None), nn.Module):
        net.pooler = nn.Identity()
    return net.float().requires_grad_(False).eval().to(best_device())


@contextmanager
def _quiet() -> Iterator[None]:
    """No progress bar for the second that reading takes."""
    from transformers.utils import logging

    shown = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            logging.enable_progress_bar()


def layers_of(net: nn.Module) -> nn.ModuleList:
    """The transformer's layers, bottom first. Raises FitError for a net that is not one stack of layers."""
    config: Any = net.config
    depth = getattr(config, "num_hidden_layers", None)
    stacks = [module for module in net.modules() if isinstance(module, nn.ModuleList) and len(module) == depth]
    if len(stacks) != 1:
        raise FitError(f"a {config.model_type} is not one stack of layers, so its last ones cannot be tuned alone")
    return stacks[0]


def norm_of(net: nn.Module) -> nn.Module:
    """What follows the last layer: a normalisation in image transformers, nothing in BERT's family."""
    norm = getattr(net, "layernorm", None)
    return norm if isinstance(norm, nn.Module) else nn.Identity()


def check_split(whole: Tensor, split: Callable[[], Tensor], compared: Tensor | slice = slice(None)) -> None:
    """Raises FitError unless `split`, which runs the layers one by one, gives what the whole net gave where it is compared."""
    problem = "the last layers of this architecture cannot be run on their own, so they cannot be tuned"
    try:
        parts = split()
    except FitError:
        raise
    except Exception as error:  # every architecture has its own way to miss what its layers are usually called with
        raise FitError(f"{problem}: {error}") from error
    if whole.shape != parts.shape or not torch.allclose(whole[compared], parts[compared], atol=1e-3):
        raise FitError(problem)


def through(layers: Sequence[nn.Module] | nn.ModuleList, states_BTD: Tensor, inside_BT: Tensor | None) -> Tensor:
    """Runs layers over states; `inside_BT` says which steps there are, `None` that all are."""
    extra = {}
    if inside_BT is not None:
        # Finite, because a row without any step would otherwise be nan; within the range of float16.
        extra["attention_mask"] = torch.zeros(inside_BT.shape, device=inside_BT.device).masked_fill(~inside_BT, -3e4)[
            :, None, None
        ]
    for layer in layers:
        states = layer(states_BTD, **extra)
        states_BTD = states[0] if isinstance(states, tuple) else states
    return states_BTD


def mean_over_steps(states_BTD: Tensor, inside_BT: Tensor) -> Tensor:
    """`(B, D)` float32, zeros for a row without any step."""
    states = states_BTD.float().masked_fill(~inside_BT[:, :, None], 0.0)
    return states.sum(1) / inside_BT.sum(1, keepdim=True).clamp_min(1)


def batches_by_length(lengths: Rows, *, max_steps: int) -> list[Rows]:
    """Rows of similar length, the longest first, `max_steps` a batch with their padding; rows without steps are in none."""
    order = np.argsort(-lengths, kind="stable")[: int((lengths > 0).sum())]
    batches = []
    start = 0
    while start < len(order):
        size = max(1, max_steps // int(lengths[order[start]]))
        batches.append(order[start : start + size])
        start += size
    return batches


def paced(batches: Sequence[Rows], costs: npt.NDArray[Any], *, deadline: Deadline, name: str) -> Iterator[Rows]:
    """The batches, as long as there is time. `costs` has an entry a row.

    Raises OutOfTime when the deadline has passed, and already when the batches so far tell that the rest will not fit.
    """
    cost_left = float(sum(costs[batch].sum() for batch in batches))
    cost_done, started = 0.0, time.monotonic()
    for index, batch in enumerate(batches):
        if index == WARM_BATCHES:
            cost_done, started = 0.0, time.monotonic()
        left = deadline.seconds_left()
        expected = (time.monotonic() - started) / cost_done * cost_left if index > 2 * WARM_BATCHES else 0.0
        if left <= 0 or expected > 1.25 * left:
            raise OutOfTime(
                f"{name}: batch {index + 1} of {len(batches)}, {max(0.0, left):.0f} s left, {expected:.0f} s needed"
            )
        yield batch
        cost = float(costs[batch].sum())
        cost_done, cost_left = cost_done + cost, cost_left - cost
