"""A module without memory has the shapes of a real one, and making it imports no compiler."""

import subprocess
import sys

from torch import nn

from emu_planner.model.blank import blank
from emu_planner.model.ibq import VisionConfig, VisionTokenizer

CONFIG = VisionConfig(ch=32, ch_mult=(1, 2), num_res_blocks=1, z_channels=32, embed_dim=8, n_embed=16)


def test_shapes_are_those_of_a_real_module():
    with blank():
        empty = VisionTokenizer(CONFIG)
    full = VisionTokenizer(CONFIG)
    assert all(parameter.is_meta for parameter in empty.parameters())
    assert {n: p.shape for n, p in empty.named_parameters()} == {
        n: p.shape for n, p in full.named_parameters()
    }


def test_modules_made_afterwards_are_initialised():
    with blank():
        pass
    linear = nn.Linear(30, 40)
    assert not linear.weight.is_meta
    assert 0 < linear.weight.std() < 1


def test_no_compiler_is_imported():
    words = (
        "import sys; from emu_planner.model.blank import blank;"
        "from emu_planner.model.transformer import Transformer, TransformerConfig\n"
        "with blank(): Transformer(TransformerConfig(10, 16, 16, 1, 2, 1, 8))\n"
        "assert 'sympy' not in sys.modules and 'torch._dynamo' not in sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", words], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
