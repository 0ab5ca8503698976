"""Linear layers with weights in oneDNN's blocked layout: twice the speed for few tokens on a CPU.

Applied to a loaded model from outside; the model's maths does not know of it. Only for inference:
a packed layer has no parameters to train or save.
"""

import torch
from torch import Tensor, nn

from emu_planner.model.transformer import Transformer

# Rows of the products that the layout is chosen for; others work too.
_TUNED_ROWS = 1


class PackedLinear(nn.Module):
    """x W^T with a packed bfloat16 W."""

    def __init__(self, linear: nn.Linear) -> None:
        super().__init__()
        weight = linear.weight.detach()
        self._weight = torch.ops.mkldnn._reorder_linear_weight(weight, _TUNED_ROWS)

    def forward(self, x: Tensor) -> Tensor:
        """[..., inputs] -> [..., outputs]."""
        return torch.ops.mkldnn._linear_pointwise(x, self._weight, None, "none", [], "")


def prepack(model: Transformer) -> bool:
    """Replace the linear layers inside the transformer's blocks; False where that is not possible.

    Possible: bfloat16 on a CPU whose oneDNN multiplies it, with a torch that offers these operators
    (they are those that torch.compile's CPU freezing uses).
    """
    weight = model.lm_head.weight
    possible = (
        weight.device.type == "cpu"
        and weight.dtype == torch.bfloat16
        and torch.backends.mkldnn.is_available()
        and hasattr(torch.ops.mkldnn, "_reorder_linear_weight")
        and torch.ops.mkldnn._is_mkldnn_bf16_supported()
    )
    if not possible:
        return False
    for module in list(model.model.layers.modules()):
        for name, child in list(module.named_children()):
            if isinstance(child, nn.Linear):
                setattr(module, name, PackedLinear(child))
    return True
