"""Memory and time of loading a checkpoint, beside the naive way: `python tools/measure_load.py`.

Writes a random model in the published layout, then loads it in fresh processes, in turns: as this package
does, and naively (all shards into one state dictionary, which is copied into a model that is in memory
already). Peak memory is the kernel's high-water mark of the process, files that it maps included, from
after the imports on. The files have just been written: where they fit in memory, no disk is measured.
Needs requirements/dev.txt.
"""

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import torch
from rich.console import Console
from rich.progress import track
from rich.table import Table
from torch import Tensor

from emu_planner.model import tensor_files, tensor_io
from emu_planner.model.blank import blank
from emu_planner.model.checkpoint import load_transformer
from emu_planner.model.config_files import read_transformer_config, write_transformer_config
from emu_planner.model.transformer import Transformer, TransformerConfig

WAYS = ("ours", "naive")
_VOCABULARY = 282926
_HEAD_DIM, _KV_HEADS = 128, 8


def config_of(hidden: int, layers: int, vocabulary: int = _VOCABULARY) -> TransformerConfig:
    """A model of the published proportions; hidden 5120 and 64 layers: the published one."""
    heads = max(1, round(hidden / 80 / _KV_HEADS)) * _KV_HEADS
    return TransformerConfig(
        vocabulary, hidden, 5 * hidden, layers, heads, _KV_HEADS, _HEAD_DIM, rms_norm_eps=1e-5
    )


def write_model(folder: Path, config: TransformerConfig, shard_bytes: int) -> int:
    """Write random tensors in bfloat16, one at a time; returns their bytes."""
    with blank():
        shapes = {name: list(tensor.shape) for name, tensor in Transformer(config).state_dict().items()}
    size = 2 * sum(torch.Size(shape).numel() for shape in shapes.values())
    free = shutil.disk_usage(folder).free
    if size * 1.05 > free:
        raise SystemExit(f"the model takes {size / 1e9:.1f} GB, {folder} has {free / 1e9:.1f} GB free")
    generator = torch.Generator().manual_seed(0)
    names = iter(track(shapes, "writing", console=Console(stderr=True)))

    def make(name: str) -> Tensor:
        assert next(names) == name
        return torch.empty(shapes[name], dtype=torch.bfloat16).normal_(std=0.02, generator=generator)

    tensor_io.write(folder, shapes, lambda _: torch.bfloat16, make, shard_bytes)
    next(names, None)
    write_transformer_config(config, folder, "bfloat16")
    return size


def load_naively(folder: Path, device: str) -> Transformer:
    """What one would write first."""
    from safetensors.torch import load_file

    with blank():
        model = Transformer(read_transformer_config(folder))
    model.to(torch.bfloat16).to_empty(device=device)
    tensors: dict[str, Tensor] = {}
    for path in sorted({stored.path for stored in tensor_files.find(folder).values()}):
        tensors |= load_file(path)
    model.load_state_dict(tensors)
    return model.eval()


def measure_here(way: str, folder: Path, device: str) -> dict[str, float]:
    """Load in this process: seconds, and peak memory in bytes beyond what the imports took."""
    import safetensors.torch  # noqa: F401 - so that both ways begin with the same imports

    before = _memory("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")  # the high-water mark begins anew
    begun_s = time.perf_counter()
    load = load_transformer if way == "ours" else load_naively
    model = load(folder, device=device)
    seconds = time.perf_counter() - begun_s
    peak = _memory("VmHWM") - before
    assert model.lm_head.weight[-1].isfinite().all()
    return {"seconds": seconds, "peak": peak, "imports": before}


def _memory(field: str) -> float:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(1024.0 * int(line.split()[1]) for line in lines if line.startswith(f"{field}:"))


def measure(folder: Path, size: int, device: str, repeats: int, console: Console) -> None:
    """Run both ways in turns and print them."""
    runs: dict[str, list[dict[str, float]]] = {way: [] for way in WAYS}
    for _ in range(repeats):
        for way in WAYS:
            words = [sys.executable, __file__, "--measure", way, "--folder", str(folder), "--device", device]
            done = subprocess.run(words, capture_output=True, text=True, check=False)
            if done.returncode:
                raise SystemExit(f"{way} ended with {done.returncode}: {done.stderr[-2000:]}")
            runs[way].append(json.loads(done.stdout))
    table = Table("", "peak memory, GB", "of the files", "seconds, median (min to max)")
    middle = {}
    for way in WAYS:
        peak = max(run["peak"] for run in runs[way])
        seconds = sorted(run["seconds"] for run in runs[way])
        middle[way] = (peak, seconds[len(seconds) // 2])
        times = f"{middle[way][1]:.2f} ({seconds[0]:.2f} to {seconds[-1]:.2f})"
        table.add_row(way, f"{peak / 1e9:.2f}", f"{peak / size:.3f}", times)
    ratios = [naive / ours for naive, ours in zip(middle["naive"], middle["ours"], strict=True)]
    table.add_row("naive / ours", f"{ratios[0]:.2f}", "", f"{ratios[1]:.2f}")
    console.print(f"{size / 1e9:.2f} GB of tensors, {repeats} runs each on {device}")
    console.print(table)
    console.print(f"imports took {runs['ours'][0]['imports'] / 1e9:.2f} GB before, not counted above")


def main() -> None:
    """Write, measure, delete."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--hidden", type=int, default=1536, help="width (default: %(default)s)")
    parser.add_argument("--layers", type=int, default=16, help="layers (default: %(default)s)")
    parser.add_argument("--vocabulary", type=int, default=_VOCABULARY, help="ids (default: %(default)s)")
    parser.add_argument("--full", action="store_true", help="the published size: 34.1 B, 68 GB on disk")
    parser.add_argument("--shard-gb", type=float, default=1.0, help="size of a file (default: %(default)s)")
    parser.add_argument("--device", default="cpu", help="where to load (default: %(default)s)")
    parser.add_argument("--repeats", type=int, default=3, help="runs of each way (default: %(default)s)")
    parser.add_argument("--folder", type=Path, help="where to write (default: a temporary folder)")
    parser.add_argument("--measure", choices=WAYS, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.measure:
        print(json.dumps(measure_here(args.measure, args.folder, args.device)))
        return
    config = config_of(5120, 64) if args.full else config_of(args.hidden, args.layers, args.vocabulary)
    if args.folder:
        args.folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=args.folder, prefix="measure-load-") as folder:
        size = write_model(Path(folder), config, int(args.shard_gb * 1e9))
        measure(Path(folder), size, args.device, args.repeats, Console())


if __name__ == "__main__":
    main()
