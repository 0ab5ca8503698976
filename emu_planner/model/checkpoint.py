"""Checkpoint folders: where they are, how a model is read from one and written to one.

    config.json                           size of the transformer
    model.safetensors, or shards model-00001-of-0000N.safetensors + model.safetensors.index.json
    *.tiktoken, *_vision_tokens.txt       text tokenizer (emu_planner.model.text)
    vision_tokenizer/                     config.json and model.safetensors or shards
    planner.json                          how to plan with it (emu_planner.engine.planner)

Tensor names are the published ones, so a downloaded Emu3.5 loads as it is. Knows no training state.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any, TypeVar

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from emu_planner.model.ibq import VisionConfig, VisionTokenizer
from emu_planner.model.transformer import Transformer, TransformerConfig

EMBEDDED = ("nano",)
SHARD_BYTES = 4 * 2**30
_INDEX = "model.safetensors.index.json"
_ALIGNMENT = 64  # bytes, as torch allocates
_HUB_ID = re.compile(r"[\w.-]+/[\w.-]+")
_Config = TypeVar("_Config", TransformerConfig, VisionConfig)
_Module = TypeVar("_Module", bound=nn.Module)


class CheckpointError(ValueError):
    """A checkpoint is missing, incomplete or of another shape; the message says what to do."""


def resolve(name: str | Path) -> Path:
    """The folder of a checkpoint.

    Args:
        name: "nano" (shipped with this package), a folder, or a Hugging Face hub id OWNER/NAME,
            which is downloaded unless it is in the hub's cache.

    Raises:
        CheckpointError: there is no such checkpoint, or it cannot be downloaded.
    """
    folder = Path(name).expanduser()
    if str(name) in EMBEDDED:
        folder = Path(__file__).resolve().parent.parent / "weights" / str(name)
        if not (folder / "config.json").is_file():
            raise CheckpointError(
                f"the embedded checkpoint {name!r} is not in {folder}; make one with "
                "tools/train_nano.sh, or name a checkpoint folder"
            )
        return folder
    if folder.is_dir():
        return folder
    if not _HUB_ID.fullmatch(str(name)):
        raise CheckpointError(
            f"no checkpoint {str(name)!r}: neither one of {list(EMBEDDED)}, nor a folder, "
            "nor a hub id OWNER/NAME"
        )
    return _download(str(name))


def load_transformer(
    folder: Path | str, *, device: str | torch.device = "cpu", dtype: torch.dtype | None = None
) -> Transformer:
    """The language model of a checkpoint folder, ready to run.

    Args:
        folder: see the module's text.
        device: where its tensors go, one shard at a time.
        dtype: of its tensors; None: as stored.

    Raises:
        CheckpointError: a file or tensor is missing, unexpected or of the wrong shape.
    """
    folder = Path(folder)
    path = folder / "config.json"
    config = _build(TransformerConfig, _read_json(path), path)
    with torch.device("meta"):
        model = Transformer(config)
    return _load_tensors(model, folder, device, dtype)


def load_vision_tokenizer(
    folder: Path | str,
    *,
    device: str | torch.device = "cpu",
    dtype: torch.dtype | None = torch.float32,
) -> VisionTokenizer:
    """The vision tokenizer of a checkpoint folder, or of a folder that holds it alone.

    float32 by default: which code is nearest is sensitive to rounding. Errors: as above.
    """
    folder = Path(folder)
    inner = folder / "vision_tokenizer"
    folder = inner if inner.is_dir() else folder
    config = _read_vision_config(folder / "config.json")
    with torch.device("meta"):
        model = VisionTokenizer(config)
    return _load_tensors(model, folder, device, dtype)


def save_transformer(
    model: Transformer,
    folder: Path | str,
    *,
    dtype: torch.dtype | None = None,
    shard_bytes: int = SHARD_BYTES,
) -> None:
    """Write config.json and the tensors, as `dtype` if given, in files of at most `shard_bytes`."""
    config = {"architectures": ["Emu3ForCausalLM"], "model_type": "Emu3", **asdict(model.config)}
    _save(model, config, Path(folder), dtype, shard_bytes)


def save_vision_tokenizer(
    model: VisionTokenizer,
    folder: Path | str,
    *,
    dtype: torch.dtype | None = None,
    shard_bytes: int = SHARD_BYTES,
) -> None:
    """Write vision_tokenizer/ inside the checkpoint folder; arguments as of save_transformer."""
    _save(model, asdict(model.config), Path(folder) / "vision_tokenizer", dtype, shard_bytes)


def _save(
    model: nn.Module,
    config: Mapping[str, Any],
    folder: Path,
    dtype: torch.dtype | None,
    shard_bytes: int,
) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
    tensors = {
        name: tensor.detach().to("cpu", dtype).contiguous() for name, tensor in model.state_dict().items()
    }
    _save_tensors(tensors, folder, shard_bytes)


def _save_tensors(tensors: Mapping[str, Tensor], folder: Path, shard_bytes: int) -> None:
    """Fill shards in the order of the tensors; one larger than a shard gets a file of its own."""
    shards: list[dict[str, Tensor]] = [{}]
    room = shard_bytes
    for name, tensor in tensors.items():
        size = tensor.numel() * tensor.element_size()
        if size > room and shards[-1]:
            shards.append({})
            room = shard_bytes
        shards[-1][name] = tensor
        room -= size
    for old in folder.glob("model*.safetensors"):
        old.unlink()
    (folder / _INDEX).unlink(missing_ok=True)
    if len(shards) == 1:
        save_file(shards[0], folder / "model.safetensors", metadata={"format": "pt"})
        return
    weight_map = {}
    for number, shard in enumerate(shards, start=1):
        file = f"model-{number:05d}-of-{len(shards):05d}.safetensors"
        save_file(shard, folder / file, metadata={"format": "pt"})
        weight_map.update(dict.fromkeys(shard, file))
    total = sum(tensor.numel() * tensor.element_size() for tensor in tensors.values())
    index = {"metadata": {"total_size": total}, "weight_map": weight_map}
    (folder / _INDEX).write_text(json.dumps(index, indent=1) + "\n", encoding="utf-8")


def _load_tensors(
    model: _Module, folder: Path, device: str | torch.device, dtype: torch.dtype | None
) -> _Module:
    """Give a model on the meta device its tensors."""
    expected = {name: list(tensor.shape) for name, tensor in model.state_dict().items()}
    tensors: dict[str, Tensor] = {}
    for file in _tensor_files(folder):
        try:
            with safe_open(file, framework="pt", device=str(device)) as shard:
                for name in shard.keys():  # noqa: SIM118 - not a dict
                    if name.endswith("rotary_emb.inv_freq"):
                        continue  # some published files hold it; it follows from rope_theta
                    tensor = shard.get_tensor(name)
                    tensor = tensor if dtype is None else tensor.to(dtype)
                    # A file's offsets are unaligned; aligned memory gives the same rounding always.
                    tensors[name] = tensor.clone() if tensor.data_ptr() % _ALIGNMENT else tensor
        except SafetensorError as error:
            raise CheckpointError(f"{file} is damaged ({error}); copy or download it again") from error
    _check_tensors(folder, expected, {name: list(tensor.shape) for name, tensor in tensors.items()})
    model.load_state_dict(tensors, assign=True)
    return model.eval()


def _tensor_files(folder: Path) -> list[Path]:
    if (folder / _INDEX).is_file():
        weight_map = _read_json(folder / _INDEX).get("weight_map", {})
        files = [folder / name for name in sorted(set(weight_map.values()))]
    else:
        files = [folder / "model.safetensors"]
    missing = [path.name for path in files if not path.is_file()]
    if missing or not files:
        raise CheckpointError(f"{folder} lacks {', '.join(missing) or 'tensors'}; is the download complete?")
    return files


def _check_tensors(folder: Path, expected: Mapping[str, list[int]], found: Mapping[str, list[int]]) -> None:
    wrong = []
    for name in sorted(expected.keys() | found.keys()):
        if name not in found:
            wrong.append(f"{name} is missing, expected {expected[name]}")
        elif name not in expected:
            wrong.append(f"{name} {found[name]} is unexpected")
        elif expected[name] != found[name]:
            wrong.append(f"{name} has shape {found[name]}, expected {expected[name]}")
    if wrong:
        more = f"; and {len(wrong) - 5} more" if len(wrong) > 5 else ""
        raise CheckpointError(
            f"the tensors in {folder} do not fit its config.json: {'; '.join(wrong[:5])}{more}"
        )


def _read_vision_config(path: Path) -> VisionConfig:
    """Flat fields as this package writes them, or the published form with a `ddconfig`."""
    values = _read_json(path)
    if "num_hidden_layers" in values:
        raise CheckpointError(
            f"{path.parent} has no vision_tokenizer/; put one there (published apart from the language "
            "model, as BAAI/Emu3.5-VisionTokenizer)"
        )
    values = {**values, **values.get("ddconfig", {})}
    if "attn_resolutions" in values:
        deepest = values["resolution"] // 2 ** (len(values["ch_mult"]) - 1)
        values["deep_attention"] = deepest in values["attn_resolutions"]
    if "ch_mult" in values:
        values["ch_mult"] = tuple(values["ch_mult"])
    return _build(VisionConfig, values, path)


def _build(kind: type[_Config], values: Mapping[str, Any], path: Path) -> _Config:
    known = {f.name for f in fields(kind)}
    try:
        return kind(**{name: value for name, value in values.items() if name in known})
    except TypeError as error:
        raise CheckpointError(f"{path}: {error}") from error


def _read_json(path: Path) -> dict[str, Any]:
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise CheckpointError(f"{path} is missing; is {path.parent} a checkpoint folder?") from error
    except json.JSONDecodeError as error:
        raise CheckpointError(f"{path} is not JSON: {error}") from error
    if not isinstance(value, dict):
        raise CheckpointError(f"{path} holds a JSON {type(value).__name__}, expected an object")
    return value


def _download(hub_id: str) -> Path:
    try:
        from huggingface_hub import snapshot_download
    except ImportError as error:
        raise CheckpointError(
            f"{hub_id!r} is no folder here, and huggingface_hub is not installed to download it: "
            "pip install huggingface_hub, or name a folder"
        ) from error
    try:
        return Path(snapshot_download(hub_id))
    except OSError as error:
        raise CheckpointError(
            f"cannot download {hub_id!r} ({type(error).__name__}: {error}); check the name and the "
            "network, or download it elsewhere and name the folder"
        ) from error
