"""Configuration files of checkpoints, published ones and our own: read strictly, written alike.

A field that would change the arithmetic and that this package does not compute is refused in words;
fields that the published code itself ignores (`qkv_bias`, `vq_type`, dropout, token ids) are ignored.
Knows no tensor.
"""

import json
from collections.abc import Mapping
from dataclasses import MISSING, asdict, fields
from pathlib import Path
from typing import Any, TypeVar

from emu_planner.model.errors import CheckpointError
from emu_planner.model.ibq import VisionConfig
from emu_planner.model.transformer import TransformerConfig
from emu_planner.model.vocabulary import Vocabulary

_Config = TypeVar("_Config", TransformerConfig, VisionConfig)

# What the published configuration classes (model types Emu3 and UNIS) take for a field that their
# config.json leaves out. Sizes have no default here: the published ones are another model's.
_PUBLISHED_DEFAULTS = {
    "head_dim": 128,
    "rms_norm_eps": 1e-5,
    "rope_theta": 1e6,
    "max_position_embeddings": 9216,
}
# Fields of a language model that must have this value, if they are there.
_COMPUTED = {
    "hidden_act": "silu",
    "tie_word_embeddings": False,
    "use_sliding_window": False,
    "quantization_config": None,
}
# Likewise of a vision tokenizer.
_COMPUTED_VISION = {
    "double_z": False,
    "in_channels": 3,
    "out_ch": 3,
    "resamp_with_conv": True,
    "give_pre_end": False,
    "l2_normalize": False,
}
_VISION_MODEL_TYPE = "Emu3p5VisionVQ"
_RESOLUTION = 256  # px, what attn_resolutions refers to; the published value


def read_transformer_config(folder: Path) -> TransformerConfig:
    """Size of the language model from config.json.

    Raises:
        CheckpointError: no JSON, a field is missing or wrong, or asks for another arithmetic.
    """
    path = folder / "config.json"
    values = read_json(path)
    _refuse(path, values, _COMPUTED)
    rope = values.get("rope_parameters") or values.get("rope_scaling")
    if rope is not None:
        # transformers 5 keeps theta in here; any other kind than "default" is another arithmetic
        kind = rope.get("rope_type", rope.get("type")) if isinstance(rope, dict) else rope
        if kind != "default":
            raise CheckpointError(f"{path}: rope scaling {kind!r} is not supported; expected none")
        values = {"rope_theta": rope["rope_theta"], **values} if "rope_theta" in rope else values
    if str(values.get("model_type", "")).lower() != "qwen3":
        values = {**_PUBLISHED_DEFAULTS, **values}
    else:
        missing = _PUBLISHED_DEFAULTS.keys() - values.keys()
        if missing:
            raise CheckpointError(f"{path} lacks {', '.join(sorted(missing))}")
    return _build(TransformerConfig, values, path)


def write_transformer_config(config: TransformerConfig, folder: Path, dtype: str) -> None:
    """Write config.json as published; `dtype` is the tensors' ("bfloat16")."""
    values = {
        "architectures": ["Emu3ForCausalLM"],
        "model_type": "Emu3",
        **asdict(config),
        "hidden_act": "silu",
        "attention_bias": False,
        "tie_word_embeddings": False,
        "torch_dtype": dtype,
    }
    _write_json(folder / "config.json", values)


def read_vision_config(folder: Path) -> VisionConfig:
    """Size of a vision tokenizer from config.json (hub layout, our own) or config.yaml (published).

    Raises:
        CheckpointError: as above.
    """
    path = folder / "config.json"
    if path.is_file():
        values = read_json(path)
    else:
        path = folder / "config.yaml"
        values = _read_yaml(path)
    network = values.get("ddconfig") or {}
    if not isinstance(network, dict):
        raise CheckpointError(f"{path}: ddconfig is {network!r}, expected fields")
    values = {**values, **network}
    _refuse(path, values, _COMPUTED_VISION)
    if "codebook_size" in values:
        values["n_embed"] = values["codebook_size"]
    if "ch_mult" in values:
        values["ch_mult"] = tuple(values["ch_mult"])
    if "attn_resolutions" in values:
        levels = len(values.get("ch_mult", VisionConfig.ch_mult))
        deepest = values.get("resolution", _RESOLUTION) // 2 ** (levels - 1)
        if set(values["attn_resolutions"]) - {deepest}:
            raise CheckpointError(
                f"{path}: attention at resolutions {values['attn_resolutions']}; expected none or "
                f"[{deepest}], the deepest level"
            )
        values["deep_attention"] = bool(values["attn_resolutions"])
    return _build(VisionConfig, values, path)


