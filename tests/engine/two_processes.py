"""What test_together.py asks of two real processes that share a model. Run with torchrun's variables.

    python -m tests.engine.two_processes FOLDER cpu|cuda

Each check is made by both in the same order; FOLDER/RANK.json gets {check: what was wrong, or nothing}.
"""

import itertools
import json
import random
import sys
import time
import traceback
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn

from emu_planner.engine import jacobi, raster
from emu_planner.engine.branches import Branches
from emu_planner.engine.decoders import PlainDecoder
from emu_planner.engine.graphs import DeviceConfig, DeviceDecoder
from emu_planner.engine.ranks import Ranks, join
from emu_planner.engine.raster import generate
from emu_planner.engine.sampler import Sampler
from emu_planner.engine.together import Leader, Sharing, end, follow
from emu_planner.model.checkpoint import CheckpointError, load_transformer, save_transformer
from emu_planner.model.fp8 import Fp8Linear, to_fp8
from emu_planner.model.parallel import parallelise
from emu_planner.model.transformer import Transformer, TransformerConfig
from emu_planner.plan import PlanError
from tests.engine.shared import FULL, VOCABULARY, Ask, random_ask, random_model, told

V = VOCABULARY


def model_on(device: torch.device, dtype: torch.dtype | None = None) -> Transformer:
    """The same in both processes; on a GPU, whose sums have other orders, exact enough for equal tokens."""
    return random_model(dtype or (torch.float64 if device.type == "cuda" else torch.float32)).to(device)


def ids_on(device: torch.device) -> torch.Tensor:
    return torch.arange(40, device=device)[None] % V.size


def arguments_on(device: torch.device, ask: Ask) -> tuple:
    grammar, sampler, *rest = ask.arguments()
    return grammar, Sampler(sampler.seed, device), *rest


def asks(count: int, seed: int = 0) -> list[Ask]:
    rng = random.Random(seed)
    return [random_ask(rng) for _ in range(count)]


def alone(model, ask: Ask, decode=generate):
    given = arguments_on(model.lm_head.weight.device, ask)
    return told(decode(Branches(model, **ask.rows), *given, boi=V.boi), ask)


def with_decoder(decoder, ask: Ask, device: torch.device):
    branches = decoder.branches(**ask.rows)
    return told(decoder.generate(branches, *arguments_on(device, ask), boi=V.boi), ask)


@torch.inference_mode()
def parts_make_the_whole(ranks: Ranks, folder: Path) -> None:
    """Each process has half of every layer, and both have the whole model's logits, bit by bit alike."""
    model, ids = model_on(ranks.device), ids_on(ranks.device)
    part = parallelise(model, ranks.mesh)
    own = part.model.layers[0].mlp.down_proj.weight.to_local()
    assert own.shape == (64, 64)
    assert torch.equal(own, model.model.layers[0].mlp.down_proj.weight[:, 64 * ranks.rank :][:, :64])
    for rows in (None, slice(7, 30), slice(5, 6)):
        found = part.head(part.hidden(ids), rows)
        expected = model.head(model.hidden(ids), rows)
        assert found.shape == expected.shape
        assert (found - expected).abs().max() < 1e-4
        torch.save(found.cpu(), folder / f"logits-{ranks.rank}.pt")
        ranks.meet()
        assert torch.equal(torch.load(folder / f"logits-{1 - ranks.rank}.pt"), found.cpu())
        ranks.meet()


def tokens_are_those_of_one_process(ranks: Ranks, folder: Path) -> None:
    """Words and pictures, with guidance and without, by plain passes and by fewer pieces."""
    model = model_on(ranks.device)
    part = parallelise(model, ranks.mesh)
    plain, fused = PlainDecoder(part, generate), DeviceDecoder(part, DeviceConfig(fused=True))
    for number, ask in enumerate(asks(3)):
        ask, decoder = replace(ask, tokens=24 if number else 6), fused if number else plain
        assert with_decoder(decoder, ask, ranks.device) == alone(model, ask)
    q, k = (part.model.layers[1].self_attn.get_submodule(f"{name}_proj").weight.to_local() for name in "qk")
    assert q.untyped_storage().data_ptr() == k.untyped_storage().data_ptr()  # the fused pass was made


