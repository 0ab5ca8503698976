"""Checkpoints in the layouts of others: Emu3.5, Xiaomi-Robotics-U0, transformers' Qwen3, the hub's IBQ."""

import json
import math
import os
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from emu_planner.model.blank import blank
from emu_planner.model.checkpoint import (
    CheckpointError,
    load_transformer,
    load_vision_tokenizer,
    save_transformer,
    save_vision_tokenizer,
    stored_bytes,
)
from emu_planner.model.config_files import write_transformer_config
from emu_planner.model.ibq import VisionConfig, VisionTokenizer
from emu_planner.model.text import TextTokenizer, train_bpe, write_folder
from emu_planner.model.transformer import Transformer, TransformerConfig
from tests import golden

RANKS = train_bpe(["You are a helpful assistant. USER: "] * 3, 20)
CODES = 8
VOCABULARY = TextTokenizer(RANKS, CODES).vocabulary.size
CONFIG = TransformerConfig(VOCABULARY, 32, 64, 3, 4, 2, 16, rms_norm_eps=1e-5, max_position_embeddings=16384)
IDS = torch.arange(0, VOCABULARY, 5)[None]
VISION = VisionConfig(ch=32, ch_mult=(1, 2), num_res_blocks=1, z_channels=32, embed_dim=8, n_embed=CODES)


@pytest.fixture(scope="module")
def model():
    model = Transformer(CONFIG)
    model.initialise(0)
    return model.eval()


@pytest.fixture(scope="module")
def vision():
    torch.manual_seed(0)
    return VisionTokenizer(VISION).eval()


def test_the_published_sizes_have_the_published_counts():
    with blank():
        language = Transformer(TransformerConfig(282926, 5120, 25600, 64, 64, 8))
        vision = VisionTokenizer(VisionConfig())
    assert sum(parameter.numel() for parameter in language.parameters()) == 34_103_460_864
    assert len(language.state_dict()) == 707
    assert sum(parameter.numel() for parameter in vision.parameters()) == 455_336_963


def test_a_sharded_download_gives_the_published_logits(tmp_path):
    spec, expected = golden.values("lm_weights.json"), golden.values("lm_logits.json")
    tensors = golden.weights(spec)
    names, weight_map = sorted(tensors), {}
    for number, part in enumerate((names[:7], names[7:20], names[20:]), start=1):
        file = f"model-{number:05d}-of-00003.safetensors"
        save_file({name: tensors[name] for name in part}, tmp_path / file, metadata={"format": "pt"})
        weight_map |= dict.fromkeys(part, file)
    index = {"metadata": {"total_size": 0}, "weight_map": weight_map}
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps(index))
    (tmp_path / "config.json").write_text(json.dumps({**spec["config"], "model_type": "Emu3"}))
    with torch.inference_mode():
        logits = load_transformer(tmp_path)(torch.tensor([expected["input_ids"]]))[0]
    top = logits.gather(1, torch.tensor(expected["top20_ids"]))
    assert (top - torch.tensor(expected["top20_logits"])).abs().max() < 1e-4
    assert (logits.logsumexp(1) - torch.tensor(expected["logsumexp"])).abs().max() < 1e-4


def edit(path, **changes):
    """Change fields of a JSON file; None removes one."""
    values = {**json.loads(path.read_text()), **changes}
    path.write_text(json.dumps({name: value for name, value in values.items() if value is not None}))


def u0_folder(folder, model):
    """As XiaomiRobotics/Xiaomi-Robotics-U0 is laid out: its config.json, tokenizer files called unis."""
    save_transformer(model, folder, dtype=torch.bfloat16, shard_bytes=40000)
    write_folder(folder, RANKS, CODES)
    (folder / "emu3.tiktoken").rename(folder / "unis.tiktoken")
    (folder / "emu3_vision_tokens.txt").rename(folder / "unis_vision_tokens.txt")
    config = {
        "vocab_size": VOCABULARY,
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 3,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "head_dim": 16,
        "max_position_embeddings": 16384,
        "qkv_bias": True,
        "vq_type": "ibq",
        "model_type": "UNIS",
        "architectures": ["UNISForCausalLM"],
        "pretraining_tp": 1,
        "rope_scaling": None,
        "attention_dropout": 0.1,
        "image_area": 1048576,
    }
    (folder / "config.json").write_text(json.dumps(config))


