"""The scheduler's thread and its readers' threads; planner and generator on a shared model.

The model is in float64 here: which sessions share a pass depends on how threads run, and float64 leaves
no rounding that could change a token.
"""

import copy
import itertools
import random
import subprocess
import sys
import threading
from dataclasses import replace

import numpy as np
import pytest
import torch

from emu_planner.engine.config import PlannerConfig
from emu_planner.engine.generator import Generator
from emu_planner.engine.grammar import Grammar
from emu_planner.engine.planner import EmuPlanner
from emu_planner.engine.raster import Decoding
from emu_planner.engine.request import Request, Settings
from emu_planner.engine.sampler import Sampler, Sampling
from emu_planner.engine.scheduler import Scheduler, SchedulerConfig
from emu_planner.model.checkpoint import CheckpointError
from emu_planner.plan import (
    ErrorCode,
    FinishReason,
    Frame,
    Generation,
    Observation,
    PlanComplete,
    PlanError,
    Still,
    Stop,
    Task,
    collect,
)
from tests.engine.conftest import CONFIG, INSTRUCTION
from tests.engine.shared import CAPACITY, VOCABULARY, alone, random_ask, random_model, told
from tests.engine.test_batcher import GUIDED, LONG
from tests.engine.test_raster import CASES, GREEDY, size_of

V = VOCABULARY
HOT = Sampling(temperature=3.0)


@pytest.fixture(scope="module")
def model():
    return random_model(torch.float64)


@pytest.fixture(autouse=True)
def _others_have_ended():
    wait_until(lambda: not engine_threads())


def start(scheduler, ask, **more):
    return scheduler.generate(
        scheduler.branches(**ask.rows), *ask.arguments(), boi=V.boi, ends=ask.ends, **more
    )


def make(model, sessions=4, **more):
    return Scheduler(model, SchedulerConfig(cells=sessions * 3 * CAPACITY, **more))


def at_once(functions):
    """What each returns, run in threads; the first error is raised."""
    results, errors = {}, []

    def work(number, function):
        try:
            results[number] = function()
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=work, args=item) for item in enumerate(functions)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]
    return [results[number] for number in range(len(functions))]


def wait_until(condition):
    done = threading.Event()
    while not condition():
        done.wait(0.005)


def engine_threads():
    return [thread for thread in threading.enumerate() if thread.name == "emu-planner-engine"]


def test_threads_get_the_tokens_they_have_alone(model):
    rng, scheduler = random.Random(11), make(model, queue_tokens=3)
    asks = [random_ask(rng) for _ in range(16)]
    found = at_once([lambda ask=ask: told(start(scheduler, ask), ask) for ask in asks])
    assert found == [alone(model, ask) for ask in asks]
    # the thread has gone with the last session, and all memory is back
    wait_until(lambda: not engine_threads())
    assert scheduler.batcher.arena.free == scheduler.batcher.arena.cells


def test_published_generations_all_at_once(published, published_vocabulary):
    v = published_vocabulary
    scheduler = Scheduler(published, SchedulerConfig(cells=8 * 256))

    def tokens(case):
        found = scheduler.generate(
            scheduler.branches(capacity=256, unconditional=case["unc_prompt_ids"]),
            Grammar(v, size_of(case)),
            Sampler(0),
            Decoding(GREEDY, GREEDY, case["cfg"]),
            case["prompt_ids"],
            boi=v.boi,
        )
        return [token.id for token in itertools.islice(found, case["max_new_tokens"])]

    found = at_once([lambda case=case: tokens(case) for case in CASES])
    assert found == [case["output_ids"] for case in CASES]


def test_a_session_begins_with_its_first_token_and_ends_when_its_iterator_is_closed(model):
    scheduler = make(model)
    tokens = start(scheduler, LONG)
    assert not engine_threads()
    next(tokens)
    assert engine_threads()
    tokens.close()
    wait_until(lambda: not engine_threads())
    assert not scheduler.batcher.sessions
    ask = replace(LONG, seed=4)  # and the next one starts it again
    assert told(start(scheduler, ask), ask) == alone(model, ask)


