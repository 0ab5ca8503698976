"""Checkpoint folders: where they are, how a model is read from one and written to one.

    config.json                           size of the transformer
    model.safetensors, or shards model-00001-of-0000N.safetensors + model.safetensors.index.json
    *.tiktoken, *_vision_tokens.txt       text tokenizer (emu_planner.model.text)
    vision_tokenizer/                     config.json and model.safetensors or shards, or the older
                                          config.yaml and model.ckpt; or in a folder elsewhere
    planner.json                          how to plan with it (emu_planner.engine.planner)

Tensor names are the published ones, so a downloaded Emu3.5 loads as it is; so does
Xiaomi-Robotics-U0, and so do Qwen3 language models without biases and with an output head of their own.
Configuration and headers are checked against each other before a tensor is read; each tensor is then
read straight into the memory of its device. Knows no training state.
"""

import hashlib
import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, cast

import torch
from torch import Tensor, nn

from emu_planner.model import fp8 as float8
from emu_planner.model import spread, tensor_files, tensor_io
from emu_planner.model.blank import blank
from emu_planner.model.config_files import (
    check_vocabulary,
    is_vision_folder,
    read_transformer_config,
    read_vision_config,
    write_transformer_config,
    write_vision_config,
)
from emu_planner.model.errors import CheckpointError
from emu_planner.model.ibq import VisionTokenizer
from emu_planner.model.pickles import read_pickle
from emu_planner.model.tensor_files import Stored
from emu_planner.model.tensor_io import Part, Progress
from emu_planner.model.transformer import Transformer, TransformerConfig

if TYPE_CHECKING:
    from torch.distributed.device_mesh import DeviceMesh

    from emu_planner.model.parallel import ParallelTransformer

__all__ = [
    "CheckpointError",
    "Devices",
    "Progress",
    "fingerprint",
    "load_transformer",
    "load_vision_tokenizer",
    "resolve",
    "save_transformer",
    "save_vision_tokenizer",
    "stored_bytes",
    "vision_folder",
]

Device = str | torch.device
# one, or several to spread the layers over
Devices = Device | Sequence[Device]

EMBEDDED = ("nano",)
SHARD_BYTES = 4 * 2**30
VISION = "vision_tokenizer"
_HUB_ID = re.compile(r"[\w.-]+/[\w.-]+")
_PICKLE = "model.ckpt"
# enough of a tensor file to tell it from another training's, at no cost for 68 GB
_FINGERPRINT_BYTES = 64 * 2**10
# follow from rope_theta; some files hold them
_DERIVED = "rotary_emb.inv_freq"
# what training needed beside the tokenizer itself: discriminator and perceptual loss
_TRAINING_ONLY = ("loss.",)
_EMBEDDING = "model.embed_tokens.weight"


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
                "tools/train_nano.sh, or name a checkpoint folder; `emu-planner demo --oracle` needs no model"
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
    folder: Path | str,
    *,
    device: Devices = "cpu",
    dtype: torch.dtype | None = None,
    tokenizer: Path | str | None = None,
    progress: Progress | None = None,
    fp8: bool = False,
    mesh: "DeviceMesh | None" = None,
) -> Transformer:
    """The language model of a checkpoint folder, ready to run.

    Args:
        folder: see the module's text.
        device: where its tensors go; several: its layers are spread over them by their bytes
            and by the memory that is free there, and activations follow (emu_planner.model.spread).
            A CPU after GPUs takes what they have no room for.
        dtype: of its tensors; None: as stored.
        tokenizer: folder of the text tokenizer's files, with which the vocabulary must agree;
            None: the checkpoint's own, if it has them.
        progress: called with bytes read and all bytes.
        fp8: whether the layers' weights are rounded to 8 bits as they are read (emu_planner.model.fp8).
        mesh: of the processes that share the model, of which each reads its part alone
            (emu_planner.model.parallel); None: the whole is here. Needs one device.

    Raises:
        CheckpointError: a file or tensor is missing, unexpected or of the wrong shape, the
            tokenizer's files do not fit, a device has no room, or the model's size or a device does not allow
            fp8, or the size so many processes. Nothing is left in memory then.
    """
    folder, devices = Path(folder), _devices(device)
    config = read_transformer_config(folder)
    check_vocabulary(folder if tokenizer is None else Path(tokenizer), folder, config.vocab_size)
    with blank():
        model = Transformer(config)
    expected = _shapes(model)
    found = _language_tensors(folder)
    _check_embedding(folder, expected, found)
    tensor_files.check(folder, expected, found)
    parts: Mapping[str, Part] = {}
    try:
        if mesh is not None:
            model, parts = _blank_part(config, mesh)
        rounded = {f"{path}.weight" for path, *_ in float8.linears(model)} if fp8 else set()
        if fp8:
            for one in devices:
                float8.check_device(one)
            float8.to_fp8(model)
    except ValueError as error:
        raise CheckpointError(f"{folder}: {error}") from error

    def convert(name: str, tensor: Tensor) -> Mapping[str, Tensor]:
        return float8.convert(name, tensor) if name in rounded else {name: tensor}

    nbytes = {
        name: math.prod(stored.shape)
        * (1 if name in rounded else (dtype or stored.torch_dtype).itemsize)
        // (mesh.size() if mesh is not None and name in parts else 1)
        for name, stored in found.items()
    }
    places = _places(folder, nbytes, devices)
    tensors = tensor_io.read(
        found, places=places, dtype=dtype, progress=progress, parts=parts, convert=convert
    )
    if parts:
        tensors = cast("ParallelTransformer", model).as_parts(tensors)
    model.load_state_dict(tensors, assign=True)
    if len(devices) > 1:
        spread.connect(model)
    return model.eval()


