"""Linear layers with weights of 8 bits (float8 e4m3), for half the bytes of bfloat16 a token.

Applied to a model from outside, or while it is read; the model's mathematics does not know of it. Every
row of a weight has a scale, and so has every row of what is multiplied by it, found as it comes: no
scale depends on who shares the pass, and nothing has to be calibrated. Embedding, norms and output head
stay as they are. Only for inference: these layers have no parameters to train or save.

Shapes: N rows of activations, I inputs, O outputs.
"""

import functools
import logging
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from emu_planner.model.shared import Reduce, is_cut_by_inputs, local, reducer
from emu_planner.model.transformer import Transformer

FLOAT8 = torch.float8_e4m3fn
# the greatest value of the type
GREATEST = torch.finfo(FLOAT8).max
# a row of zeros has this greatest value instead of 0
LEAST = 1e-12
# of a GPU that has float8 products: Ada, Hopper and newer
_CAPABILITY = (8, 9)

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Fp8Config:
    """How products are made; their values differ by rounding alone."""

    # up to this many rows, scales are applied to what a plain product gives, by whoever reads it: it is
    # faster than a product that knows scales of rows
    plain_rows: int = 64
    # rows of such a product are made up to this many: some libraries are slow with fewer; 0: not
    padded_rows: int = 0
    # sums in the tensor cores' own precision, which is less than float32
    fast_sums: bool = True

    def __post_init__(self) -> None:
        if min(self.plain_rows, self.padded_rows) < 0:
            raise ValueError(f"{self}: expected 0 or more rows")


class Fp8Linear(nn.Module):
    """x W^T with W [O, I] in float8 and a scale for each of its rows.

    Args:
        weight: float8 [O, I]; or on the meta device, to be given one.
        scale: float32 [O].
        config: how products are made.
        reduce: applied to each result, where other processes have other inputs of this layer.
    """

    weight: Tensor
    scale: Tensor

    def __init__(
        self,
        weight: Tensor,
        scale: Tensor,
        config: Fp8Config | None = None,
        reduce: Reduce | None = None,
    ) -> None:
        super().__init__()
        self.register_buffer("weight", weight)
        self.register_buffer("scale", scale)
        self.config, self.reduce = config or Fp8Config(), reduce

    def forward(self, x: Tensor) -> Tensor:
        """[..., I] -> [..., O]."""
        rows, scales = quantise(x.reshape(-1, x.shape[-1]))
        if len(rows) <= self.config.plain_rows:
            # without its scales a sum has no room in float16, and there are no such products in float64
            dtype = x.dtype if x.dtype == torch.bfloat16 else torch.float32
            made = multiply(rows, self.weight, dtype, self.config)
            made = (made * scales * self.scale).to(x.dtype)
        else:
            made = multiply_scaled(rows, scales, self.weight, self.scale, x.dtype, self.config)
        if self.reduce is not None:
            made = self.reduce(made)
        return made.view(*x.shape[:-1], len(self.weight))


def multiply(rows: Tensor, weight: Tensor, dtype: torch.dtype, config: Fp8Config) -> Tensor:
    """rows W^T [N, O] of float8 rows [N, I] and W [O, I], without their scales."""
    one, count = _one(rows.device), len(rows)
    if count < config.padded_rows:
        padded = torch.zeros(config.padded_rows, rows.shape[1], dtype=torch.uint8, device=rows.device)
        padded[:count] = rows.view(torch.uint8)
        rows = padded.view(FLOAT8)
    made = torch._scaled_mm(
        rows, weight.t(), scale_a=one, scale_b=one, out_dtype=dtype, use_fast_accum=config.fast_sums
    )
    return made[:count]


def multiply_scaled(
    rows: Tensor, scales: Tensor, weight: Tensor, scale: Tensor, dtype: torch.dtype, config: Fp8Config
) -> Tensor:
    """The same with scales [N, 1] of the rows and [O] of the weight, in one product where there is one."""
    if dtype != torch.bfloat16:  # GPUs have it for no other
        return (multiply(rows, weight, torch.float32, config) * scales * scale).to(dtype)
    return torch._scaled_mm(
        rows,
        weight.t(),
        scale_a=scales,
        scale_b=scale[None],
        out_dtype=dtype,
        use_fast_accum=config.fast_sums,
    )


