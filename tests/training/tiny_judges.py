"""Tiny random CLIP and SigLIP models, written to disk by transformers as published ones are."""

import json
from pathlib import Path

import pytest
import torch

SIDE, LENGTH = 16, 8
_WORDS = ["<pad>", "<end>", "<odd>", "put", "the", "red", "blue", "block", "in", "bowl"]


def write_judge(folder: Path, kind: str) -> torch.nn.Module:
    """A model of this kind with its words and its pictures' form; the model."""
    transformers = pytest.importorskip("transformers", reason="see requirements/dev.txt")
    from tokenizers import Tokenizer, models, pre_tokenizers, processors

    size = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
    text = {
        "vocab_size": len(_WORDS),
        "max_position_embeddings": LENGTH,
        "pad_token_id": 0,
        "eos_token_id": 1,
    }
    vision = {"image_size": SIDE, "patch_size": 8}
    torch.manual_seed(0)
    if kind == "clip":
        model = transformers.CLIPModel(
            transformers.CLIPConfig(
                text_config={**size, **text}, vision_config={**size, **vision}, projection_dim=12
            )
        )
    else:
        model = transformers.SiglipModel(
            transformers.SiglipConfig(
                text_config={**size, **text, "projection_size": 16}, vision_config={**size, **vision}
            )
        )
    model.eval().save_pretrained(folder)
    words = Tokenizer(models.WordLevel({word: index for index, word in enumerate(_WORDS)}, "<odd>"))
    words.pre_tokenizer = pre_tokenizers.Whitespace()
    words.post_processor = processors.TemplateProcessing(single="$A <end>", special_tokens=[("<end>", 1)])
    transformers.PreTrainedTokenizerFast(
        tokenizer_object=words, pad_token="<pad>", eos_token="<end>", unk_token="<odd>"
    ).save_pretrained(folder)
    prepared = {"image_mean": [0.5, 0.4, 0.3], "image_std": [0.2, 0.25, 0.3], "size": {"shortest_edge": SIDE}}
    (folder / "preprocessor_config.json").write_text(json.dumps(prepared))
    return model