def test_a_reader_that_never_reads_stalls_nobody(model):
    scheduler = make(model, queue_tokens=2)
    idle = start(scheduler, GUIDED)
    next(idle)
    asks = [replace(GUIDED, seed=seed) for seed in range(3)]
    found = at_once([lambda ask=ask: told(start(scheduler, ask), ask) for ask in asks])
    assert found == [alone(model, ask) for ask in asks]
    assert scheduler.batcher.sessions
    idle.close()
    wait_until(lambda: not engine_threads())


@pytest.mark.parametrize("waiting", [False, True], ids=["running", "waiting for memory"])
def test_a_stop_ends_a_reader_that_waits(model, waiting):
    stop, scheduler = Stop(), make(model, sessions=1)
    holder = start(scheduler, replace(GUIDED, imageless=(V.bos, V.bss)))
    if waiting:
        next(holder)
    asked = []

    def stopped():
        asked.append(True)
        if len(asked) == 8:
            stop.request()
        return stop.requested

    said = list(start(scheduler, LONG, stopped=stopped))
    assert (len(said) == 0) == waiting
    assert len(said) < 60
    holder.close()
    wait_until(lambda: not engine_threads())


def test_who_can_never_fit_is_told_with_his_first_token(model):
    tokens = start(make(model), replace(LONG, capacity=4000))
    with pytest.raises(PlanError, match="more than the 1920 that all sessions share") as caught:
        next(tokens)
    assert caught.value.code is ErrorCode.RESOURCE_EXHAUSTED


def test_a_defect_outside_a_pass_does_not_leave_readers_waiting(model, monkeypatch):
    scheduler = make(model)
    monkeypatch.setattr(scheduler.batcher, "_fill_pass", lambda: 1 / 0)
    with pytest.raises(RuntimeError, match="ZeroDivisionError"):
        list(start(scheduler, LONG))
    monkeypatch.undo()
    assert told(start(scheduler, LONG), LONG) == alone(model, LONG)


def test_a_process_may_end_amid_a_session():
    code = (
        "import sys\n"
        "from tests.engine.test_scheduler import LONG, make, random_model, start\n"
        "tokens = start(make(random_model()), LONG)\n"
        "next(tokens)\n"
        "print('left', flush=True)\n"
    )
    for _ in range(2):
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
        assert (done.returncode, done.stdout, done.stderr) == (0, "left\n", "")


# ---- planner -----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def exact(parts):
    """The tiny checkpoint that knows a plan, in float64."""
    return copy.deepcopy(parts[0]).double(), *parts[1:]


HOT_CONFIG = replace(CONFIG, guidance_scale=2.0, image=HOT)


@pytest.fixture(scope="module")
def planners(exact):
    return EmuPlanner(*exact, HOT_CONFIG), EmuPlanner(*exact, HOT_CONFIG, plans=3)


def report(planner, frames, seed, **asked):
    events = planner.plan(Task(INSTRUCTION, Generation(seed=seed, **asked)), frames)
    return collect(INSTRUCTION, events)


def test_plans_at_once_are_those_made_alone(planners, frames):
    own, shared = planners
    found = at_once([lambda seed=seed: report(shared, frames, seed) for seed in range(7)])
    assert found == [report(own, frames, seed) for seed in range(7)]
    pictures = {one.steps[0].keyframe.rgb.tobytes() for one in found if one.steps}
    assert len(pictures) > 1, "seeds must matter"
    wait_until(lambda: not engine_threads())


def test_a_plan_that_ends_early_gives_its_memory_back_at_once(planners, frames):
    _, shared = planners
    events = shared.plan(Task(INSTRUCTION, Generation(seed=1, max_subgoals=1)), frames)
    for event in events:
        if isinstance(event, PlanComplete):
            assert event.reason is FinishReason.LENGTH
            break
    # `events` still lives
    wait_until(lambda: not engine_threads())
    assert not shared._scheduler.batcher.sessions


