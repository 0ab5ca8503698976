"""The layout of ids is read from a checkpoint's files; wrong files are named in words."""

import os
from pathlib import Path

import pytest

from emu_planner.model.text import train_bpe, write_folder
from emu_planner.model.vocabulary import Vocabulary

FULL = os.environ.get("EMU_TOKENIZER_DIR")


def write_small(folder: Path, codes: int = 12) -> dict[bytes, int]:
    ranks = train_bpe(["put the red block in the bowl"] * 3, 5)
    write_folder(folder, ranks, codes)
    return ranks


def test_a_small_vocabulary_keeps_the_published_order(tmp_path):
    ranks = write_small(tmp_path)
    v = Vocabulary.from_folder(tmp_path)
    n = len(ranks)
    assert (v.pad, v.bss, v.ess, v.eol, v.bos, v.eos) == (n, n + 103, n + 104, n + 203, n + 206, n + 207)
    assert (v.img, v.boi, v.eoi, v.first_visual, v.size) == (n + 208, n + 209, n + 210, n + 211, n + 223)
    assert v.number(120) == [ranks[b"1"], ranks[b"2"], ranks[b"0"]]


@pytest.mark.skipif(not FULL, reason="EMU_TOKENIZER_DIR does not name the published tokenizer files")
def test_the_published_vocabulary_through_the_same_code():
    v = Vocabulary.from_folder(FULL)
    assert v.size == 282926
    assert (v.pad, v.boc, v.bog, v.bss, v.ess) == (151643, 151696, 151706, 151746, 151747)
    assert (v.eol, v.bos, v.eos, v.img, v.boi, v.eoi) == (151846, 151849, 151850, 151851, 151852, 151853)
    assert (v.first_visual, v.codes, v.zero, v.star) == (151854, 131072, 15, 9)


def test_a_hole_in_the_visual_tokens_is_named(tmp_path):
    write_small(tmp_path)
    path = tmp_path / "emu3_vision_tokens.txt"
    path.write_text(path.read_text().replace("<|visual token 000004|>\n", ""))
    with pytest.raises(ValueError, match=r"line 8: expected '<.visual token 000004.>'"):
        Vocabulary.from_folder(tmp_path)


def test_missing_files_are_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no \*\.tiktoken"):
        Vocabulary.from_folder(tmp_path)
    write_small(tmp_path)
    (tmp_path / "emu3_vision_tokens.txt").unlink()
    with pytest.raises(FileNotFoundError, match=r"emu3_vision_tokens.txt is missing"):
        Vocabulary.from_folder(tmp_path)


def test_ranks_that_cannot_write_a_size_are_refused():
    ranks = {bytes([byte]): byte for byte in range(256) if byte != ord("*")}
    ranks = {token: rank for rank, token in enumerate(ranks)}
    with pytest.raises(ValueError, match=r"missing: \['\*'\]"):
        Vocabulary.from_files(ranks, 4)
