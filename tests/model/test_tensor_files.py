"""Files of tensors: read and written as the safetensors library does; what is wrong is named."""

import json
import re

import pytest
import torch
from safetensors.torch import load_file, save_file

from emu_planner.model import tensor_files, tensor_io
from emu_planner.model.errors import CheckpointError

CPU = torch.device("cpu")


def tensors():
    generator = torch.Generator().manual_seed(0)
    return {
        "a": torch.randn(3, 5, generator=generator),
        "b": torch.randn(7, generator=generator).bfloat16(),
        "c.weight": torch.randn(2, 2, 2, generator=generator).half(),
        "none": torch.zeros(0, 4),
        "one": torch.tensor(2.5, dtype=torch.float64),
    }


def read(folder, **options):
    found = tensor_files.find(folder)
    return tensor_io.read(found, places=dict.fromkeys(found, CPU), **options)


def same(one, other):
    return one.keys() == other.keys() and all(
        torch.equal(one[name], other[name]) and one[name].dtype == other[name].dtype for name in one
    )


def write(folder, values, shard_bytes):
    shapes = {name: tensor.shape for name, tensor in values.items()}
    tensor_io.write(folder, shapes, lambda name: values[name].dtype, values.__getitem__, shard_bytes)


def test_the_library_reads_what_we_write_and_we_what_it_writes(tmp_path):
    write(tmp_path, tensors(), 2**20)
    assert same(load_file(tmp_path / "model.safetensors"), tensors())
    assert same(read(tmp_path), tensors())
    save_file(tensors(), tmp_path / "model.safetensors", metadata={"format": "pt", "note": "x"})
    assert same(read(tmp_path), tensors())


def test_shards_read_back(tmp_path):
    write(tmp_path, tensors(), 64)
    assert len(list(tmp_path.glob("model-*.safetensors"))) == 2
    assert not list(tmp_path.glob("*.partial"))
    assert same(read(tmp_path), tensors())


ONE_FILE, TWO_SHARDS, THREE_SHARDS = 2**20, 64, 33


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (ONE_FILE, ONE_FILE),
        (ONE_FILE, TWO_SHARDS),
        (TWO_SHARDS, ONE_FILE),
        (TWO_SHARDS, THREE_SHARDS),
        (TWO_SHARDS, TWO_SHARDS),
    ],
)
def test_an_interruption_leaves_the_old_tensors_or_the_new(tmp_path, monkeypatch, before, after):
    """Every call that changes the folder's names fails once: replace, unlink; before it did anything."""
    old = tensors()
    new = {name: tensor + 1 for name, tensor in old.items()}
    state = {"calls": 0, "fails_at": 0}

    def interrupt(call):
        def counted(*args, **options):
            state["calls"] += 1
            if state["calls"] == state["fails_at"]:
                raise KeyboardInterrupt
            return call(*args, **options)

        return counted

    monkeypatch.setattr(tensor_io.os, "replace", interrupt(tensor_io.os.replace))
    monkeypatch.setattr("pathlib.Path.unlink", interrupt(tensor_io.Path.unlink))
    found, interrupted = [], True
    while interrupted:
        folder = tmp_path / str(len(found))
        folder.mkdir()
        state["fails_at"] = 0
        write(folder, old, before)
        state.update(calls=0, fails_at=len(found) + 1)
        try:
            write(folder, new, after)
            interrupted = False
        except KeyboardInterrupt:
            pass
        try:
            held = read(folder)
        except CheckpointError:
            found.append("none")
        else:
            assert same(held, old) or same(held, new)  # and never some of each
            found.append("old" if same(held, old) else "new")
        state["fails_at"] = 0
        write(folder, new, after)
        assert same(read(folder), new)
        assert not list(folder.glob("*.partial"))
        (folder / "model.safetensors.index.json").unlink(missing_ok=True)
    assert found[0] == "old"
    assert found[-1] == "new"
    # between shards of the same names there is nothing, from the first to the index
    assert found.count("none") == (3 if before == after == TWO_SHARDS else 0)