def write_vision_config(config: VisionConfig, folder: Path) -> None:
    """Write config.json with the hub's names beside our own."""
    deepest = _RESOLUTION // 2 ** (len(config.ch_mult) - 1)
    values = {
        "model_type": _VISION_MODEL_TYPE,
        **asdict(config),
        "codebook_size": config.n_embed,
        "resolution": _RESOLUTION,
        "attn_resolutions": [deepest] if config.deep_attention else [],
        "double_z": False,
        "in_channels": 3,
        "out_ch": 3,
    }
    _write_json(folder / "config.json", values)


def is_vision_folder(folder: Path) -> bool:
    """Whether the folder describes a vision tokenizer, rather than a language model or nothing."""
    if (folder / "config.yaml").is_file():
        return True
    path = folder / "config.json"
    return path.is_file() and "num_hidden_layers" not in read_json(path)


def check_vocabulary(tokenizer: Path, folder: Path, vocab_size: int) -> None:
    """Compare tokenizer files, if there are any in `tokenizer`, with the config.json in `folder`.

    Raises:
        CheckpointError: they are damaged, or name more ids than the model has.
    """
    if not any(tokenizer.glob("*.tiktoken")):
        return
    try:
        size = Vocabulary.from_folder(tokenizer).size
    except (FileNotFoundError, ValueError) as error:
        raise CheckpointError(str(error)) from error
    if size > vocab_size:
        raise CheckpointError(
            f"the tokenizer files in {tokenizer} name {size} ids, config.json in {folder} says vocab_size "
            f"{vocab_size}; they are not of one checkpoint"
        )


def read_json(path: Path) -> dict[str, Any]:
    """The object in a JSON file. CheckpointError: there is none."""
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise CheckpointError(f"{path} is missing; is {path.parent} a checkpoint folder?") from error
    except ValueError as error:  # not JSON, or not UTF-8
        raise CheckpointError(f"{path} is not JSON: {error}; copy or download it again") from error
    if not isinstance(value, dict):
        raise CheckpointError(f"{path} holds a JSON {type(value).__name__}, expected an object")
    return value


def _read_yaml(path: Path) -> dict[str, Any]:
    import yaml

    try:
        value = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise CheckpointError(
            f"{path.parent} has neither config.json nor config.yaml; is it a vision tokenizer?"
        ) from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise CheckpointError(f"{path} is not YAML: {error}") from error
    if not isinstance(value, dict):
        raise CheckpointError(f"{path} holds a {type(value).__name__}, expected fields")
    # fields that the published file must have: the values of VisionConfig are no defaults for it
    missing = {"ddconfig", "n_embed", "embed_dim"} - value.keys()
    if missing:
        raise CheckpointError(
            f"{path} lacks {', '.join(sorted(missing))}; is it the config.yaml of the vision tokenizer?"
        )
    return value


def _write_json(path: Path, values: Mapping[str, Any]) -> None:
    path.write_text(json.dumps(values, indent=2) + "\n", encoding="utf-8")


def _refuse(path: Path, values: Mapping[str, Any], computed: Mapping[str, Any]) -> None:
    for name, value in computed.items():
        if name in values and values[name] != value:
            raise CheckpointError(
                f"{path}: {name} is {values[name]!r}, which this package does not compute; expected {value!r}"
            )


def _build(kind: type[_Config], values: Mapping[str, Any], path: Path) -> _Config:
    known = fields(kind)
    required = {field.name for field in known if field.default is MISSING}
    if missing := required - values.keys():
        raise CheckpointError(f"{path} lacks {', '.join(sorted(missing))}")
    chosen = {field.name: values[field.name] for field in known if field.name in values}
    for field in known:
        value = chosen.get(field.name, field.default)
        if field.type is int and type(value) is not int:
            raise CheckpointError(f"{path}: {field.name} is {value!r}, expected a whole number")
        if field.type is float and type(value) not in (int, float):
            raise CheckpointError(f"{path}: {field.name} is {value!r}, expected a number")
    try:
        return kind(**chosen)
    except (TypeError, ValueError) as error:
        raise CheckpointError(f"{path}: {error}") from error