def test_timing_counts_what_was_known_and_what_waiting_took(exact, frames):
    shared = EmuPlanner(*exact, CONFIG, plans=2)
    first, again = (report(shared, frames, seed=1).timing for _ in range(2))
    assert first.cached_tokens == 0
    assert first.prompt_tokens // 16 * 16 - 16 <= again.cached_tokens < again.prompt_tokens
    assert again.cached_tokens % 16 == 0
    assert min(again.queue_s, again.prefill_s) > 0
    assert again.generated_tokens == first.generated_tokens


def test_another_frame_shares_the_instruction_only(exact, frames):
    shared, own = EmuPlanner(*exact, CONFIG, plans=2), EmuPlanner(*exact, CONFIG)
    pixels = np.random.default_rng(8).integers(0, 256, (2, 32, 32, 3), dtype=np.uint8)
    moved = Still(Observation((Frame(pixels[0], "front"), Frame(pixels[1], "side"))))
    report(shared, frames, seed=1)
    found = report(shared, moved, seed=1)
    assert found == report(own, moved, seed=1)
    assert 0 < found.timing.cached_tokens < found.timing.prompt_tokens - 8


def test_the_jacobi_decoder_gives_way_where_plans_are_shared(exact, planners, frames):
    jacobi = replace(HOT_CONFIG, decoder="jacobi")
    shared = EmuPlanner(*exact, jacobi, plans=2)
    assert (
        report(shared, frames, 3)
        == report(planners[0], frames, 3)
        == report(EmuPlanner(*exact, jacobi), frames, 3)
    )


def test_a_stopped_plan_is_interrupted(planners, frames):
    stop = Stop()
    events = planners[1].plan(Task(INSTRUCTION, Generation(seed=1)), frames, stop=stop)
    next(events)
    stop.request()
    assert [event.reason for event in events] == [FinishReason.INTERRUPTED]


def test_a_full_context_ends_a_shared_plan_as_it_does_its_own(exact, frames):
    prompt = report(EmuPlanner(*exact, CONFIG), frames, 1).timing.prompt_tokens
    small = replace(CONFIG, context=prompt + 30)  # the first step and a part of the second
    own, shared = EmuPlanner(*exact, small), EmuPlanner(*exact, small, plans=2)
    found = report(shared, frames, 1)
    assert found == report(own, frames, 1)
    assert (found.reason, len(found.steps)) == ("length", 1)


def test_more_plans_than_memory_has_room_for_are_refused_at_the_start(exact):
    huge = PlannerConfig(**{**vars(CONFIG), "context": 2**30})
    with pytest.raises(CheckpointError, match=r"4096 plans at once: .* GiB on cpu"):
        EmuPlanner(*exact, huge, plans=4096)


# ---- generator ---------------------------------------------------------------------------------


def test_answers_at_once_are_those_made_alone(exact):
    model, vision, tokenizer = exact
    scheduler = Scheduler(model, SchedulerConfig(cells=3 * 3 * 256))
    own, shared = Generator(model, vision, tokenizer), Generator(*exact, scheduler=scheduler)
    rgb = np.random.default_rng(0).integers(0, 256, (32, 64, 3), dtype=np.uint8)
    requests = [
        Request(
            "vla",
            INSTRUCTION,
            (rgb,),
            Settings(
                classifier_free_guidance=guidance,
                unconditional_type="no_text_img_cfg",
                image_cfg_scale=scale,
                text_top_k=1,
                image_temperature=3.0,
                image_area=2048,
                max_new_tokens=60,
            ),
        )
        for guidance, scale in ((1.0, 1.0), (2.0, 1.0), (2.0, 1.5), (3.0, 2.0))
    ]
    found = at_once([lambda one=one: list(shared.generate(one, seed=5)) for one in requests])
    assert found == [list(own.generate(one, seed=5)) for one in requests]
    wait_until(lambda: not engine_threads())
