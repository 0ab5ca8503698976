"""Plans and generations on a GPU: recorded passes give the plain decoder's, from request to request."""

import copy
import gc
import random
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
import torch

from emu_planner.engine.branches import Branches
from emu_planner.engine.generator import Generator
from emu_planner.engine.graphs import DeviceConfig, DeviceDecoder, best_attention
from emu_planner.engine.planner import EmuPlanner
from emu_planner.engine.raster import generate
from emu_planner.engine.sampler import Sampler, Sampling
from emu_planner.plan import FinishReason, Generation, KeyframeProgress, PlanComplete, Stop, Task, collect
from tests.engine.alike import check_alike, check_generations, plan_of
from tests.engine.conftest import CONFIG, INSTRUCTION, SUBGOALS
from tests.engine.shared import VOCABULARY, random_ask, random_model, told

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="torch finds no CUDA device"),
]
HOT = replace(CONFIG, guidance_scale=2.0, image=Sampling(temperature=3.0))


def moved(parts, device="cuda"):
    model, vision, tokenizer = parts
    return copy.deepcopy(model).to(device), copy.deepcopy(vision).to(device), tokenizer


@pytest.fixture(scope="module")
def on_gpu(parts):
    return moved(parts)


@pytest.fixture(scope="module")
def planners(on_gpu):
    """One with recorded passes, and a plain one."""
    return recording(on_gpu), EmuPlanner(*on_gpu, HOT)


def recording(parts, config=HOT):
    return EmuPlanner(*parts, config, graphs=True)


def report(planner, frames, seed, **asked):
    events = planner.plan(Task(INSTRUCTION, Generation(seed=seed, **asked)), frames)
    return collect(INSTRUCTION, events)


def test_what_is_recorded(planners, frames):
    recorded, plain = planners
    assert isinstance(recorded._decoder, DeviceDecoder)
    assert not isinstance(plain._decoder, DeviceDecoder)
    report(recorded, frames, 1)
    # words; codes within a row, and after a row's end
    assert len(recorded._decoder._memory._workshop.recordings._known) == 3


def test_plan_after_plan_is_the_plain_one(planners, frames):
    recorded, plain = planners
    found = []
    for seed in range(4):
        for asked in ({}, {"guidance_scale": 1.0}, {"max_subgoals": 1}, {"temperature": 0.0}):
            made = plan_of(recorded, frames, seed, **asked)
            check_alike(made, plan_of(plain, frames, seed, **asked), (seed, asked))
            found.append(made.report)
    assert tuple(step.subgoal for step in found[0].steps) == SUBGOALS
    assert len({made.steps[0].keyframe.rgb.tobytes() for made in found[::4]}) > 1, "seeds must matter"


def test_three_plans_at_once_while_recordings_are_made(on_gpu, planners, frames):
    for _ in range(3):
        recorded = recording(on_gpu)
        begin = threading.Barrier(3)

        def plan(seed, recorded=recorded, begin=begin):
            if seed < 3:
                begin.wait(60)
            return plan_of(recorded, frames, seed, guidance_scale=(1.0, 2.0, 3.0)[seed % 3])

        with ThreadPoolExecutor(3) as threads:
            found = list(threads.map(plan, range(12)))
        for seed, made in enumerate(found):
            scale = (1.0, 2.0, 3.0)[seed % 3]
            check_alike(made, plan_of(planners[1], frames, seed, guidance_scale=scale), (seed, scale))


def test_memory_does_not_grow_from_plan_to_plan(on_gpu, frames):
    recorded = recording(on_gpu)

    def plans(count):
        for seed in range(count):
            report(recorded, frames, seed, guidance_scale=(1.0, 2.0)[seed % 2])
        gc.collect()
        torch.cuda.synchronize()
        return torch.cuda.memory_allocated(), torch.cuda.memory_reserved()

    before, after = plans(4), plans(20)
    # keys and values of each of the 20 plans would take 2^20 bytes
    assert after[0] - before[0] < 2**19
    assert after[1] - before[1] < 2**23