@pytest.mark.parametrize("chunk", [16, 24, 64 * 2**20])
@pytest.mark.parametrize("dtype", [None, torch.float32, torch.bfloat16])
def test_every_chunk_arrives_in_its_place_and_is_counted(tmp_path, monkeypatch, chunk, dtype):
    monkeypatch.setattr(tensor_io, "_CHUNK_BYTES", chunk)
    write(tmp_path, tensors(), 64)
    told = []
    result = read(tmp_path, dtype=dtype, progress=lambda done, total: told.append((done, total)))
    expected = {name: tensor.to(dtype or tensor.dtype) for name, tensor in tensors().items()}
    assert same(result, expected)
    total = sum(tensor.nbytes for tensor in tensors().values())
    assert told[-1] == (total, total)
    assert [done for done, _ in told] == sorted({done for done, _ in told})
    if chunk == 16:
        assert max(b - a for (a, _), (b, _) in zip([(0, 0), *told], told, strict=False)) == 16


def test_memory_is_aligned_as_torch_allocates_it(tmp_path):
    write(tmp_path, tensors(), 2**20)
    assert all(tensor.data_ptr() % 64 == 0 for tensor in read(tmp_path).values())


def test_a_tensor_goes_to_its_device(tmp_path):
    write(tmp_path, tensors(), 2**20)
    found = tensor_files.find(tmp_path)
    places = {name: torch.device("meta" if name == "a" else "cpu") for name in found}
    result = tensor_io.read(found, places=places)
    assert {name for name, tensor in result.items() if tensor.is_meta} == {"a"}


def test_a_callback_may_stop_the_reading(tmp_path):
    write(tmp_path, tensors(), 2**20)

    def stop(_done, _total):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        read(tmp_path, progress=stop)


@pytest.fixture
def sharded(tmp_path):
    write(tmp_path, tensors(), 64)
    return tmp_path


def refuses(folder, *words):
    with pytest.raises(CheckpointError) as error:
        tensor_files.find(folder)
    for word in words:
        assert word in str(error.value)


def edit_index(folder, edit):
    path = folder / "model.safetensors.index.json"
    index = json.loads(path.read_text())
    edit(index)
    path.write_text(json.dumps(index))


def test_a_missing_shard_is_named(sharded):
    (sharded / "model-00002-of-00002.safetensors").unlink()
    refuses(sharded, "lacks model-00002-of-00002.safetensors, 1 of the 2 files", "download complete?")


def test_shards_without_an_index_are_told_from_nothing_at_all(sharded, tmp_path_factory):
    (sharded / "model.safetensors.index.json").unlink()
    refuses(sharded, "holds model-00001-of-00002.safetensors", "not model.safetensors.index.json")
    empty = tmp_path_factory.mktemp("empty")
    refuses(empty, "lacks model.safetensors or model.safetensors.index.json")
    (empty / "pytorch_model.bin").touch()
    refuses(empty, "it holds pytorch_model.bin: convert it")


def test_an_index_that_does_not_say_what_is_there_is_refused(sharded):
    edit_index(sharded, lambda index: index["weight_map"].update(a="model-00002-of-00002.safetensors"))
    refuses(sharded, "not where it says: a (in model-00002-of-00002.safetensors)")
    edit_index(sharded, lambda index: index["weight_map"].update(a="../elsewhere.safetensors"))
    refuses(sharded, "files outside its folder: ../elsewhere.safetensors")
    edit_index(sharded, lambda index: index.pop("weight_map"))
    refuses(sharded, "has no weight_map")
    (sharded / "model.safetensors.index.json").write_text("{")
    refuses(sharded, "index.json is not JSON")


def test_a_tensor_in_two_shards_is_refused(sharded):
    second = sharded / "model-00002-of-00002.safetensors"
    save_file({**load_file(second), "a": torch.zeros(3, 5)}, second)
    refuses(sharded, "a is in model-00001-of-00002.safetensors and again in model-00002-of-00002")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "not a safetensors file but empty"),
        (b"no tensors here, only words", "not a safetensors file; copy"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "Git LFS pointer"),
        (b"<!DOCTYPE html><html>", "a page of HTML"),
        ((20).to_bytes(8, "little") + b"{}", "truncated: it ends at byte 10, inside its header"),
        ((4).to_bytes(8, "little") + b"[1] ", "header is damaged"),
        ((4).to_bytes(8, "little") + b"{{{{", "header is damaged"),
        ((11).to_bytes(8, "little") + b'{"a": null}', "header is damaged"),
    ],
)
def test_a_file_of_another_kind_is_named(tmp_path, content, words):
    path = tmp_path / "model.safetensors"
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match=re.escape(words)):
        tensor_files.read_header(path)