def a_part_is_read_from_a_checkpoint(ranks: Ranks, folder: Path) -> None:
    """Rows and columns of tensors straight from the file, as stored and in another dtype, and in float8."""
    device, ids = ranks.device, ids_on(ranks.device)
    model = model_on(device, torch.float32)
    if ranks.leads:
        save_transformer(model, folder / "model")
    ranks.meet()
    with torch.inference_mode():
        for dtype in (None, torch.float64):
            read = load_transformer(folder / "model", mesh=ranks.mesh, dtype=dtype, device=device)
            cut = parallelise(model.to(dtype or torch.float32), ranks.mesh)
            assert torch.equal(read(ids), cut(ids))
            assert isinstance(read.model.layers[0].mlp.up_proj, nn.Linear)
        model = model_on(device, torch.float32)
        read = load_transformer(folder / "model", mesh=ranks.mesh, fp8=True, device=device)
        assert type(read.model.layers[0].mlp.down_proj) is Fp8Linear
        assert read.model.layers[0].mlp.down_proj.weight.shape == (64, 64)
        whole = load_transformer(folder / "model", fp8=True, device=device)
        expected = model(ids)
        assert 0 < (read(ids) - expected).norm() < 1.2 * (whole(ids) - expected).norm()


def float8_parts_have_a_fused_pass(ranks: Ranks, folder: Path) -> None:
    """The first tokens are those of float8's plain passes over the same parts."""
    part = parallelise(model_on(ranks.device, torch.float32), ranks.mesh)
    to_fp8(part)
    for ask in asks(2, seed=3):
        ask = replace(ask, tokens=3)
        decoder = DeviceDecoder(part, DeviceConfig(fused=True))
        assert with_decoder(decoder, ask, ranks.device) == alone(part, ask)


def rows_of_guidance_are_spread(ranks: Ranks, folder: Path) -> None:
    """One, two and three rows over two processes: raster's and jacobi's tokens, full contexts too."""
    model, rows, full = model_on(ranks.device), set(), 0
    for decode, ask in itertools.product((generate, jacobi.generate), asks(5, seed=1)):
        decoder = Sharing(ranks, "guidance").decoder(model, decode, graphs=False)
        decoder = getattr(decoder, "_decoder", decoder)  # without one who leads
        found = with_decoder(decoder, ask, ranks.device)
        assert found == alone(model, ask, decode)
        rows.add(1 + (ask.unconditional is not None) + (ask.imageless is not None))
        full += found[-1] == FULL
    assert rows == {1, 2, 3}
    assert full


def the_first_is_asked_and_the_other_follows(ranks: Ranks, folder: Path) -> None:
    """Whole answers, answers whose reader goes away anywhere, one that is stopped, and one too many."""
    device, todo = ranks.device, asks(2, seed=2)
    model = model_on(device)
    # split attention is not exact enough for equal tokens
    graphs = device.type == "cpu"
    decoder = Sharing(ranks).decoder(parallelise(model, ranks.mesh), raster.generate, graphs=graphs)
    if not ranks.leads:
        assert follow(decoder, ranks) == len(todo) + 5
        return
    for ask in (replace(ask, tokens=9) for ask in todo):
        assert with_decoder(decoder, ask, device) == alone(model, ask)
    ask = replace(todo[0], tokens=80, ends=())
    expected = [token for token, _ in alone(model, ask)]
    for count in (1, 4, 9):
        with closing(tokens_of(decoder, ask, device)) as tokens:
            assert [token.id for token in itertools.islice(tokens, count)] == expected[:count]
    heard = iter([False, False, True])
    stopped = tokens_of(decoder, ask, device, stopped=lambda: next(heard))
    assert len(list(stopped)) < 20
    tokens = tokens_of(decoder, ask, device)
    next(tokens)
    with pytest.raises(PlanError, match="one answer at a time"):
        next(tokens_of(decoder, ask, device))
    tokens.close()
    end(ranks)


def rows_that_are_asked_for_and_left_change_nothing(ranks: Ranks, folder: Path) -> None:
    """The others hear of rows when an answer begins: they have memory and passes like the first's."""
    device, ask = ranks.device, replace(asks(6, seed=2)[5], tokens=30)
    model = model_on(device)
    decoder = Sharing(ranks).decoder(parallelise(model, ranks.mesh), generate, graphs=device.type == "cpu")
    if not ranks.leads:
        assert follow(decoder, ranks) == 1
        return
    left = decoder.branches(**ask.rows)
    assert with_decoder(decoder, ask, device) == alone(model, ask)
    del left
    end(ranks)


