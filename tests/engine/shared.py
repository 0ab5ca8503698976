"""Random requests, alone and on a shared model, for the tests of the scheduler and its parts."""

import itertools
import random
from dataclasses import dataclass

import torch

from emu_planner.engine.batcher import Batcher
from emu_planner.engine.branches import Branches
from emu_planner.engine.cache import ContextFullError
from emu_planner.engine.grammar import Grammar
from emu_planner.engine.raster import Decoding, Token, generate
from emu_planner.engine.sampler import Sampler, Sampling
from emu_planner.engine.session import Job, Session, SharedRows
from emu_planner.engine.token_queue import TokenQueue
from emu_planner.model.text import TextTokenizer, train_bpe
from emu_planner.model.transformer import Transformer, TransformerConfig

VOCABULARY = TextTokenizer(train_bpe(["stack the red block"] * 3, 20), codes=64).vocabulary
CAPACITY = 160
FULL = ("the context is full",)


def random_model(dtype: torch.dtype = torch.float32) -> Transformer:
    """A tiny model whose answers differ widely from prompt to prompt."""
    model = Transformer(TransformerConfig(VOCABULARY.size, 64, 128, 2, 4, 2, 16, max_position_embeddings=256))
    model.initialise(0)
    for name, parameter in model.named_parameters():
        if parameter.dim() > 1:
            # images are opened now and then, as a trained model does
            parameter.data *= 3.0
        if name == "lm_head.weight":
            parameter.data[VOCABULARY.boi] *= 4.0
    return model.eval().to(dtype)


@dataclass(frozen=True)
class Ask:
    """One request, as values."""

    prompt: tuple[int, ...]
    unconditional: tuple[int, ...] | None
    imageless: tuple[int, ...] | None
    size: tuple[int, int] | None
    decoding: Decoding
    seed: int
    capacity: int = CAPACITY
    tokens: int = 80
    ends: tuple[int, ...] = (VOCABULARY.eos,)

    @property
    def rows(self) -> dict:
        """Arguments of Branches."""
        return {
            "capacity": self.capacity,
            "unconditional": self.unconditional,
            "imageless": self.imageless,
            "boi": VOCABULARY.boi,
        }

    def arguments(self) -> tuple:
        """Of generate, after the branches."""
        return Grammar(VOCABULARY, self.size), Sampler(self.seed), self.decoding, self.prompt


def random_ask(rng: random.Random, *, guided: int | None = None) -> Ask:
    """Greedy or sampled; without guidance or with one or two rows more; text or image first."""
    v = VOCABULARY
    rows = rng.choice([0, 1, 2]) if guided is None else guided
    words = [rng.randrange(200) for _ in range(rng.randrange(1, 60))]
    prompt = (v.bos, *words, v.bss, *([v.boi] if rng.random() < 0.5 else []))
    sampling = rng.choice([Sampling(top_k=1), Sampling(), Sampling(0.7, 40), Sampling(1.0, 50, 0.9)])
    return Ask(
        prompt,
        (v.bos, *words[: rng.randrange(0, 40)], v.bss) if rows else None,
        (v.bos, v.bss) if rows == 2 else None,
        rng.choice([(2, 3), (3, 4), (1, 1), None]),
        Decoding(sampling, sampling, 3.0 if rows else 1.0, 1.5),
        rng.randrange(2**32),
        capacity=rng.choice([CAPACITY, 90]),
        tokens=rng.randrange(1, 90),
    )


def alone(model: Transformer, ask: Ask) -> list[tuple]:
    """What raster.generate says to it, at the most `ask.tokens`."""
    v = VOCABULARY
    return told(generate(Branches(model, **ask.rows), *ask.arguments(), boi=v.boi, ends=ask.ends), ask)


def told(tokens, ask: Ask) -> list[tuple]:
    """Ids and phases, and at the end whether the context was full."""
    said: list[tuple] = []
    try:
        for token in itertools.islice(tokens, ask.tokens):
            said.append((token.id, token.phase))
    except ContextFullError:
        said.append(FULL)
    return said


class Reader:
    """A session in a Batcher and its reader, step by step in the test's own thread."""

    def __init__(self, batcher: Batcher, ask: Ask, stopped=lambda: False) -> None:
        self.ask, self.tokens, self.full = ask, list[Token](), False
        queue = TokenQueue(batcher.config.queue_tokens, lambda: None)
        job = Job(SharedRows(**ask.rows), *ask.arguments(), VOCABULARY.boi, ask.ends, stopped)
        self.session = Session(job, queue)
        batcher.add(self.session)

    @property
    def state(self):
        return self.session.life.state

    def read(self) -> None:
        """Take what is there; one who has enough goes."""
        queue = self.session.queue
        while queue._tokens or queue._closed:
            try:
                token = queue.take()
            except ContextFullError:
                self.full = True
                return
            if token is None:
                return
            self.tokens.append(token)
        if len(self.tokens) >= self.ask.tokens:
            self.session.abandoned = True

    def said(self) -> list[tuple]:
        """As `told`."""
        said = [(token.id, token.phase) for token in self.tokens][: self.ask.tokens]
        return said + ([FULL] if self.full and len(said) < self.ask.tokens else [])


def run_to_the_end(batcher: Batcher, readers: list[Reader]) -> None:
    """Step until no session is left, everybody reading."""
    for _ in range(5000):
        if not batcher.sessions:
            return
        batcher.step()
        for reader in readers:
            reader.read()
    raise AssertionError("sessions did not end")
