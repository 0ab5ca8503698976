"""One model on several devices: layers are spread by bytes, activations follow."""

import math
from pathlib import Path

import pytest
import torch

from emu_planner.model import spread
from emu_planner.model.checkpoint import load_transformer, save_transformer
from emu_planner.model.transformer import Transformer, TransformerConfig
from tests.model.test_transformer import ListCache

CONFIG = TransformerConfig(40, 32, 64, 4, 4, 2, 8)
CPU, META = torch.device("cpu"), torch.device("meta")


@pytest.fixture(scope="module")
def model():
    model = Transformer(CONFIG)
    model.initialise(0)
    return model.eval()


@pytest.mark.parametrize(
    ("sizes", "room", "expected"),
    [
        ([4, 1, 1, 1, 1, 4], [1, 1], [0, 0, 0, 1, 1, 1]),
        ([1, 1, 1, 1], [3, 1], [0, 0, 0, 1]),
        ([1, 1, 1, 1], [1, 3], [0, 1, 1, 1]),
        ([5, 1], [1], [0, 0]),
        ([9, 1, 1], [1, 1, 1], [0, 1, 2]),
        ([2, 2], [1, 1, 1], [0, 1]),
    ],
)
def test_consecutive_parts_are_filled_evenly(sizes, room, expected):
    assigned = spread.split(sizes, room)
    fullest = max(
        sum(s for s, a in zip(sizes, assigned, strict=True) if a == i) / r for i, r in enumerate(room)
    )
    wanted = max(
        sum(s for s, a in zip(sizes, expected, strict=True) if a == i) / r for i, r in enumerate(room)
    )
    assert assigned == sorted(assigned)
    assert fullest == wanted


def test_a_cpu_beside_gpus_takes_what_is_left():
    assert spread.fill([4, 1, 1, 3, 1], [5, 3, math.inf]) == [0, 0, 1, 2, 2]
    assert spread.fill([4, 1], [9, math.inf]) == [0, 0]
    assert spread.fill([4, 1], [0, math.inf]) == [1, 1]
    names = ["model.embed_tokens.weight", "model.layers.0.mlp.up_proj.weight", "lm_head.weight"]
    places = spread.places(dict.fromkeys(names, 10), [META, CPU], [25, math.inf])
    assert list(places.values()) == [META, META, CPU]


def test_free_memory_is_looked_up():
    assert spread.free_bytes(META) == math.inf
    if Path("/proc/meminfo").is_file():
        assert 0 < spread.free_bytes(CPU) < 2**50


def test_a_container_has_less_memory_than_its_machine(monkeypatch, tmp_path):
    machine = tmp_path / "meminfo"
    machine.write_text("MemTotal: 900 kB\nMemAvailable: 500 kB\n")
    monkeypatch.setattr(spread, "_MEMORY", machine)
    monkeypatch.setattr(spread, "_CGROUP", tmp_path)
    assert spread.free_bytes(CPU) == 500 * 1024  # no files: no limit
    (tmp_path / "memory.max").write_text("max\n")
    (tmp_path / "memory.current").write_text("70000\n")
    assert spread.free_bytes(CPU) == 500 * 1024
    (tmp_path / "memory.max").write_text("100000\n")
    assert spread.free_bytes(CPU) == 30000
    # what was read from files is taken back when memory is needed
    (tmp_path / "memory.stat").write_text("anon 20000\nactive_file 10000\ninactive_file 40000\n")
    assert spread.free_bytes(CPU) == 80000
    (tmp_path / "memory.max").write_text("900000000\n")
    assert spread.free_bytes(CPU) == 500 * 1024


def test_no_cut_is_better_than_the_one_found():
    generator = torch.Generator().manual_seed(0)
    for _ in range(20):
        sizes = torch.randint(1, 20, (9,), generator=generator).tolist()
        assigned = spread.split(sizes, [1.0, 2.0])
        found = max(sum(sizes[: assigned.count(0)]), sum(sizes[assigned.count(0) :]) / 2)
        assert found == min(max(sum(sizes[:cut]), sum(sizes[cut:]) / 2) for cut in range(10))


