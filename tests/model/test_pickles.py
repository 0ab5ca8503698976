"""Pickles: tensors come out, code does not run."""

import pickle

import pytest
import torch

from emu_planner.model.errors import CheckpointError
from emu_planner.model.pickles import read_pickle

STATE = {"w": torch.arange(6.0).view(2, 3), "loss.logvar": torch.zeros(1)}


class Attack:
    """Opens a file for writing when it is unpickled."""

    def __init__(self, path):
        self.path = str(path)

    def __reduce__(self):
        return open, (self.path, "w")


@pytest.mark.parametrize("wrapped", [False, True])
@pytest.mark.parametrize("zipped", [False, True])
def test_tensors_come_out(tmp_path, wrapped, zipped):
    path = tmp_path / "model.ckpt"
    content = {"state_dict": STATE, "epoch": 3} if wrapped else STATE
    torch.save(content, path, _use_new_zipfile_serialization=zipped)
    tensors = read_pickle(path, ignored=("loss.",))
    assert tensors.keys() == {"w"}
    assert torch.equal(tensors["w"], STATE["w"])


@pytest.mark.parametrize("zipped", [False, True])
def test_code_in_a_pickle_is_named_and_not_run(tmp_path, zipped):
    target = tmp_path / "written-by-the-pickle"
    path = tmp_path / "model.ckpt"
    torch.save({"state_dict": STATE, "extra": Attack(target)}, path, _use_new_zipfile_serialization=zipped)
    with pytest.raises(CheckpointError, match=r"holds more than tensors.*nothing of it was run"):
        read_pickle(path)
    assert not target.exists()
    # the same file does write when it is unpickled without care: the test can fail
    torch.load(path, weights_only=False)
    assert target.exists()


def test_a_plain_pickle_with_code_is_not_run_either(tmp_path):
    target = tmp_path / "written-by-the-pickle"
    path = tmp_path / "model.ckpt"
    path.write_bytes(pickle.dumps(Attack(target), protocol=2))
    with pytest.raises(CheckpointError):
        read_pickle(path)
    assert not target.exists()


def test_damaged_and_missing_files_are_named(tmp_path):
    path = tmp_path / "model.ckpt"
    with pytest.raises(CheckpointError, match=r"model.ckpt is missing"):
        read_pickle(path)
    torch.save(STATE, path)
    whole = path.read_bytes()
    for content in (whole[: len(whole) // 2], b"", b"only words"):
        path.write_bytes(content)
        with pytest.raises(CheckpointError, match="damaged"):
            read_pickle(path)


@pytest.mark.parametrize(
    ("content", "words"),
    [([1, 2], "holds a list"), ({"epoch": 3, "w": torch.zeros(1)}, "epoch is no tensor")],
)
def test_a_pickle_of_something_else_is_named(tmp_path, content, words):
    torch.save(content, tmp_path / "model.ckpt")
    with pytest.raises(CheckpointError, match=words):
        read_pickle(tmp_path / "model.ckpt")
