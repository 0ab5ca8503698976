"""Two real tiny models: one with the published code's golden values, one taught to write plans."""

import itertools

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from emu_planner.engine import picture
from emu_planner.engine.config import PlannerConfig
from emu_planner.engine.planner import EmuPlanner
from emu_planner.engine.sampler import Sampling
from emu_planner.model.ibq import VisionConfig, VisionTokenizer
from emu_planner.model.prompt import AnswerStep, vla_sequence
from emu_planner.model.text import TextTokenizer, train_bpe
from emu_planner.model.transformer import Transformer, TransformerConfig
from emu_planner.model.vocabulary import Vocabulary
from emu_planner.plan import Frame, Observation, Still
from tests import golden

INSTRUCTION = "stack the blocks"
SUBGOALS = ("lift red", "put it on blue")
CONFIG = PlannerConfig(
    views=("front", "side"),
    picture_width=64,
    picture_height=32,
    text=Sampling(temperature=0.0),
    image=Sampling(temperature=0.0),
    guidance_scale=1.0,
    max_subgoal_tokens=24,
)


@pytest.fixture(autouse=True, scope="session")
def _one_thread():
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def published() -> Transformer:
    """The golden language model, 282,926 ids."""
    spec = golden.values("lm_weights.json")
    model = Transformer(TransformerConfig(**spec["config"]))
    model.load_state_dict(golden.weights(spec), assign=True)
    return model.eval()


@pytest.fixture(scope="session")
def published_vocabulary() -> Vocabulary:
    """The layout of the published vocabulary; of its ranks only the signs matter here."""
    signs = [bytes([byte]) for byte in range(ord("!"), ord("~") + 1)]
    rest = (b"-%d" % index for index in itertools.count())
    ranks = {token: rank for rank, token in zip(range(151643), itertools.chain(signs, rest), strict=False)}
    return Vocabulary.from_files(ranks, 131072)


@pytest.fixture(scope="session")
def frames() -> Still:
    """What the two cameras see."""
    pixels = np.random.default_rng(0).integers(0, 256, (2, 32, 32, 3), dtype=np.uint8)
    return Still(Observation((Frame(pixels[0], "front", 5.0), Frame(pixels[1], "side", 6.0)), seq=3))


@pytest.fixture(scope="session")
def parts(frames) -> tuple[Transformer, VisionTokenizer, TextTokenizer]:
    """A checkpoint whose model knows one plan of two steps by heart."""
    tokenizer = TextTokenizer(train_bpe([INSTRUCTION, *SUBGOALS] * 3, 30), codes=32)
    torch.manual_seed(0)
    vision = VisionTokenizer(
        VisionConfig(
            ch=32, ch_mult=(1, 1), num_res_blocks=1, z_channels=32, embed_dim=8, n_embed=32, patch_size=8
        )
    ).eval()
    rgb = picture.compose(frames.observation, CONFIG.views, CONFIG.picture_width, CONFIG.picture_height)
    seen = picture.encode(vision, rgb)
    imagined = np.random.default_rng(1).integers(0, 32, (2, *seen.shape))
    steps = [AnswerStep(words, grid) for words, grid in zip(SUBGOALS, imagined, strict=True)]
    sequence = vla_sequence(tokenizer, INSTRUCTION, [seen], steps)
    config = TransformerConfig(
        tokenizer.vocabulary.size, 64, 128, 2, 4, 2, 16, rms_norm_eps=1e-5, max_position_embeddings=256
    )
    model = Transformer(config)
    model.initialise(0)
    learn(model, sequence)
    return model.eval(), vision, tokenizer


def learn(model, sequence, steps=60):
    ids = torch.from_numpy(sequence.ids.astype(np.int64))[None]
    learned = torch.from_numpy(sequence.kinds > 0)[1:]
    optimiser = torch.optim.Adam(model.parameters(), 5e-3)
    for _ in range(steps):
        loss = F.cross_entropy(model(ids)[0, :-1][learned], ids[0, 1:][learned])
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    assert loss < 0.02, "the test's model did not learn its plan"


@pytest.fixture(scope="session")
def planner(parts) -> EmuPlanner:
    return EmuPlanner(*parts, CONFIG)