def test_xiaomi_robotics_u0_loads_by_its_own_config(model, vision, tmp_path):
    u0_folder(tmp_path, model)
    save_vision_tokenizer(vision, tmp_path / "elsewhere")
    again = load_transformer(tmp_path, dtype=torch.float32)
    # what its config.json leaves out is as in the published class: eps 1e-5, theta 1e6
    assert again.config == CONFIG
    assert (again(IDS) - model(IDS)).abs().max() < 0.02
    assert TextTokenizer.from_folder(tmp_path).vocabulary.size == VOCABULARY
    with pytest.raises(CheckpointError, match="BAAI/Emu3.5-VisionTokenizer"):
        load_vision_tokenizer(tmp_path)
    assert load_vision_tokenizer(tmp_path / "elsewhere").config == VISION


def test_its_flashar_variant_is_told_apart(model, tmp_path):
    u0_folder(tmp_path, model)
    tensors = {f"backbone.{name}": tensor.clone() for name, tensor in model.model.state_dict().items()}
    for path in tmp_path.glob("model*"):
        path.unlink()
    save_file(tensors, tmp_path / "model.safetensors")
    with pytest.raises(CheckpointError, match="a FlashAR model .* take the autoregressive checkpoint"):
        load_transformer(tmp_path)


def test_transformers_loads_what_we_write(model, tmp_path):
    transformers = pytest.importorskip("transformers")
    save_transformer(model, tmp_path, shard_bytes=40000)
    theirs, info = transformers.Qwen3ForCausalLM.from_pretrained(tmp_path, output_loading_info=True)
    assert not any(info.values())
    assert (theirs(IDS).logits - model(IDS)).abs().max() < 1e-5


def test_we_load_what_transformers_writes(tmp_path):
    transformers = pytest.importorskip("transformers")
    config = transformers.Qwen3Config(
        vocab_size=90, hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, head_dim=8, rms_norm_eps=1e-3, rope_theta=5000.0, tie_word_embeddings=False,
    )  # fmt: skip
    theirs = transformers.Qwen3ForCausalLM(config).eval()
    for parameter in theirs.parameters():
        torch.nn.init.normal_(parameter, mean=float(parameter.dim() == 1), std=0.3)
    theirs.save_pretrained(tmp_path, max_shard_size="40KB")
    ours = load_transformer(tmp_path)
    assert (ours.config.rope_theta, ours.config.rms_norm_eps) == (5000.0, 1e-3)
    ids = torch.arange(90)[None]
    expected = theirs(ids).logits
    assert expected.std() > 1
    assert (ours(ids) - expected).abs().max() < 1e-4


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"vocab_size": None, "hidden_size": None}, "config.json lacks hidden_size, vocab_size"),
        ({"hidden_size": "32"}, "hidden_size is '32', expected a whole number"),
        ({"rms_norm_eps": "small"}, "rms_norm_eps is 'small', expected a number"),
        ({"num_key_value_heads": 3}, "num_attention_heads 4 is not a multiple"),
        ({"tie_word_embeddings": True}, "tie_word_embeddings is True, which this package does not compute"),
        ({"hidden_act": "gelu"}, "hidden_act is 'gelu'"),
        ({"quantization_config": {"load_in_4bit": True}}, "quantization_config is"),
        ({"rope_scaling": {"type": "linear", "factor": 2.0}}, "rope scaling 'linear' is not supported"),
        ({"model_type": "qwen3", "rms_norm_eps": None}, "config.json lacks rms_norm_eps"),
        (
            {"hidden_size": 48},
            rf"lm_head.weight has shape \[{VOCABULARY}, 32\], expected \[{VOCABULARY}, 48\]",
        ),
        ({"vocab_size": VOCABULARY - 1}, f"name {VOCABULARY} ids, config.json in .* says vocab_size"),
        ({"vocab_size": VOCABULARY + 1}, f"vocab_size {VOCABULARY + 1}, the embedding .* not of one checkp"),
        (
            {"num_hidden_layers": 2},
            r"model.layers.2.input_layernorm.weight \[32\] is unexpected; .* and 6 more",
        ),
    ],
)
def test_a_configuration_that_does_not_fit_is_named(model, tmp_path, changes, words):
    save_transformer(model, tmp_path)
    write_folder(tmp_path, RANKS, CODES)
    edit(tmp_path / "config.json", **changes)
    with pytest.raises(CheckpointError, match=words):
        load_transformer(tmp_path)