def _blank_part(
    config: TransformerConfig, mesh: "DeviceMesh"
) -> "tuple[ParallelTransformer, dict[str, Part]]":
    """This process's part of a model without memory, and which parts of tensors it has."""
    # torch's parallel API takes a second to import, and a model that is whole here does not need it
    from emu_planner.model.parallel import ParallelTransformer

    with blank():
        model = ParallelTransformer(config, mesh)
    return model, model.parts()


def load_vision_tokenizer(
    folder: Path | str,
    *,
    device: Device = "cpu",
    dtype: torch.dtype | None = torch.float32,
    progress: Progress | None = None,
) -> VisionTokenizer:
    """The vision tokenizer of a checkpoint folder, or of a folder that holds it alone.

    float32 by default: which code is nearest is sensitive to rounding. Arguments and errors: as above.
    """
    folder = vision_folder(folder)
    with blank():
        model = VisionTokenizer(read_vision_config(folder))
    expected, place = _shapes(model), torch.device(device)
    if tensor_files.has_tensors(folder) or not (folder / _PICKLE).is_file():
        found = tensor_files.find(folder)
        tensor_files.check(folder, expected, found)
        tensors = tensor_io.read(found, places=dict.fromkeys(found, place), dtype=dtype, progress=progress)
    else:
        read = read_pickle(folder / _PICKLE, _TRAINING_ONLY)
        tensor_files.compare(folder, expected, {name: tensor.shape for name, tensor in read.items()})
        tensors = {name: tensor.to(place, dtype, copy=True) for name, tensor in read.items()}
    model.load_state_dict(tensors, assign=True)
    return model.eval()


def vision_folder(folder: Path | str) -> Path:
    """The folder of the vision tokenizer that belongs to a checkpoint folder, or is this one.

    Raises:
        CheckpointError: there is none; says where to get it.
    """
    folder = Path(folder)
    if (folder / VISION).is_dir():
        return folder / VISION
    if is_vision_folder(folder):
        return folder
    raise CheckpointError(
        f"{folder} has no {VISION}/. It is published apart from the language model, as "
        f"BAAI/Emu3.5-VisionTokenizer: download that and put it there as {folder / VISION}, or name "
        "its folder (emu-planner: --vision FOLDER)"
    )


def stored_bytes(folder: Path | str, *, fp8: bool = False) -> int:
    """Bytes of the language model's tensors as stored; or as rounded to 8 bits, of which scales are 0.1%.

    Errors: as of load_transformer, for files.
    """
    found = _language_tensors(Path(folder))
    if not fp8:
        return sum(stored.nbytes for stored in found.values())
    with blank():
        model = Transformer(read_transformer_config(Path(folder)))
    rounded = {f"{path}.weight" for path, *_ in float8.linears(model)}
    return sum(
        math.prod(stored.shape) if name in rounded else stored.nbytes for name, stored in found.items()
    )