def test_memory_goes_with_the_planner(on_gpu, planners, frames):
    report(planners[0], frames, 1)  # what libraries keep for good is there
    gc.collect()
    before = torch.cuda.memory_allocated()
    recorded = recording(on_gpu)
    report(recorded, frames, 1)
    held = torch.cuda.memory_allocated() - before
    assert held >= 2**20
    del recorded
    assert torch.cuda.memory_allocated() - before < held / 10


def test_changing_requests_replace_the_oldest_recordings(on_gpu, planners, frames):
    recorded = recording(on_gpu)
    recorded._decoder = DeviceDecoder(on_gpu[0], DeviceConfig(recordings=1), attend=best_attention(on_gpu[0]))
    for seed, scale in enumerate((2.0, 1.0, 3.0, 2.0)):
        asked = {"guidance_scale": scale, "max_subgoals": 1}
        plain = plan_of(planners[1], frames, seed, **asked)
        check_alike(plan_of(recorded, frames, seed, **asked), plain, asked)
        assert len(recorded._decoder._memory._workshop.recordings._known) == 1


def test_a_stop_inside_a_picture_ends_the_plan(planners, frames):
    recorded, plain = planners
    stop, reasons = Stop(), []
    for event in recorded.plan(Task(INSTRUCTION, Generation(seed=1)), frames, stop=stop):
        if isinstance(event, KeyframeProgress):
            stop.request()
        if isinstance(event, PlanComplete):
            reasons.append(event.reason)
    assert reasons == [FinishReason.INTERRUPTED]
    check_alike(plan_of(recorded, frames, 2), plan_of(plain, frames, 2))


@pytest.mark.parametrize("room", [8, 20, 30])
def test_a_full_context_ends_the_plan_where_it_ends_the_plain_one(on_gpu, planners, frames, room):
    prompt = report(planners[1], frames, 1).timing.prompt_tokens
    small = replace(HOT, context=prompt + room)
    found = plan_of(recording(on_gpu, small), frames, 1)
    check_alike(found, plan_of(EmuPlanner(*on_gpu, small), frames, 1))
    assert found.report.reason == FinishReason.LENGTH.value


def test_generations_of_all_kinds_are_the_plain_ones(on_gpu):
    recorded = Generator(*on_gpu, graphs=True)
    assert isinstance(recorded._decoder, DeviceDecoder)
    check_generations(recorded, Generator(*on_gpu))


@pytest.mark.parametrize("fused", [False, True], ids=["layers", "fused"])
@pytest.mark.parametrize("split", [False, True], ids=["model-attention", "split-attention"])
def test_answer_after_answer_has_the_plain_decoders_tokens(split, fused):
    """Texts, images, with and without guidance, full contexts; slots shown grow with the answer."""
    model, rng = random_model().cuda(), random.Random(1)
    attend = best_attention(model) if split else None
    if split and attend is None:
        pytest.skip("no split attention here")
    decoder = DeviceDecoder(model, DeviceConfig(bucket=32, fused=fused), attend=attend)

    def said(ask, decode, branches):
        grammar, _, decoding, prompt = ask.arguments()
        sampler = Sampler(ask.seed, "cuda")
        tokens = decode(branches, grammar, sampler, decoding, prompt, boi=VOCABULARY.boi, ends=ask.ends)
        return told(tokens, ask)

    for ask in [random_ask(rng) for _ in range(30)]:
        found = said(ask, decoder.generate, decoder.branches(**ask.rows))
        assert found == said(ask, generate, Branches(model, **ask.rows))


@pytest.mark.skipif(torch.cuda.device_count() < 2, reason="torch finds no second CUDA device")
def test_another_device_than_the_first(parts, planners, frames):
    recorded = recording(moved(parts, "cuda:1"))
    assert isinstance(recorded._decoder, DeviceDecoder)
    for seed in (1, 2):
        check_alike(plan_of(recorded, frames, seed), plan_of(planners[1], frames, seed), seed)