def test_damaged_configurations_and_tokenizer_files_are_named(model, tmp_path):
    save_transformer(model, tmp_path)
    write_folder(tmp_path, RANKS, CODES)
    names = tmp_path / "emu3_vision_tokens.txt"
    names.write_text(names.read_text().replace("000003", "000004"))
    with pytest.raises(CheckpointError, match="line 7: expected"):
        load_transformer(tmp_path)
    names.unlink()
    with pytest.raises(CheckpointError, match=r"emu3_vision_tokens.txt is missing"):
        load_transformer(tmp_path)
    for content, words in (("{", "is not JSON"), ("[]", "holds a JSON list"), ("\xff", "is not JSON")):
        (tmp_path / "config.json").write_bytes(content.encode("latin1"))
        with pytest.raises(CheckpointError, match=words):
            load_transformer(tmp_path)


def test_tokenizer_files_elsewhere_are_compared_too(model, tmp_path):
    save_transformer(model, tmp_path)
    write_folder(tmp_path / "other", RANKS, CODES + 1)
    with pytest.raises(CheckpointError, match=f"name {VOCABULARY + 1} ids, config.json in"):
        load_transformer(tmp_path, tokenizer=tmp_path / "other")


def test_a_language_model_without_tokenizer_files_loads(model, tmp_path):
    save_transformer(model, tmp_path)
    told = []
    load_transformer(tmp_path, progress=lambda done, total: told.append((done, total)))
    total = sum(tensor.nbytes for tensor in model.state_dict().values())
    assert told[-1] == (total, total)
    assert stored_bytes(tmp_path) == total


@pytest.mark.skipif(not Path("/proc/meminfo").is_file(), reason="free memory is read from Linux's /proc")
def test_a_model_without_room_is_refused_before_it_is_read(tmp_path):
    config = TransformerConfig(10, 2**20, 2**20, 1, 1, 1, 8)
    with blank():
        shapes = {name: list(tensor.shape) for name, tensor in Transformer(config).state_dict().items()}
    header, end = {}, 0
    for name, shape in shapes.items():
        size = 2 * math.prod(shape)
        header[name] = {"dtype": "BF16", "shape": shape, "data_offsets": [end, end + size]}
        end += size
    text = json.dumps(header).encode()
    # sparse: the file has no such size on disk
    path = tmp_path / "model.safetensors"
    path.write_bytes(len(text).to_bytes(8, "little") + text)
    try:
        os.truncate(path, 8 + len(text) + end)
    except OSError:
        pytest.skip("the file system has no sparse file of 7 TB")
    write_transformer_config(config, tmp_path, "bfloat16")
    with pytest.raises(CheckpointError, match=r"needs \d+\.\d GB on cpu, where .* name more devices"):
        load_transformer(tmp_path)


def test_an_empty_list_of_devices_is_refused(model, tmp_path):
    save_transformer(model, tmp_path)
    with pytest.raises(ValueError, match="no device"):
        load_transformer(tmp_path, device=[])


# ---- the vision tokenizer ----------------------------------------------------------------------


def golden_vision():
    """Config of the golden tokenizer as published, and its tensors."""
    spec = golden.values("ibq_weights.json")
    return spec["ddconfig"], spec["n_embed"], spec["embed_dim"], golden.weights(spec)


def hub_folder(folder):
    """config.json and model.safetensors, with the names of the hub's configuration class."""
    size, codes, width, tensors = golden_vision()
    config = {**size, "codebook_size": codes, "embed_dim": width, "model_type": "Emu3p5VisionVQ"}
    (folder / "config.json").write_text(json.dumps(config))
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})


def yaml_folder(folder, *, wrapped=True, extra=()):
    """config.yaml and model.ckpt."""
    size, codes, width, tensors = golden_vision()
    lines = [f"  {name}: {json.dumps(value)}" for name, value in size.items()]
    text = [f"n_embed: {codes}", f"embed_dim: {width}", "beta: 0.25", "use_entropy_loss: true", "ddconfig:"]
    (folder / "config.yaml").write_text("\n".join([*text, *lines]) + "\n")
    tensors.update(extra)
    torch.save({"state_dict": tensors, "epoch": 1} if wrapped else tensors, folder / "model.ckpt")


