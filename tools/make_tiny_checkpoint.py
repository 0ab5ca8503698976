r"""Make a tiny checkpoint that knows one answer to each of the six tasks by heart, to try commands with.

    .venv/bin/python tools/make_tiny_checkpoint.py out/tiny
    .venv/bin/emu-planner generate --checkpoint out/tiny --task-type story --size "2*3" \
        --prompt "tell of two blocks"

A real model of the architecture with real files, learned in seconds on one core. Its vision
tokenizer is random: pictures are coloured noise. It says nothing of the published model.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from emu_planner.engine.parts import GlobalThought, ImageThought, Words
from emu_planner.model.checkpoint import save_transformer, save_vision_tokenizer
from emu_planner.model.ibq import VisionConfig, VisionTokenizer
from emu_planner.model.prompt import TEMPLATES, Kind, conditional_prompt, image_tokens, mark_answer
from emu_planner.model.text import TextTokenizer, train_bpe, write_folder
from emu_planner.model.transformer import Transformer, TransformerConfig

CODES = 32
# size of every picture it knows, tokens of 16 px
GRID = (2, 3)
# a picture whose codes do not depend on chance: the number of its first code
_Picture = int
Answer = Sequence[GlobalThought | Words | ImageThought | _Picture]
QUESTIONS = {
    "t2i": "draw a block",
    "x2i": "make it red",
    "howto": "how to stack two blocks",
    "story": "tell of two blocks",
    "explore": "walk around the blocks",
    "vla": "stack the blocks",
}
ANSWERS: dict[str, Answer] = {
    "t2i": [1],
    "x2i": [2],
    "howto": [
        GlobalThought("first one, then the other"),
        Words("Lift the red block."),
        ImageThought("the gripper is closed"),
        3,
        Words("Put it on the blue one."),
        4,
    ],
    "story": [GlobalThought("a short one"), Words("Two blocks met."), 5, Words("They stayed."), 6],
    "explore": [Words("A table from the left."), 7, Words("And from behind."), 8],
    "vla": [Words("lift red"), 9, Words("put it on blue"), 10],
}


def make(folder: Path, *, tasks: Sequence[str] = tuple(ANSWERS), context: int = 8192, seed: int = 0) -> None:
    """Write a checkpoint folder.

    Args:
        folder: where; made if it is not there.
        tasks: those whose answers it learns.
        context: most tokens of prompt and answer.
        seed: of its first weights.

    Raises:
        RuntimeError: it did not learn its answers.
    """
    texts = [text for task in tasks for text in _texts(task)]
    ranks = train_bpe(texts * 2, 200)
    tokenizer = TextTokenizer(ranks, CODES)
    torch.manual_seed(seed)
    vision = VisionTokenizer(
        VisionConfig(
            ch=32, ch_mult=(1, 1), num_res_blocks=1, z_channels=32, embed_dim=8, n_embed=CODES, patch_size=8
        )
    )
    config = TransformerConfig(
        tokenizer.vocabulary.size, 64, 128, 2, 4, 2, 16, rms_norm_eps=1e-5, max_position_embeddings=context
    )
    model = Transformer(config)
    model.initialise(seed)
    _learn(model, *_batch(tokenizer, tasks))
    write_folder(folder, ranks, CODES)
    save_transformer(model, folder)
    save_vision_tokenizer(vision, folder)


def grid_of(picture: _Picture) -> np.ndarray:
    """The codes [h, w] of one of its pictures."""
    height, width = GRID
    return (picture + 5 * np.arange(height * width).reshape(GRID)) % CODES


def _texts(task: str) -> list[str]:
    answers = [part.text for part in ANSWERS[task] if not isinstance(part, _Picture)]
    template = TEMPLATES[task]
    return [f"You are a helpful assistant for {task} task.{template.note} USER: ", QUESTIONS[task], *answers]


def _batch(tokenizer: TextTokenizer, tasks: Sequence[str]) -> tuple[Tensor, Tensor]:
    """Token ids [B, S], padded, and which of them are learned [B, S]."""
    v = tokenizer.vocabulary
    rows = []
    for task in tasks:
        prompt = conditional_prompt(
            tokenizer, TEMPLATES[task], QUESTIONS[task], [grid_of(0)] * (task == "x2i")
        )
        answer: list[int] = []
        for part in ANSWERS[task]:
            if isinstance(part, _Picture):
                answer += image_tokens(v, grid_of(part))
                continue
            words = tokenizer.encode_plain(part.text)
            marks = {GlobalThought: (v.bog, v.eog), ImageThought: (v.boc, v.eoc)}.get(type(part))
            answer += words if marks is None else [marks[0], *words, marks[1]]
        rows.append(mark_answer(v, prompt, [*answer, v.ess, v.eos]))
    length = max(len(row.ids) for row in rows)
    ids = torch.full((len(rows), length), v.pad)
    learned = torch.zeros(len(rows), length, dtype=torch.bool)
    for index, row in enumerate(rows):
        ids[index, : len(row.ids)] = torch.from_numpy(row.ids.astype(np.int64))
        learned[index, : len(row.ids)] = torch.from_numpy(row.kinds != Kind.PROMPT)
    return ids, learned


def _learn(model: Transformer, ids: Tensor, learned: Tensor, steps: int = 150) -> None:
    optimiser = torch.optim.Adam(model.parameters(), 5e-3)
    wanted = learned[:, 1:]
    for _ in range(steps):
        loss = F.cross_entropy(model(ids)[:, :-1][wanted], ids[:, 1:][wanted])
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    if loss > 0.05:
        raise RuntimeError(f"the model did not learn its answers: loss {loss:.3f}")


def main() -> None:
    """Make one."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    torch.set_num_threads(1)
    make(args.folder, seed=args.seed)
    width = max(map(len, QUESTIONS))
    print(f"{args.folder} knows, with pictures of {GRID[0]}*{GRID[1]} tokens:")
    print("\n".join(f"  {task:{width}}  {question!r}" for task, question in QUESTIONS.items()))


if __name__ == "__main__":
    main()
