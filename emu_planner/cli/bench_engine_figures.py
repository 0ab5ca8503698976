"""The figures of `emu-planner bench engine`: how fast tokens come, beside what the device's memory allows.

Weights are random and made on the device, so no file is needed and no picture means anything: only
times and bytes do. Every ratio is of figures of the same run.
"""

import argparse
import gc
import importlib.util
import itertools
import json
import resource
import statistics
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import torch
from rich.console import Console
from rich.table import Table

from emu_planner.cli.bench_engine_model import (
    PIXELS,
    Bench,
    bytes_a_token,
    name_of,
    prepare,
    random_model,
    read_bandwidth,
    size_of,
    tokens_of,
    wait,
)
from emu_planner.engine import jacobi, raster
from emu_planner.engine.branches import Branches
from emu_planner.engine.graphs import DeviceDecoder, best_attention
from emu_planner.engine.kept import DeviceConfig
from emu_planner.engine.scheduler import Scheduler, SchedulerConfig


def run(args: argparse.Namespace, console: Console) -> int:
    """Measure, show, and write if asked."""
    config = size_of(args.config)
    device = torch.device(args.device or ("cuda" if torch.cuda.is_available() else "cpu"))
    sides = [pixels // PIXELS for pixels in args.pixels]
    if not all(sides):
        raise ValueError(f"--pixels {min(args.pixels)}: expected {PIXELS} or more, one token a side")
    began_s = time.perf_counter()
    model = random_model(config, device, getattr(torch, args.dtype))
    wait(device)
    figures: dict[str, Any] = {
        "config": args.config,
        "decoder": args.decoder,
        "device": name_of(device),
        "dtype": args.dtype,
        "context": args.context,
        "making weights, s": time.perf_counter() - began_s,
        "bandwidth, GB/s": read_bandwidth(device) / 1e9,
    }
    bench = prepare(model, args.context, sides[0])
    _one_session(args, bench, figures)
    if args.against is not None:
        other = {"bandwidth, GB/s": figures["bandwidth, GB/s"]}
        against = argparse.Namespace(**{**vars(args), "decoder": args.against, "profile": False})
        _one_session(against, bench, other)
        for name in ("ms/token", "words, ms/token"):
            figures[f"{args.against}: {name}"] = other[name]
            figures[f"times {args.against}: {name}"] = other[name] / figures[name]
    for side in sides:
        seconds = _picture_seconds(args, prepare(model, args.context, side))
        figures[f"keyframe of {side * PIXELS} px, s"] = seconds
    for count in args.sessions:
        if count > 1:
            try:
                figures[f"tokens/s, {count} sessions"] = _many(bench, count, args.steps)
            except ValueError as error:  # no room
                figures[f"tokens/s, {count} sessions"] = str(error)
    if not args.no_transformers and importlib.util.find_spec("transformers"):
        figures["transformers, ms/token"] = 1e3 * transformers_seconds(bench, args.steps)
        figures["times transformers"] = figures["transformers, ms/token"] / figures["ms/token"]
    figures["peak memory, GB"] = _peak(device)
    table = Table("figure", "value", title=f"engine, {args.config}, random weights")
    for name, value in figures.items():
        table.add_row(name, f"{value:.4g}" if isinstance(value, float) else str(value))
    console.print(table)
    if args.json:
        args.json.write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")
    return 0


def _decoder(args: argparse.Namespace, bench: Bench) -> tuple[Callable[..., Branches], Callable[..., Any]]:
    """What makes branches, and what generates."""
    if args.decoder == "raster":
        attend = best_attention(bench.model) if args.attention == "split" else None
        made = DeviceDecoder(bench.model, DeviceConfig(fused=False if args.no_fused else None), attend=attend)
        return made.branches, made.generate
    generate = jacobi.generate if args.decoder == "jacobi" else raster.generate
    return (lambda **more: Branches(bench.model, **more)), generate


def _one_session(args: argparse.Namespace, bench: Bench, figures: dict[str, Any]) -> None:
    """Milliseconds a code with guidance, once everything is warm, and their ratio to the ceiling."""
    new_branches, generate = _decoder(args, bench)
    v, device = bench.vocabulary, bench.model.lm_head.weight.device
    for again in range(2):  # the first one records and warms up
        branches = new_branches(capacity=bench.capacity, unconditional=bench.unconditional)
        began_s, times = time.perf_counter(), []
        codes = (t for t in tokens_of(bench, branches, generate, 1) if t.id >= v.first_visual)
        for _ in itertools.islice(codes, min(args.steps, bench.side**2)):
            times.append(time.perf_counter())
        if not again:
            figures["first answer's first code, s"] = times[0] - began_s
        del codes, branches
    wait(device)
    figures["prompt and first code, s"] = times[0] - began_s
    # steps come some at a time, so between two codes there is nothing or much: the mean counts
    figures["ms/token"] = 1e3 * (times[-1] - times[0]) / max(1, len(times) - 1)
    figures["tokens/s, 1 session"] = 1e3 / figures["ms/token"]
    figures["words, ms/token"] = _words_ms(bench, new_branches, generate, args.steps)
    ceiling_ms = 1e3 * bytes_a_token(bench) / (figures["bandwidth, GB/s"] * 1e9)
    figures["ceiling, ms/token"] = ceiling_ms
    figures["share of the ceiling"] = ceiling_ms / figures["ms/token"]
    if args.profile:
        figures["profile"] = _profile(bench, new_branches, generate)


def _words_ms(
    bench: Bench, new_branches: Callable[..., Branches], generate: Callable[..., Any], steps: int
) -> float:
    """Milliseconds a word once all is warm: one row, no guidance. Random weights hardly ever end a text."""
    words = replace(bench, prompt=bench.prompt[:-1])
    branches = new_branches(capacity=bench.capacity + steps, unconditional=bench.unconditional)
    tokens = tokens_of(words, branches, generate, 1)
    for _ in itertools.islice(tokens, 3):
        pass
    began_s = time.perf_counter()
    count = sum(1 for _ in itertools.islice(tokens, steps))
    return 1e3 * (time.perf_counter() - began_s) / count


def _profile(bench: Bench, new_branches: Callable[..., Branches], generate: Callable[..., Any]) -> str:
    """Kernels of some tokens, by the time that they take in all."""
    from torch.profiler import profile

    branches = new_branches(capacity=bench.capacity, unconditional=bench.unconditional)
    codes = (t for t in tokens_of(bench, branches, generate, 1) if t.id >= bench.vocabulary.first_visual)
    next(codes)
    with profile() as profiled:
        for _ in itertools.islice(codes, 16):
            pass
        wait(bench.model.lm_head.weight.device)
    key = "self_cuda_time_total" if bench.model.lm_head.weight.is_cuda else "self_cpu_time_total"
    return str(profiled.key_averages().table(sort_by=key, row_limit=30, max_name_column_width=60))


def _picture_seconds(args: argparse.Namespace, bench: Bench) -> float:
    """Seconds from a prompt that has been read to a picture's last code."""
    new_branches, generate = _decoder(args, bench)
    for _ in range(2):
        branches = new_branches(capacity=bench.capacity, unconditional=bench.unconditional)
        codes = (t for t in tokens_of(bench, branches, generate, 2) if t.id >= bench.vocabulary.first_visual)
        next(codes)
        began_s = time.perf_counter()
        for _ in itertools.islice(codes, bench.side**2 - 1):
            pass
        seconds = time.perf_counter() - began_s
        del codes, branches
        if seconds > 20:  # long enough for any warming up not to matter
            break
    return seconds * bench.side**2 / max(1, bench.side**2 - 1)


def _many(bench: Bench, count: int, steps: int) -> float:
    """Tokens a second of all sessions together, once all have begun."""
    scheduler = Scheduler(bench.model, SchedulerConfig(cells=2 * count * (bench.capacity + 16)))
    times: list[list[float]] = [[] for _ in range(count)]

    def session(index: int) -> None:
        rows = scheduler.branches(capacity=bench.capacity, unconditional=bench.unconditional)
        tokens = tokens_of(bench, rows, scheduler.generate, index)
        codes = (t for t in tokens if t.id >= bench.vocabulary.first_visual)
        for _ in itertools.islice(codes, min(steps, bench.side**2)):
            times[index].append(time.perf_counter())

    with ThreadPoolExecutor(count) as threads:
        list(threads.map(session, range(count)))
    begin, end = max(t[0] for t in times), max(t[-1] for t in times)
    done = sum(begin < at <= end for own in times for at in own)
    return done / (end - begin) if end > begin else float("nan")


def transformers_seconds(bench: Bench, steps: int) -> float:
    """Median seconds a token of a plain loop around transformers' Qwen3ForCausalLM, on our weights."""
    from transformers import DynamicCache, Qwen3Config, Qwen3ForCausalLM

    own = bench.model
    fields = {name: getattr(own.config, name) for name in vars(own.config) if name != "rope_theta"}
    theta = {"rope_type": "default", "rope_theta": own.config.rope_theta}
    config = Qwen3Config(**fields, rope_parameters=theta, tie_word_embeddings=False)
    with torch.device("meta"):
        theirs = Qwen3ForCausalLM(config)
    theirs.load_state_dict(own.state_dict(), assign=True)  # the same memory
    device = own.lm_head.weight.device
    with device:  # what is in no checkpoint
        theirs.model.rotary_emb = type(theirs.model.rotary_emb)(config=config)
    image = bench.decoding.image
    first, times = bench.vocabulary.first_visual, []
    ids = torch.tensor([bench.prompt, bench.prompt], device=device)
    with torch.inference_mode():
        cache = DynamicCache(config=config)
        for _ in range(min(steps, 16) + 2):
            began_s = time.perf_counter()
            logits = (
                theirs(ids, past_key_values=cache, use_cache=True, logits_to_keep=1).logits[:, -1].float()
            )
            conditional, unconditional = logits.log_softmax(dim=-1)
            scores = unconditional + bench.decoding.guidance_scale * (conditional - unconditional)
            scores[:first] = -torch.inf
            scores = scores.masked_fill(scores < scores.topk(image.top_k).values[-1], -torch.inf)
            token = int(scores.softmax(dim=-1).multinomial(1))
            ids = torch.full((2, 1), token, device=device)
            times.append(time.perf_counter() - began_s)
    return statistics.median(times[2:])


def _peak(device: torch.device) -> float:
    gc.collect()
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 1e9
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9