class _Poor:
    """A decoder without memory for the first answer."""

    def __init__(self, decoder) -> None:
        self._decoder, self.generate, self.poor = decoder, decoder.generate, True

    def branches(self, **rows):
        if self.poor:
            self.poor = False
            raise torch.OutOfMemoryError("no memory for rows")
        return self._decoder.branches(**rows)


def an_answer_without_memory_is_refused_by_all(ranks: Ranks, folder: Path) -> None:
    """Whichever process lacks it; the next answer is made."""
    device, ask = ranks.device, replace(asks(1, seed=2)[0], tokens=9)
    model = model_on(device)
    part = parallelise(model, ranks.mesh)
    for rank in range(ranks.size):
        own = PlainDecoder(part, generate)
        decoder = _Poor(own) if rank == ranks.rank else own
        if not ranks.leads:
            assert follow(decoder, ranks) == 2
            continue
        leader = Leader(decoder, ranks)
        with pytest.raises(PlanError, match="no memory in 1 of the 2 processes"):
            with_decoder(leader, ask, device)
        assert with_decoder(leader, ask, device) == alone(model, ask)
        end(ranks)


def a_pass_that_fails_in_the_first_alone_is_told(ranks: Ranks, folder: Path) -> None:
    """No answer comes after it, nobody waits for ever, and the others end when the first does."""
    if ranks.device.type != "cpu":
        return  # between GPUs it takes NCCL minutes to tell the others
    ask = replace(asks(1, seed=2)[0], tokens=9)
    part = parallelise(model_on(ranks.device), ranks.mesh)
    decoder = Sharing(ranks).decoder(part, generate, graphs=False)
    if not ranks.leads:
        with pytest.raises(RuntimeError, match="closed"):
            follow(decoder, ranks)
        ranks.lost.set()
        return
    tokens = tokens_of(decoder, ask, ranks.device)
    next(tokens)

    def fail(*_):
        raise torch.OutOfMemoryError("no memory for a pass")

    part.model.norm.register_forward_pre_hook(fail)
    with pytest.raises(PlanError, match="no memory for a pass.*start them again"):
        list(tokens)
    with pytest.raises(PlanError, match="start them again"):
        list(tokens_of(decoder, ask, ranks.device))
    end(ranks)


def tokens_of(decoder, ask: Ask, device: torch.device, **more):
    given = arguments_on(device, ask)
    return decoder.generate(decoder.branches(**ask.rows), *given, boi=V.boi, ends=ask.ends, **more)


def what_cannot_be_shared_is_told(ranks: Ranks, folder: Path) -> None:
    """A number of heads that two processes cannot share."""
    odd = Transformer(TransformerConfig(V.size, 48, 96, 1, 3, 3, 16))
    with pytest.raises(ValueError, match="2 processes cannot share a model with num_attention_heads 3"):
        parallelise(odd, ranks.mesh)
    if ranks.leads:
        save_transformer(odd, folder / "odd")
    ranks.meet()
    with pytest.raises(CheckpointError, match="odd.*2 processes"):
        load_transformer(folder / "odd", mesh=ranks.mesh)


CHECKS = (
    parts_make_the_whole,
    tokens_are_those_of_one_process,
    a_part_is_read_from_a_checkpoint,
    float8_parts_have_a_fused_pass,
    rows_of_guidance_are_spread,
    the_first_is_asked_and_the_other_follows,
    rows_that_are_asked_for_and_left_change_nothing,
    an_answer_without_memory_is_refused_by_all,
    what_cannot_be_shared_is_told,
    # the last: it parts them
    a_pass_that_fails_in_the_first_alone_is_told,
)


def main(folder: Path, device: str) -> None:
    torch.set_num_threads(1)
    ranks, found = join(device), {}
    for check in CHECKS:
        begun_s = time.monotonic()
        try:
            check(ranks, folder)
            print(check.__name__, round(time.monotonic() - begun_s, 2), "s", flush=True)
            found[check.__name__] = ""
        except Exception:
            found[check.__name__] = traceback.format_exc()
            break  # the other one may be anywhere
    (folder / f"{ranks.rank}.json").write_text(json.dumps(found))
    if all(not wrong for wrong in found.values()) and not ranks.lost.is_set():
        ranks.meet()
        ranks.leave()


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