def test_the_published_layouts_give_one_tokenizer(tmp_path):
    folders = [tmp_path / name for name in ("hub", "wrapped", "bare")]
    for folder in folders:
        folder.mkdir()
    hub_folder(folders[0])
    yaml_folder(folders[1], extra={"loss.discriminator.main.0.weight": torch.zeros(2)})
    yaml_folder(folders[2], wrapped=False)
    images = torch.rand(1, 3, 32, 48, generator=torch.Generator().manual_seed(0)) * 2 - 1
    tokenizers = [load_vision_tokenizer(folder) for folder in folders]
    ids = [tokenizer.encode(images) for tokenizer in tokenizers]
    assert tokenizers[0].config.n_embed == 512
    assert torch.equal(ids[0], ids[1])
    assert torch.equal(ids[0], ids[2])
    assert torch.equal(tokenizers[0].decode(ids[0]), tokenizers[1].decode(ids[0]))
    # and what we write has all names that the hub's class reads
    save_vision_tokenizer(tokenizers[0], tmp_path / "ours")
    written = json.loads((tmp_path / "ours" / "vision_tokenizer" / "config.json").read_text())
    size, codes, width, _ = golden_vision()
    assert written["codebook_size"] == codes
    assert written["embed_dim"] == width
    assert {name: written[name] for name in size.keys() - {"resolution", "attn_resolutions", "dropout"}} == {
        name: value
        for name, value in size.items()
        if name in written.keys() - {"resolution", "attn_resolutions"}
    }
    deepest = written["resolution"] // 2 ** (len(size["ch_mult"]) - 1)
    assert written["attn_resolutions"] == [deepest]


def test_the_safetensors_of_a_folder_with_both_are_taken(tmp_path):
    yaml_folder(tmp_path)
    hub_folder(tmp_path)
    (tmp_path / "model.ckpt").write_bytes(b"not needed")
    assert load_vision_tokenizer(tmp_path).config.n_embed == 512


def test_other_unexpected_tensors_of_a_pickle_are_an_error(tmp_path):
    yaml_folder(tmp_path, extra={"model_ema.decay": torch.zeros(1)})
    with pytest.raises(CheckpointError, match=r"model_ema.decay \[1\] is unexpected"):
        load_vision_tokenizer(tmp_path)


def test_half_precision_files_become_float32(tmp_path):
    hub_folder(tmp_path)
    tensors = {name: tensor.half() for name, tensor in load_file(tmp_path / "model.safetensors").items()}
    save_file(tensors, tmp_path / "model.safetensors")
    assert load_vision_tokenizer(tmp_path).quantize.embedding.weight.dtype == torch.float32
    kept = load_vision_tokenizer(tmp_path, dtype=None)
    assert kept.quantize.embedding.weight.dtype == torch.float16


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("n_embed: 512\nembed_dim: 32\n", "lacks ddconfig"),
        ("ddconfig: {ch: 32}\nembed_dim: 32\n", "lacks n_embed"),
        ("ddconfig: 5\nn_embed: 512\nembed_dim: 32\n", "ddconfig is 5, expected fields"),
        ("a: [", "is not YAML"),
        ("- 1\n", "holds a list"),
        ("ddconfig: {double_z: true}\nn_embed: 512\nembed_dim: 32\n", "double_z is True, which"),
        (
            "ddconfig: {attn_resolutions: [16, 8], resolution: 256}\nn_embed: 5\nembed_dim: 3\n",
            "attention at",
        ),
        ("ddconfig: {}\nn_embed: !!python/object/apply:os.getcwd []\nembed_dim: 3\n", "is not YAML"),
    ],
)
def test_a_wrong_config_yaml_is_named(tmp_path, text, words):
    yaml_folder(tmp_path)
    (tmp_path / "config.yaml").write_text(text)
    with pytest.raises(CheckpointError, match=words):
        load_vision_tokenizer(tmp_path)


def test_a_vision_folder_without_tensors_says_so(tmp_path):
    hub_folder(tmp_path)
    (tmp_path / "model.safetensors").unlink()
    with pytest.raises(CheckpointError, match=r"lacks model.safetensors"):
        load_vision_tokenizer(tmp_path)
    (tmp_path / "config.json").unlink()
    with pytest.raises(CheckpointError, match="put it there as .*vision_tokenizer, or name its folder"):
        load_vision_tokenizer(tmp_path)
