"""One rank's part of a transformer that several devices compute together (tensor parallelism).

PyTorch's own plan: queries, keys, values, gate and up are cut by outputs (whole heads), what closes a
block by inputs, so a block needs two sums over ranks. Weights are DTensors; products are made of their
parts here, because the dispatch of DTensors in inference mode takes the host longer than most products
take the device. Embedding and norms are on every rank. So is the
output head, of which a rank computes its part of the ids that are asked for; all ranks then have all
logits, bit by bit the same, and choose the same tokens. Any number of ranks that divides the heads.

Every rank makes the same passes in the same order. Knows no checkpoint and no process group's start.
"""

from collections.abc import Mapping
from dataclasses import replace

import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.tensor import DTensor, Shard
from torch.distributed.tensor.parallel import ColwiseParallel, RowwiseParallel, parallelize_module
from torch.nn import functional as F

from emu_planner.model.blank import blank
from emu_planner.model.shared import Reduce, is_cut_by_inputs, local
from emu_planner.model.tensor_io import Part
from emu_planner.model.transformer import Layer, Transformer, TransformerConfig

# its name changed with torch 2.13
_gather = getattr(dist, "all_gather_single", None) or dist.all_gather_into_tensor


class _Sum:
    """Tensors to their sums over ranks, in the same memory. Knows no model, so none is kept by it."""

    def __init__(self, group: dist.ProcessGroup) -> None:
        self.group = group

    def __call__(self, part: Tensor) -> Tensor:
        dist.all_reduce(part, group=self.group)
        return part


class CutLinear(nn.Linear):
    """A linear layer whose weight is cut: this rank's part of the product, or of what it sums."""

    reduce: Reduce | None

    def forward(self, x: Tensor) -> Tensor:
        """[..., inputs here] -> [..., outputs here]."""
        made = F.linear(x, local(self.weight))
        return made if self.reduce is None else self.reduce(made)


class ParallelTransformer(Transformer):
    """A Transformer of which this rank has a part; `config` is the size of that part.

    Args:
        config: of the whole.
        mesh: the ranks, one dimension.

    Raises:
        ValueError: so many ranks cannot share it.
    """

    def __init__(self, config: TransformerConfig, mesh: DeviceMesh) -> None:
        check_ranks(config, mesh.size())
        super().__init__(config)
        self.ranks, self.rank = mesh.size(), mesh.get_local_rank()
        # completes a product whose inputs are spread over ranks
        self.reduce = _Sum(mesh.get_group())
        self._mesh = mesh
        self.config = replace(
            config,
            num_attention_heads=config.num_attention_heads // self.ranks,
            num_key_value_heads=config.num_key_value_heads // self.ranks,
            intermediate_size=config.intermediate_size // self.ranks,
        )
        for layer in self.model.layers:
            _cut(layer, mesh, self.config, self.reduce)

    def head(self, hidden: Tensor, rows: slice | None = None) -> Tensor:
        """See Transformer.head; each rank computes a part of the ids, and gets all logits."""
        first, stop, _ = (rows or slice(None)).indices(self.config.vocab_size)
        share = -(-(stop - first) // self.ranks)
        begin = min(first + self.rank * share, stop)
        weight = self.lm_head.weight[begin : min(begin + share, stop)]
        own = F.linear(hidden, weight)
        own = F.pad(own, (0, share - own.shape[-1])).contiguous()
        parts = own.new_empty(self.ranks * own.numel())
        _gather(parts, own.view(-1), group=self.reduce.group)
        parts = parts.view(self.ranks, *own.shape)
        return parts.movedim(0, -2).flatten(-2)[..., : stop - first].float()

    def parts(self) -> dict[str, Part]:
        """What this rank has of the tensors that are cut, by name."""
        found = {}
        for name, tensor in self.state_dict().items():
            if isinstance(tensor, DTensor):
                (placement,) = tensor.placements
                assert isinstance(placement, Shard)
                size = tensor.shape[placement.dim] // self.ranks
                found[name] = Part(placement.dim, self.rank * size, (self.rank + 1) * size)
        return found

    def as_parts(self, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """A state for load_state_dict, of tensors that hold, where they are cut, this rank's parts."""
        cut = {name: tensor for name, tensor in self.state_dict().items() if isinstance(tensor, DTensor)}
        return {
            name: DTensor.from_local(tensor, self._mesh, cut[name].placements, run_check=False)
            if name in cut
            else tensor
            for name, tensor in tensors.items()
        }


def check_ranks(config: TransformerConfig, ranks: int) -> None:
    """Raises ValueError when so many ranks cannot share a model of this size."""
    for name in ("num_attention_heads", "num_key_value_heads", "intermediate_size"):
        if getattr(config, name) % ranks:
            raise ValueError(
                f"{ranks} processes cannot share a model with {name} {getattr(config, name)}; "
                "expected a number of processes that divides it"
            )


def parallelise(model: Transformer, mesh: DeviceMesh) -> ParallelTransformer:
    """This rank's part of a whole model, copied: what is cut may then be forgotten."""
    with blank():
        made = ParallelTransformer(model.config, mesh)
    state, parts = model.state_dict(), made.parts()
    own = {name: cut(tensor, parts.get(name)) for name, tensor in state.items()}
    made.load_state_dict(made.as_parts(own), assign=True)
    return made.eval()


def cut(tensor: Tensor, part: Part | None) -> Tensor:
    """A copy of a part of a tensor; None: the tensor itself."""
    if part is None:
        return tensor
    return tensor.detach().narrow(part.dim, part.first, part.stop - part.first).contiguous().clone()


def _cut(layer: nn.Module, mesh: DeviceMesh, own: TransformerConfig, reduce: Reduce) -> None:
    """One block's plan."""
    assert isinstance(layer, Layer)
    plan = {
        **{f"self_attn.{name}_proj": ColwiseParallel() for name in "qkv"},
        "self_attn.o_proj": RowwiseParallel(),
        "mlp.gate_proj": ColwiseParallel(),
        "mlp.up_proj": ColwiseParallel(),
        "mlp.down_proj": RowwiseParallel(),
    }
    # no rank asks another for its weights
    parallelize_module(layer, mesh, plan, src_data_rank=None)
    for path in plan:
        linear = layer.get_submodule(path)
        # what the plan does around a product of DTensors
        linear._forward_pre_hooks.clear()
        linear._forward_hooks.clear()
        linear.__class__ = CutLinear
        assert isinstance(linear, CutLinear)
        linear.reduce = reduce if is_cut_by_inputs(linear.weight) else None
    layer.self_attn.heads, layer.self_attn.kv_heads = own.num_attention_heads, own.num_key_value_heads
