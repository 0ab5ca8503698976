"""The adaptation to DiDA: the mask, the noise, and a toy that learns both to write and to refine."""

from collections.abc import Iterator

import numpy as np
import pytest
import torch

from emu_planner.engine import dida, raster
from emu_planner.engine.branches import Branches
from emu_planner.engine.dida import DidaConfig
from emu_planner.engine.grammar import Grammar
from emu_planner.engine.raster import Decoding, Draft
from emu_planner.engine.sampler import Sampler, Sampling
from emu_planner.model.metric_path import MetricPath, PathConfig
from emu_planner.model.prompt import image_tokens
from emu_planner.model.transformer import Transformer, TransformerConfig
from emu_planner.model.vocabulary import Vocabulary
from emu_planner.training.dida import CopyNoise, with_copies
from emu_planner.training.episodes import weighted
from emu_planner.training.language import LanguageTraining, train_language
from emu_planner.training.masks import dense_mask
from emu_planner.training.packing import PackedBatch, Sample, pack

V = Vocabulary.from_files({bytes([byte]): byte for byte in range(256)}, codes=12)
CODES = torch.randn(V.codes, 6, generator=torch.Generator().manual_seed(0))
SIZE = (2, 3)
GREEDY = Decoding(Sampling(temperature=0.0), Sampling(temperature=0.0))


def ask(seen: np.ndarray, word: str) -> list[int]:
    return [V.bos, *image_tokens(V, seen), *word.encode(), V.bss]


def answer_of(seen: np.ndarray, word: str) -> np.ndarray:
    """The toy's world: c copies the picture, m mirrors its codes; p is plain, of whatever code."""
    if word == "p":
        return np.full(SIZE, seen.sum() % V.codes)
    return seen if word == "c" else V.codes - 1 - seen


def sample_of(seen: np.ndarray, words: str) -> Sample:
    answer: list[int] = []
    for word in words:
        answer += [*b"x", *image_tokens(V, answer_of(seen, word))]
    return weighted(V, ask(seen, words[0]), [*answer, V.ess, V.eos])


def picture(rng: np.random.Generator) -> np.ndarray:
    return rng.integers(0, V.codes, SIZE)


def endless() -> Iterator[Sample]:
    rng = np.random.default_rng(0)
    while True:
        yield sample_of(picture(rng), str(rng.choice(["c", "m", "p"])))


def small_batch(*, context: int = 128) -> PackedBatch:
    rng = np.random.default_rng(5)
    samples = [sample_of(picture(rng), "cm"), sample_of(picture(rng), "m")]
    return next(pack(with_copies(samples, V, context=context), rows=1, context=context, pad=V.pad))


def tensors(batch: PackedBatch, *names: str) -> list[torch.Tensor]:
    return [torch.from_numpy(getattr(batch, name)) for name in names]