def test_blocks_stay_whole_and_in_order(model):
    nbytes = {name: tensor.nbytes for name, tensor in model.state_dict().items()}
    places = spread.places(nbytes, [CPU, META])
    devices = [{places[name] for name in nbytes if f"layers.{index}." in name} for index in range(4)]
    assert devices == [{CPU}, {CPU}, {META}, {META}]
    assert places["model.embed_tokens.weight"] == CPU
    assert places["model.norm.weight"] == places["lm_head.weight"] == META


def spread_out(model, folder):
    save_transformer(model, folder)
    return load_transformer(folder, device=["cpu", "meta"])


def test_activations_follow_from_device_to_device(model, tmp_path):
    whole = spread_out(model, tmp_path)
    assert spread.layer_devices(whole) == [CPU, CPU, META, META]
    seen = []
    for layer in whole.model.layers:
        layer.register_forward_hook(lambda _module, args, out: seen.append((args[0].device, out.device)))
    ids = torch.arange(6)[None]
    mask = torch.ones(6, 6, dtype=torch.bool).tril()[None, None]
    logits = whole.head(whole.hidden(ids, cache=ListCache(), mask=mask))
    assert seen == [(CPU, CPU), (CPU, CPU), (META, META), (META, META)]
    assert logits.device == META
    assert logits.shape == (1, 6, 40)


def test_the_part_on_real_memory_computes_as_it_did(model, tmp_path):
    def second_layer(one):
        kept = []
        one.model.layers[1].register_forward_hook(lambda _module, _args, out: kept.append(out))
        one(torch.arange(6)[None])
        return kept[0]

    assert torch.equal(second_layer(spread_out(model, tmp_path)), second_layer(model))


def test_twice_the_same_device_changes_nothing(model, tmp_path):
    save_transformer(model, tmp_path)
    ids = torch.arange(6)[None]
    twice = load_transformer(tmp_path, device=["cpu", "cpu"])
    assert torch.equal(twice(ids, cache=ListCache()), model(ids, cache=ListCache()))


def test_what_all_layers_share_is_brought_once_a_pass():
    carrier = spread._Carrier(META)
    shared, x = torch.zeros(3), torch.zeros(2)
    first, _ = carrier.bring(None, (x, (shared, shared)), {"mask": shared})
    again, named = carrier.bring_more(None, (first[0], (shared, shared)), {"mask": shared})
    assert again[0] is first[0]
    assert again[1][0] is again[1][1] is first[1][0] is named["mask"]
    later, _ = carrier.bring(None, (x, (shared, shared)), {})
    assert later[1][0] is not first[1][0]


def test_keys_and_values_come_to_the_layer(model, tmp_path):
    cache = ListCache()
    whole = spread_out(model, tmp_path)
    ids = torch.arange(6)[None]
    whole(ids, cache=cache)
    assert [cache.kept[layer][0].device for layer in range(4)] == [CPU, CPU, META, META]
    # a cache that keeps all on one device works too
    for layer in (2, 3):
        cache.kept[layer] = tuple(torch.zeros_like(kept, device="cpu") for kept in cache.kept[layer])
    carried = spread._CarriedCache(_OneDevice(cache), META)
    keys, values = carried.update(2, torch.zeros(1, 2, 1, 8), torch.zeros(1, 2, 1, 8))
    assert keys.device == values.device == META
    assert keys.shape == (1, 2, 7, 8)


class _OneDevice:
    def __init__(self, cache):
        self.cache = cache

    def update(self, layer, k, v):
        return self.cache.update(layer, k, v)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_a_gpu_and_the_cpu_share_a_model(model, tmp_path, monkeypatch):
    save_transformer(model, tmp_path)
    ids = torch.arange(6)[None]
    expected = model(ids)
    alone = load_transformer(tmp_path, device="cuda")
    assert (alone(ids.cuda()).cpu() - expected).abs().max() < 1e-4
    # as if the GPU had room for about half: the CPU takes the rest
    whole_bytes = sum(p.nbytes for p in model.parameters())
    monkeypatch.setattr(spread, "free_bytes", lambda one: 0.6 * whole_bytes if one.type == "cuda" else 1e12)
    shared = load_transformer(tmp_path, device=["cuda", "cpu"])
    assert shared.model.embed_tokens.weight.device.type == "cuda"
    logits = shared(ids.cuda(), cache=ListCache())
    assert logits.device.type == "cpu"
    assert (logits - expected).abs().max() < 1e-4