def fingerprint(folder: Path | str) -> str:
    """12 hex digits that tell one checkpoint from another, cheaply.

    Covers config.json, planner.json if there is one, and of the language model's tensors all names,
    shapes and dtypes, and of each file its name, its size and its first 64 KiB. Does not cover what lies
    further inside the files, the vision tokenizer or the text tokenizer: the same digits are no proof
    that nothing was changed by hand.

    Raises:
        CheckpointError: a file is missing, damaged or cannot be read.
    """
    folder = Path(folder)
    found = tensor_files.find(folder)
    digest = hashlib.sha256()

    def add(*parts: object) -> None:
        data = repr(parts).encode()
        digest.update(len(data).to_bytes(8, "little") + data)

    for name, stored in sorted(found.items()):
        add(name, stored.dtype, stored.shape, stored.path.name)
    path = folder
    try:
        for path in sorted({stored.path for stored in found.values()}):
            with path.open("rb") as file:
                add(path.name, path.stat().st_size, file.read(_FINGERPRINT_BYTES))
        for path in (folder / "config.json", folder / "planner.json"):
            add(path.name, path.read_bytes() if path.is_file() else None)
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read: {error.strerror or error}; copy it again") from error
    return digest.hexdigest()[:12]


def save_transformer(
    model: Transformer,
    folder: Path | str,
    *,
    dtype: torch.dtype | None = None,
    shard_bytes: int = SHARD_BYTES,
) -> None:
    """Write config.json and the tensors, as `dtype` if given, in files of at most `shard_bytes`.

    The published layout, which this package reads, and transformers' Qwen3ForCausalLM too. One tensor
    at a time is copied.
    """
    folder = Path(folder)
    _save(model, folder, dtype, shard_bytes)
    stored = dtype or model.lm_head.weight.dtype
    write_transformer_config(model.config, folder, str(stored).removeprefix("torch."))


def save_vision_tokenizer(
    model: VisionTokenizer,
    folder: Path | str,
    *,
    dtype: torch.dtype | None = None,
    shard_bytes: int = SHARD_BYTES,
) -> None:
    """Write vision_tokenizer/ inside the checkpoint folder; arguments as of save_transformer."""
    folder = Path(folder) / VISION
    _save(model, folder, dtype, shard_bytes)
    write_vision_config(model.config, folder)


def _save(model: nn.Module, folder: Path, dtype: torch.dtype | None, shard_bytes: int) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    tensors = model.state_dict()

    def dtype_of(name: str) -> torch.dtype:
        return dtype or tensors[name].dtype

    def make(name: str) -> Tensor:
        return tensors[name].detach().to("cpu", dtype_of(name))

    tensor_io.write(folder, _shapes(model), dtype_of, make, shard_bytes)


def _shapes(model: nn.Module) -> dict[str, list[int]]:
    return {name: list(tensor.shape) for name, tensor in model.state_dict().items()}


def _language_tensors(folder: Path) -> dict[str, Stored]:
    found = tensor_files.find(folder)
    if any(name.startswith("backbone.") for name in found):
        raise CheckpointError(
            f"{folder} holds a FlashAR model (tensors backbone.*), which predicts two neighbours of a token; "
            "take the autoregressive checkpoint, such as XiaomiRobotics/Xiaomi-Robotics-U0"
        )
    return {name: stored for name, stored in found.items() if not name.endswith(_DERIVED)}


def _check_embedding(
    folder: Path, expected: Mapping[str, Sequence[int]], found: Mapping[str, Stored]
) -> None:
    """The commonest mistake in words of its own: files of two models in one folder."""
    if _EMBEDDING in found and found[_EMBEDDING].shape[:1] != tuple(expected[_EMBEDDING][:1]):
        raise CheckpointError(
            f"{folder}: config.json says vocab_size {expected[_EMBEDDING][0]}, the embedding "
            f"({_EMBEDDING}) has shape {list(found[_EMBEDDING].shape)}; they are not of one checkpoint"
        )


def _devices(device: Devices) -> list[torch.device]:
    several = [device] if isinstance(device, (str, torch.device)) else list(device)
    if not several:
        raise ValueError("no device; expected one or more")
    return [torch.device(one) for one in several]


def _places(
    folder: Path, nbytes: Mapping[str, int], devices: Sequence[torch.device]
) -> dict[str, torch.device]:
    """The device of each tensor. CheckpointError: one has no room for its own."""
    free = {one: spread.free_bytes(one) for one in devices}
    room = None
    if any(one.type == "cuda" for one in devices):
        room = [spread.GPU_SHARE * free[one] if one.type == "cuda" else math.inf for one in devices]
    places = spread.places(nbytes, devices, room)
    for one, bytes_free in free.items():
        needed = sum(size for name, size in nbytes.items() if places[name] == one)
        if needed > bytes_free:
            raise CheckpointError(
                f"{folder} needs {needed / 1e9:.1f} GB on {one}, where {bytes_free / 1e9:.1f} GB are free; "
                "name more devices, as cuda:0,cuda:1 or cuda:0,cpu"
            )
    return places


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
