"""Where each kind of token lives in the vocabulary: the layout, read from a checkpoint's files.

Order of ids, as published with Emu3.5: byte-pair ranks, then the special tokens of its text
tokenizer, then the lines of the vision tokens file (image token, image start, image end, one
token a code). Sizes are data of the checkpoint. Knows no regular expression and no model.
"""

import base64
from dataclasses import dataclass
from pathlib import Path

EXTRA_TOKENS = 205
SPECIALS = (
    "<|endoftext|>",
    "<|im_start|>",
    "<|im_end|>",
    *(f"<|extra_{index}|>" for index in range(EXTRA_TOKENS)),
)
VISION_SPECIALS = ("<|image token|>", "<|image start|>", "<|image end|>")
# A role is played by the special token of that name in every published checkpoint.
ROLES = {
    "pad": "<|endoftext|>",
    "boc": "<|extra_50|>",
    "eoc": "<|extra_51|>",
    "bog": "<|extra_60|>",
    "eog": "<|extra_61|>",
    "bss": "<|extra_100|>",
    "ess": "<|extra_101|>",
    "eol": "<|extra_200|>",
    "eof": "<|extra_201|>",
    "tms": "<|extra_202|>",
    "bos": "<|extra_203|>",
    "eos": "<|extra_204|>",
    "img": "<|image token|>",
    "boi": "<|image start|>",
    "eoi": "<|image end|>",
}


def visual_token(code: int) -> str:
    """The written form of a visual code."""
    return f"<|visual token {code:06d}|>"


@dataclass(frozen=True)
class Vocabulary:
    """The layout of a checkpoint's token ids."""

    # ids below are byte-pair tokens; the specials begin here
    first_special: int
    # id of visual code 0; every code has an id, in order, to the end of the vocabulary
    first_visual: int
    # number of visual codes
    codes: int
    # ids of the single-byte tokens "0" and "*": a size is written in decimal digits, h*w
    zero: int
    star: int

    pad: int
    bos: int
    eos: int
    bss: int
    ess: int
    boi: int
    eoi: int
    img: int
    eol: int
    eof: int
    tms: int
    boc: int
    eoc: int
    bog: int
    eog: int

    @classmethod
    def from_folder(cls, folder: Path | str) -> "Vocabulary":
        """The layout that the tokenizer files in `folder` describe (see `tokenizer_files`)."""
        ranks_file, vision_file = tokenizer_files(folder)
        return cls.from_files(read_ranks(ranks_file), read_codes(vision_file))

    @classmethod
    def from_files(cls, ranks: dict[bytes, int], codes: int) -> "Vocabulary":
        """The layout for these byte-pair ranks and this many visual codes.

        Raises:
            ValueError: the ranks are not 0, 1, 2, ..., or a byte that sizes need has no token.
        """
        if sorted(ranks.values()) != list(range(len(ranks))):
            raise ValueError("byte-pair ranks are not 0, 1, 2, ... without gaps")
        needed = [b"*", *(b"%d" % digit for digit in range(10))]
        missing = [token.decode() for token in needed if token not in ranks]
        zero = ranks.get(b"0", -1)
        if missing or any(ranks[token] != zero + int(token) for token in needed[1:]):
            raise ValueError(
                f"image sizes are written with '*' and consecutive tokens '0' to '9'; missing: {missing}"
            )
        ids = special_ids(len(ranks))
        return cls(
            first_special=len(ranks),
            first_visual=len(ranks) + len(ids),
            codes=codes,
            zero=zero,
            star=ranks[b"*"],
            **{role: ids[token] for role, token in ROLES.items()},
        )

    @property
    def size(self) -> int:
        """Number of ids."""
        return self.first_visual + self.codes

    def number(self, value: int) -> list[int]:
        """Ids of a number's decimal digits."""
        return [self.zero + int(digit) for digit in str(value)]

    def is_text(self, token: int) -> bool:
        """Whether the id is a byte-pair token: no special token, no visual code."""
        return 0 <= token < self.first_special


def special_ids(ranks: int) -> dict[str, int]:
    """Ids of all special tokens but the visual codes, when this many ranks come before them."""
    return {token: ranks + index for index, token in enumerate((*SPECIALS, *VISION_SPECIALS))}


def tokenizer_files(folder: Path | str) -> tuple[Path, Path]:
    """The rank file NAME.tiktoken and the vision tokens file NAME_vision_tokens.txt of a folder.

    Raises:
        FileNotFoundError: one is missing. ValueError: there are several rank files.
    """
    found = sorted(Path(folder).glob("*.tiktoken"))
    if not found:
        raise FileNotFoundError(
            f"{folder} holds no *.tiktoken file. Emu3.5 keeps its tokenizer with its code "
            "(baaivision/Emu3.5, src/tokenizer_emu3_ibq): put emu3.tiktoken and emu3_vision_tokens.txt "
            "into the checkpoint, or name their folder (emu-planner: --tokenizer FOLDER)"
        )
    if len(found) > 1:
        raise ValueError(f"{folder} holds several rank files: {[path.name for path in found]}; keep one")
    vision_file = found[0].with_name(f"{found[0].stem}_vision_tokens.txt")
    if not vision_file.is_file():
        raise FileNotFoundError(f"{found[0].name} is there, but {vision_file} is missing")
    return found[0], vision_file


def read_ranks(path: Path) -> dict[bytes, int]:
    """Byte-pair tokens and their ranks from a tiktoken file: base64 token, space, rank a line."""
    ranks = {}
    for line in path.read_bytes().splitlines():
        if line:
            token, rank = line.split()
            ranks[base64.b64decode(token)] = int(rank)
    return ranks


def read_codes(path: Path) -> int:
    """Number of visual codes in a vision tokens file.

    Raises:
        ValueError: its lines are not the three image tokens and then the codes in order.
    """
    lines = path.read_text(encoding="utf-8").splitlines()
    codes = len(lines) - len(VISION_SPECIALS)
    for index, line in enumerate(lines):
        code = index - len(VISION_SPECIALS)
        expected = VISION_SPECIALS[index] if code < 0 else visual_token(code)
        if line != expected:
            raise ValueError(f"{path.name} line {index + 1}: expected {expected!r}, got {line!r}")
    if codes < 1:
        raise ValueError(f"{path.name} names no visual token")
    return codes