def test_copies_hold_the_answers_pictures_and_only_their_codes_count():
    batch = small_batch()
    documents, blocks, ids = batch.documents[0], batch.blocks[0], batch.ids[0]
    assert [len(set(blocks[documents == document])) - 1 for document in (0, 1)] == [2, 1]
    first, second = batch.ids[0][(documents == 0) & (blocks == 0)], (documents == 0) & (blocks == 1)
    assert first[0] == V.bos
    assert first[-1] == V.eos
    copy = ids[second]
    assert copy[0] == V.img
    assert copy[len(copy) // 2] == V.eol
    assert len(copy) == 1 + 6 + 1
    # a position counts when the token after it is a code of the copy
    counted = batch.weights[0][second]
    assert counted.tolist() == [0.5, 0.5, 0.5, 0, 0.5, 0.5, 0.5, 0]
    assert batch.targets[0][second][counted > 0].tolist() == copy[copy >= V.first_visual].tolist()
    # where the copy stands, its picture stands
    where = batch.positions[0][second]
    assert first[where].tolist() == copy.tolist()


def test_without_room_a_sample_keeps_whole_copies_only():
    sample = sample_of(picture(np.random.default_rng(0)), "cm")
    (one,) = with_copies([sample], V, context=len(sample.ids) + 15)
    assert len(one.ids) == len(sample.ids) + 8
    (none,) = with_copies([sample], V, context=len(sample.ids) + 7)
    assert none.ids.tolist() == sample.ids.tolist()


def test_the_mask_is_the_papers():
    """Written out token by token: who is clean, who is noisy, what stands before."""
    batch = small_batch()
    (mask,) = dense_mask(*tensors(batch, "documents", "blocks", "positions", "horizons"))[0]
    documents, blocks, positions = batch.documents[0], batch.blocks[0], batch.positions[0]
    for query in range(128):
        mine = blocks[query]
        begin = positions[(documents == documents[query]) & (blocks == mine)].min()
        for key in range(128):
            if documents[query] != documents[key]:
                expected = False
            elif documents[query] < 0:
                continue  # padding: only that it sees something
            elif mine == 0:  # clean: clean ones up to itself
                expected = blocks[key] == 0 and positions[key] <= positions[query]
            else:  # noisy: clean ones before its picture, and all of its own copy
                expected = blocks[key] == mine or (blocks[key] == 0 and positions[key] < begin)
            assert mask[query, key] == expected, (query, key)
    assert mask.any(dim=1).all()


def test_without_copies_the_mask_is_the_ordinary_one():
    batch = next(pack([sample_of(picture(np.random.default_rng(0)), "cm")], rows=2, context=90, pad=V.pad))
    documents, *layout = tensors(batch, "documents", "blocks", "positions", "horizons")
    inside = documents[0] >= 0
    laid_out, ordinary = dense_mask(documents, *layout)[0, 0], dense_mask(documents)[0, 0]
    assert torch.equal(laid_out[inside], ordinary[inside])


def test_noise_changes_codes_of_copies_alone_and_one_time_rules_a_copy():
    batch = small_batch()
    ids, documents, blocks = tensors(batch, "ids", "documents", "blocks")
    noise = CopyNoise(MetricPath(CODES, PathConfig()), V.first_visual)
    source = torch.Generator().manual_seed(0)
    shares: list[list[float]] = []
    copies = [(documents == d) & (blocks == b) & (ids >= V.first_visual) for d, b in ((0, 1), (0, 2), (1, 1))]
    for _ in range(300):
        read = noise(ids, documents, blocks, source)
        changed = read != ids
        assert not (changed & ~(copies[0] | copies[1] | copies[2])).any()
        assert read[changed].min() >= V.first_visual if changed.any() else True
        shares.append([float(changed[copy].float().mean()) for copy in copies])
    found = torch.tensor(shares)
    assert 0.2 < float(found.mean()) < 0.8
    # with one time a copy, its codes change together far more often than by themselves
    alone = float(found.mean())
    assert float((found == 0).float().mean()) > 3 * (1 - alone) ** 6
    assert abs(float(torch.corrcoef(found.T)[0, 1])) < 0.3


def test_the_engine_sees_what_training_shows():
    """The hidden states of a copy in training are those of the block that the decoder looks at."""
    model = Transformer(TransformerConfig(V.size, 32, 64, 2, 4, 2, 8, max_position_embeddings=128))
    model.initialise(0)
    batch = small_batch()
    ids, documents, blocks, positions, horizons = tensors(
        batch, "ids", "documents", "blocks", "positions", "horizons"
    )
    with torch.inference_mode():
        mask = dense_mask(documents, blocks, positions, horizons)
        hidden = model.hidden(ids, positions=positions, mask=mask)[0]
        for number in (1, 2):
            copy = (documents[0] == 0) & (blocks[0] == number)
            before = ids[0][(documents[0] == 0) & (blocks[0] == 0)][: int(positions[0][copy].min())].tolist()
            branches = Branches(model, capacity=100)
            branches.extend(before[:-3], image=False)
            found = branches.look_at_block(before[-3:], ids[0][copy])
            assert torch.allclose(found[0], hidden[copy], atol=1e-5)
            assert branches.length == len(before)


@pytest.fixture(scope="module")
def adapted(tmp_path_factory: pytest.TempPathFactory) -> Transformer:
    """Learns to write and to refine pictures, with the trainer of every language model."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    model = Transformer(TransformerConfig(V.size, 64, 128, 2, 4, 2, 16, max_position_embeddings=64))
    model.initialise(0)
    config = LanguageTraining(
        out=tmp_path_factory.mktemp("toy"), steps=250, context=64, rows=16, rate=1e-2, warm_up=20,
        validate_every=0,
    )  # fmt: skip
    train_language(
        config,
        model,
        with_copies(endless(), V, context=config.context),
        list(with_copies([sample_of(picture(np.random.default_rng(9)), "c")], V, context=config.context)),
        pad=V.pad,
        first_visual=V.first_visual,
        device=torch.device("cpu"),
        save=lambda model: None,
        noise=CopyNoise(MetricPath(CODES, PathConfig()), V.first_visual),
    )
    torch.set_num_threads(threads)
    return model.eval()


@pytest.mark.parametrize("steps", [0, 1, 8], ids=["raster", "dida-1", "dida-8"])
def test_the_toy_writes_and_refines_the_right_pictures(adapted, steps):
    rng = np.random.default_rng(123)  # pictures that it has not seen
    right = total = 0
    for seed in range(20):
        seen, word = picture(rng), "cm"[seed % 2]
        prompt = [*ask(seen, word), *b"x", V.boi]
        branches = Branches(adapted, capacity=64)
        more = {"boi": V.boi, "ends": (V.eos,)}
        if steps:
            more |= {"config": DidaConfig(steps=steps), "codes": CODES}
        decode = dida.generate if steps else raster.generate
        stream = decode(branches, Grammar(V, SIZE), Sampler(seed), GREEDY, prompt, **more)
        tokens = [token for token in stream if not isinstance(token, Draft)]
        # the words after the picture are right: its codes were read as they were written
        assert [token.id for token in tokens][-3:] == [V.eoi, V.ess, V.eos]
        found = [token.id - V.first_visual for token in tokens if token.id >= V.first_visual]
        right += sum(a == b for a, b in zip(found, answer_of(seen, word).flatten().tolist(), strict=True))
        total += len(found)
    assert right / total > 0.97


def plain_pictures(model: Transformer, steps: int) -> int:
    """Of 40 plain pictures drawn by chance, how many are of one code."""
    rng, hot = np.random.default_rng(7), Decoding(Sampling(), Sampling())
    plain = 0
    for seed in range(40):
        prompt = [*ask(picture(rng), "p"), *b"x", V.boi]
        stream = dida.generate(
            Branches(model, capacity=64), Grammar(V, SIZE), Sampler(seed), hot, prompt,
            boi=V.boi, ends=(V.eos,), config=DidaConfig(steps=steps), codes=CODES,
        )  # fmt: skip
        codes = {t.id for t in stream if not isinstance(t, Draft) and t.id >= V.first_visual}
        plain += len(codes) == 1
    return plain


def test_passes_make_codes_agree_that_are_each_drawn_by_chance(adapted):
    """Any code may be right, but all must be the same: one pass cannot know, sixteen can."""
    assert plain_pictures(adapted, 1) < 5
    assert plain_pictures(adapted, 16) > 20
