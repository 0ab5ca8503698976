"""Text to token ids and back: byte-level byte-pair encoding in the Qwen manner (NFC, its regex).

Also learns the byte pairs of a small model from its texts, and writes the tokenizer's files.
Knows no prompt and no image; a special token written in the text becomes its id.
"""

import base64
import json
import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import pairwise
from pathlib import Path

import regex
import tiktoken

from emu_planner.model.vocabulary import (
    VISION_SPECIALS,
    Vocabulary,
    read_codes,
    read_ranks,
    special_ids,
    tokenizer_files,
    visual_token,
)

# How Qwen cuts text before byte pairs are merged: contractions, words, single digits, signs, space.
PATTERN = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)
_SPECIAL = re.compile(r"(<\|[a-z0-9_ ]+\|>)")
_VISUAL = re.compile(r"<\|visual token (\d{6})\|>")


class TextTokenizer:
    """Encodes and decodes text; `vocabulary` is the layout of the ids it speaks of."""

    def __init__(self, ranks: dict[bytes, int], codes: int) -> None:
        self.vocabulary = Vocabulary.from_files(ranks, codes)
        self._special_ids = special_ids(len(ranks))
        self._special_names = {token: name for name, token in self._special_ids.items()}
        self._bpe = tiktoken.Encoding("emu", pat_str=PATTERN, mergeable_ranks=ranks, special_tokens={})

    @classmethod
    def from_folder(cls, folder: Path | str) -> "TextTokenizer":
        """The tokenizer whose files (NAME.tiktoken, NAME_vision_tokens.txt) lie in `folder`."""
        ranks_file, vision_file = tokenizer_files(folder)
        return cls(read_ranks(ranks_file), read_codes(vision_file))

    def encode(self, text: str) -> list[int]:
        """Ids of the text after NFC normalisation; special tokens in it become their ids."""
        ids: list[int] = []
        for index, part in enumerate(_SPECIAL.split(unicodedata.normalize("NFC", text))):
            special = self._special_id(part) if index % 2 else None
            if special is not None:
                ids.append(special)
            else:
                ids.extend(self._bpe.encode_ordinary(part))
        return ids

    def encode_plain(self, text: str) -> list[int]:
        """Ids of the text after NFC normalisation, special tokens taken as ordinary characters.

        For words of a user: nobody can end the prompt or open an image from inside a sentence.
        """
        return self._bpe.encode_ordinary(unicodedata.normalize("NFC", text))

    def decode(self, ids: Sequence[int], *, skip_special_tokens: bool = False) -> str:
        """Text of the ids; bytes that are no UTF-8 become U+FFFD.

        Args:
            ids: any ids of the vocabulary.
            skip_special_tokens: leave out special tokens and visual codes.

        Raises:
            ValueError: an id outside the vocabulary.
        """
        first_special = self.vocabulary.first_special
        kept = [i for i in ids if i < first_special] if skip_special_tokens else ids
        return b"".join(map(self.token_bytes, kept)).decode("utf-8", errors="replace")

    def token_bytes(self, token: int) -> bytes:
        """Bytes of one token, for text that is shown while it grows."""
        if self.vocabulary.is_text(token):
            return self._bpe.decode_single_token_bytes(token)
        if token in self._special_names:
            return self._special_names[token].encode()
        code = token - self.vocabulary.first_visual
        if 0 <= code < self.vocabulary.codes:
            return visual_token(code).encode()
        raise ValueError(f"token id {token} is outside the vocabulary of {self.vocabulary.size}")

    def _special_id(self, name: str) -> int | None:
        visual = _VISUAL.fullmatch(name)
        if visual is None:
            return self._special_ids.get(name)
        code = int(visual[1])
        return self.vocabulary.first_visual + code if code < self.vocabulary.codes else None


def train_bpe(texts: Iterable[str], merges: int) -> dict[bytes, int]:
    """Learn byte pairs: 256 single bytes, then up to `merges` pairs, most frequent first.

    Ties go to the smaller pair of bytes, so equal texts give equal ranks. Sennrich et al. 2016,
    on bytes. Stops early when no pair occurs twice.

    Args:
        texts: what the model will read and write; special tokens in them are left out.
        merges: most merges.

    Returns:
        Token to rank, as a tiktoken file holds it.
    """
    words: Counter[bytes] = Counter()
    for text, count in Counter(texts).items():
        for part in _SPECIAL.split(unicodedata.normalize("NFC", text))[::2]:
            for word in regex.findall(PATTERN, part):
                words[word.encode()] += count
    pieces = [([bytes([byte]) for byte in word], count) for word, count in words.items()]
    ranks = {bytes([byte]): byte for byte in range(256)}
    for _ in range(merges):
        pairs: Counter[tuple[bytes, bytes]] = Counter()
        for parts, count in pieces:
            for pair in pairwise(parts):
                pairs[pair] += count
        best = min(pairs, key=lambda pair: (-pairs[pair], pair), default=None)
        if best is None or pairs[best] < 2:
            break
        ranks[best[0] + best[1]] = len(ranks)
        for parts, _count in pieces:
            _merge(parts, best)
    return ranks


def write_folder(folder: Path | str, ranks: dict[bytes, int], codes: int) -> None:
    """Write the three files of a tokenizer, as published checkpoints hold them."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    in_order = sorted(ranks, key=ranks.__getitem__)
    lines = [base64.b64encode(token) + b" %d\n" % ranks[token] for token in in_order]
    (folder / "emu3.tiktoken").write_bytes(b"".join(lines))
    names = [*VISION_SPECIALS, *map(visual_token, range(codes))]
    (folder / "emu3_vision_tokens.txt").write_text("\n".join(names) + "\n", encoding="utf-8")
    config = {"model_max_length": 10**18, "tokenizer_class": "Emu3Tokenizer"}
    (folder / "tokenizer_config.json").write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")


def _merge(parts: list[bytes], pair: tuple[bytes, bytes]) -> None:
    """Join every occurrence of the pair in a word, left to right, in place."""
    index = 0
    while index < len(parts) - 1:
        if (parts[index], parts[index + 1]) == pair:
            parts[index : index + 2] = [pair[0] + pair[1]]
        index += 1