def test_a_truncated_file_is_refused_before_anything_is_read(tmp_path):
    write(tmp_path, tensors(), 2**20)
    path = tmp_path / "model.safetensors"
    whole = path.read_bytes()
    for size in (len(whole) - 1, len(whole) // 2, 30, 3):
        path.write_bytes(whole[:size])
        refuses(tmp_path, "truncated" if size > 3 else "not a safetensors file")
    path.write_bytes(whole + b"x")
    refuses(tmp_path, f"damaged: it has {len(whole) + 1} bytes, its header says {len(whole)}")


def test_a_file_that_shrinks_while_it_is_read_is_named(tmp_path):
    write(tmp_path, tensors(), 2**20)
    found = tensor_files.find(tmp_path)
    path = tmp_path / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(CheckpointError, match=r"model.safetensors cannot be read: it ends early"):
        tensor_io.read(found, places=dict.fromkeys(found, CPU))
    path.unlink()
    with pytest.raises(CheckpointError, match="cannot be read"):
        tensor_io.read(found, places=dict.fromkeys(found, CPU))


def header_file(path, entries, size):
    text = json.dumps(entries).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + bytes(size))


def test_overlapping_tensors_are_refused(tmp_path):
    path = tmp_path / "model.safetensors"
    entry = {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}
    header_file(path, {"a": entry, "b": {**entry, "data_offsets": [4, 12]}}, 12)
    with pytest.raises(CheckpointError, match="overlap or leave gaps"):
        tensor_files.read_header(path)
    header_file(path, {"a": entry, "b": {**entry, "data_offsets": [12, 20]}}, 20)
    with pytest.raises(CheckpointError, match="overlap or leave gaps"):
        tensor_files.read_header(path)


def test_a_size_that_is_not_the_shape_and_a_quantised_tensor_are_refused(tmp_path):
    path = tmp_path / "model.safetensors"
    entries = {
        "a": {"dtype": "F32", "shape": [3], "data_offsets": [0, 8]},
        "b": {"dtype": "U8", "shape": [4], "data_offsets": [8, 12]},
    }
    header_file(path, entries, 12)
    with pytest.raises(CheckpointError) as error:
        tensor_files.check(tmp_path, {"a": [3], "b": [4]}, tensor_files.find(tmp_path))
    assert "a takes 8 bytes, which is not its shape [3]" in str(error.value)
    assert "b is stored as U8, expected one of F64, F32, F16, BF16" in str(error.value)


def test_a_device_without_memory_is_named(tmp_path):
    stored = tensor_files.Stored(tmp_path / "model.safetensors", "F32", (2**50,), 8, 8 + 2**52)
    stored.path.touch()
    with pytest.raises(CheckpointError, match="no memory on cpu for big"):
        tensor_io.read({"big": stored}, places={"big": CPU})


def test_only_the_first_few_of_many_differences_are_told(tmp_path):
    expected = {f"layer.{index}": [1] for index in range(20)}
    with pytest.raises(CheckpointError, match=r"layer.0 is missing.*; and 15 more"):
        tensor_files.check(tmp_path, expected, {})


def test_a_file_that_cannot_be_opened_is_named_with_what_to_do(sharded, monkeypatch):
    def refuse(path, *_args, **_options):
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr("pathlib.Path.open", refuse)
    with pytest.raises(CheckpointError, match=r"00001-of.*cannot be read: Permission denied; check its"):
        tensor_files.read_header(sorted(sharded.glob("model-00001-*"))[0])
    with pytest.raises(CheckpointError, match="gone.safetensors cannot be read: No such file"):
        tensor_files.read_header(sharded / "gone.safetensors")
