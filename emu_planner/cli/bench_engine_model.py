"""What benchmarks of the engine measure on: models with random weights, made where they run, and a prompt.

Weights are random, so no file is needed and no picture means anything: only times and bytes do.
"""

import itertools
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

import torch
from torch import Tensor

from emu_planner.engine.grammar import Grammar
from emu_planner.engine.raster import Decoding, Token
from emu_planner.engine.sampler import Sampler, Sampling
from emu_planner.model import fp8 as float8
from emu_planner.model.blank import blank
from emu_planner.model.checkpoint import resolve
from emu_planner.model.config_files import read_transformer_config
from emu_planner.model.shared import local
from emu_planner.model.transformer import Transformer, TransformerConfig
from emu_planner.model.vocabulary import Vocabulary, special_ids

if TYPE_CHECKING:
    from torch.distributed.device_mesh import DeviceMesh

    from emu_planner.model.parallel import ParallelTransformer

# Emu3.5's config.json
_FULL = TransformerConfig(
    vocab_size=282_926,
    hidden_size=5120,
    intermediate_size=25_600,
    num_hidden_layers=64,
    num_attention_heads=64,
    num_key_value_heads=8,
)
# visual codes: of the published model, and of any other
_FULL_CODES, _CODES = 131_072, 8192
# ids of a HIDDENxLAYERS model: nano has about as many
_IDS = 9000
# pixels of a picture's side to a token
PIXELS = 16


@dataclass(frozen=True)
class Bench:
    """What is measured on."""

    model: Transformer
    vocabulary: Vocabulary
    decoding: Decoding
    # ids of the conditional and of the unconditional prompt, up to BOI and BSS
    prompt: list[int]
    unconditional: list[int]
    # side of the picture, tokens
    side: int

    @property
    def capacity(self) -> int:
        """Tokens in a row at most."""
        return len(self.prompt) + self.side * (self.side + 1) + 16


def size_of(name: str) -> TransformerConfig:
    """The model's size by its name.

    Raises:
        ValueError: there is no such size.
    """
    if name == "full":
        return _FULL
    if name == "nano":
        return read_transformer_config(resolve(name))
    width, _, layers = name.partition("x")
    if not (width.isdigit() and layers.isdigit() and int(width) % 64 == 0 and int(width) and int(layers)):
        raise ValueError(f"--config {name}: expected full, nano or HIDDENxLAYERS, HIDDEN a multiple of 64")
    heads = int(width) // 64
    return TransformerConfig(
        vocab_size=_IDS,
        hidden_size=int(width),
        intermediate_size=4 * int(width),
        num_hidden_layers=int(layers),
        num_attention_heads=heads,
        num_key_value_heads=heads // 2 if heads % 2 == 0 else heads,
        head_dim=64,
    )


def random_model(
    config: TransformerConfig,
    device: torch.device,
    dtype: torch.dtype,
    *,
    fp8: bool = False,
    mesh: "DeviceMesh | None" = None,
) -> Transformer:
    """A model with random weights, made where it runs, tensor by tensor: the same ones in all its forms.

    Args:
        fp8: rounded to 8 bits, as load_transformer does it.
        mesh: of the processes that share it; None: the whole is here.
    """
    with blank():
        model = Transformer(config)
    names = {name: parameter.shape for name, parameter in model.named_parameters()}
    parts: dict[str, Any] = {}
    if mesh is not None:
        from emu_planner.model.parallel import ParallelTransformer

        with blank():
            model = ParallelTransformer(config, mesh)
        parts = model.parts()
    rounded = {f"{path}.weight" for path, *_ in float8.linears(model)} if fp8 else set()
    if fp8:
        float8.to_fp8(model)
    torch.manual_seed(0)
    state: dict[str, Tensor] = {}
    for name, shape in names.items():
        made = torch.empty(shape, device=device, dtype=dtype)
        made.fill_(1.0) if made.dim() == 1 else made.normal_(std=0.02)
        if name in parts:
            dim, first, stop = parts[name]
            made = made.narrow(dim, first, stop - first).clone(memory_format=torch.contiguous_format)
        state |= float8.convert(name, made) if name in rounded else {name: made}
    if mesh is not None:
        state = cast("ParallelTransformer", model).as_parts(state)
    model.load_state_dict(state, assign=True)
    return model.requires_grad_(requires_grad=False).eval()


def read_bandwidth(device: torch.device) -> float:
    """Bytes a second that the device reads from its memory, the best of some tries."""
    nbytes = 2**31 if device.type == "cuda" else 2**26
    data = torch.zeros(nbytes // 4, device=device)
    best_s = min(seconds_of(lambda: data.amax(), device) for _ in range(8))
    copy = torch.empty_like(data)
    copy_s = min(seconds_of(lambda: copy.copy_(data), device) for _ in range(8))
    return max(nbytes / best_s, 2 * nbytes / copy_s)


def bytes_a_token(bench: Bench, rows: int = 2) -> int:
    """Bytes of weights, and of keys and values, that one token of an image cannot do without here."""
    model, size = bench.model, bench.model.config
    itemsize = model.lm_head.weight.itemsize
    weights = sum(local(tensor).nbytes for tensor in model.model.layers.state_dict().values())
    head = bench.vocabulary.codes * size.hidden_size * itemsize // getattr(model, "ranks", 1)
    cell = 2 * size.num_hidden_layers * size.num_key_value_heads * size.head_dim * itemsize
    return weights + head + rows * len(bench.prompt) * cell


def prepare(model: Transformer, context: int, side: int) -> Bench:
    """A prompt of so many words, before a picture of so many tokens a side."""
    vocabulary = _vocabulary(model.config.vocab_size)
    generator = torch.Generator().manual_seed(0)
    words = torch.randint(0, 100, (context,), generator=generator).tolist()
    decoding = Decoding(Sampling(), Sampling(top_k=min(10_240, vocabulary.codes // 2)), 3.0)
    return Bench(model, vocabulary, decoding, [*words, vocabulary.boi], list(words), side)


def _vocabulary(size: int) -> Vocabulary:
    """A layout of so many ids: the published one, or one with as few words as can be."""
    codes = _FULL_CODES if size == _FULL.vocab_size else _CODES
    signs = [bytes([byte]) for byte in range(ord("!"), ord("~") + 1)]
    rest = (b"-%d" % index for index in itertools.count())
    words = range(size - codes - len(special_ids(0)))
    return Vocabulary.from_files(dict(zip(itertools.chain(signs, rest), words, strict=False)), codes)


def tokens_of(bench: Bench, branches: Any, generate: Callable[..., Any], seed: int) -> Iterator[Token]:
    """What is generated after the prompt."""
    v = bench.vocabulary
    sampler = Sampler(seed, bench.model.lm_head.weight.device)
    grammar = Grammar(v, (bench.side, bench.side))
    return generate(branches, grammar, sampler, bench.decoding, bench.prompt, boi=v.boi)


def seconds_of(act: Callable[[], Any], device: torch.device) -> float:
    """How long it takes, with what it sends to the device."""
    wait(device)
    began_s = time.perf_counter()
    act()
    wait(device)
    return time.perf_counter() - began_s


def wait(device: torch.device) -> None:
    """Until the device has done what it was sent."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def name_of(device: torch.device) -> str:
    """What a person calls the device."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu"