def quantise(x: Tensor) -> tuple[Tensor, Tensor]:
    """Rows [N, I] as float8, and their scales [N, 1] float32: x is about rows * scales."""
    kernel = _kernel() if x.is_cuda else None
    if kernel is None:
        return quantise_plainly(x)
    with torch.cuda.device(x.device):
        return kernel(x)


def quantise_plainly(x: Tensor) -> tuple[Tensor, Tensor]:
    """The same in torch's own pieces."""
    scales = x.abs().amax(dim=-1, keepdim=True).float().clamp(min=LEAST) / GREATEST
    return (x.float() / scales).clamp(-GREATEST, GREATEST).to(FLOAT8), scales


def to_fp8(model: Transformer, config: Fp8Config | None = None) -> None:
    """Replace the linear layers inside a model's blocks, one by one: no second copy is kept.

    Layers on the meta device stay there, to be given the tensors that `convert` makes.

    Raises:
        ValueError: a layer's size cannot be multiplied in float8.
    """
    check_size(model)
    for _, module, name, child in linears(model):
        reduce = reducer(model) if is_cut_by_inputs(child.weight) else None
        setattr(module, name, _replacement(child, config, reduce))


def check_size(model: Transformer) -> None:
    """Raises ValueError when a layer's size cannot be multiplied in float8."""
    for path, _, _, child in linears(model):
        shape = local(child.weight).shape
        if any(size % 16 for size in shape):
            raise ValueError(
                f"{path} has shape {list(shape)}; float8 products need multiples of 16: "
                "use this model without fp8"
            )


def check_device(device: torch.device) -> None:
    """Raises ValueError when a device cannot multiply in float8."""
    if device.type == "cuda" and torch.cuda.get_device_capability(device) < _CAPABILITY:
        raise ValueError(
            f"{torch.cuda.get_device_name(device)} has no float8 products, which need compute capability "
            f"{'.'.join(map(str, _CAPABILITY))}; use this model without fp8"
        )


def linears(model: Transformer) -> list[tuple[str, nn.Module, str, nn.Linear]]:
    """The plain linear layers of the blocks: path, module that has it, name there, itself."""
    found = []
    for path, module in model.model.layers.named_modules(prefix="model.layers"):
        for name, child in module.named_children():
            if isinstance(child, nn.Linear):
                found.append((f"{path}.{name}", module, name, child))
    return found


@torch.no_grad()
def convert(name: str, weight: Tensor) -> dict[str, Tensor]:
    """What an Fp8Linear of a plain layer's tensor `NAME.weight` needs, by name."""
    rows, scales = quantise(weight)
    return {name: rows, f"{name.removesuffix('weight')}scale": scales[:, 0]}


def _replacement(linear: nn.Linear, config: Fp8Config | None, reduce: Reduce | None) -> Fp8Linear:
    weight = local(linear.weight)
    if weight.is_meta:
        scale = torch.empty(len(weight), device="meta")
        return Fp8Linear(torch.empty_like(weight, dtype=FLOAT8), scale, config, reduce)
    made = convert("weight", weight)
    return Fp8Linear(made["weight"], made["scale"], config, reduce)


@functools.cache
def _one(device: torch.device) -> Tensor:
    """The scale 1, made once: a pass that is recorded must bring nothing from the host."""
    return torch.ones((), device=device)


@functools.cache
def _kernel() -> Callable[[Tensor], tuple[Tensor, Tensor]] | None:
    """Quantisation in one piece, tried once: it is compiled on the machine; None: it cannot be had."""
    try:
        from emu_planner.model.fp8_kernel import quantise_rows

        quantise_rows(torch.ones(2, 32, device="cuda", dtype=torch.bfloat16))
        torch.cuda.synchronize()
    except Exception as error:  # no Triton, no compiler, or a card that it does not know
        _log.warning("fp8: activations are quantised in several pieces, which is slower: %s", error)
        return None
    return quantise_rows
