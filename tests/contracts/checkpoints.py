"""Tiny pretrained nets with random weights, in files as the hub gives them, so that nothing is fetched."""

from __future__ import annotations

import json
from pathlib import Path

from .rows import BAD_WORDS, GOOD_WORDS, PLAIN_WORDS

NAMES = ("text", "other text", "image", "other image")


def write_checkpoints(folder: Path) -> dict[str, str]:
    """The folder of each of `NAMES`; what is called `other` differs in its weights alone."""
    from fusion_automl.backbones.nets.base import isolated

    for seed, name in enumerate(NAMES):
        (folder / name).mkdir()
        with isolated(seed, threads=1):
            (_write_text if name.endswith("text") else _write_image)(folder / name)
    return {name: str(folder / name) for name in NAMES}


def _write_text(folder: Path) -> None:
    """A BERT of two layers that knows the words of `mixed_dataset`, and other words by their letters."""
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
    from transformers import BertConfig, BertModel

    letters = "abcdefghijklmnopqrstuvwxyz0123456789.,!?"
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", *GOOD_WORDS, *BAD_WORDS, *PLAIN_WORDS]
    words = list(dict.fromkeys([*words, *letters, *(f"##{letter}" for letter in letters)]))
    numbers = {word: number for number, word in enumerate(words)}
    tokenizer = Tokenizer(models.WordPiece(numbers, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[(word, numbers[word]) for word in ("[CLS]", "[SEP]")]
    )
    tokenizer.save(str(folder / "tokenizer.json"))
    config = BertConfig(
        vocab_size=len(words),
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=48,
        max_position_embeddings=66,
        initializer_range=0.2,
    )
    BertModel(config).save_pretrained(folder)


def _write_image(folder: Path) -> None:
    """A ViT of two layers for images of 16 x 16 in patches of 4 x 4."""
    from transformers import ViTConfig, ViTModel

    config = ViTConfig(
        image_size=16,
        patch_size=4,
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=48,
        initializer_range=0.2,
    )
    ViTModel(config).save_pretrained(folder)
    pixels = {"size": {"height": 16, "width": 16}, "image_mean": [0.5] * 3, "image_std": [0.5] * 3}
    (folder / "preprocessor_config.json").write_text(json.dumps(pixels))
