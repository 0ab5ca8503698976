"""EmuPlanner: events, steps, limits and faults, with a real tiny model that knows one plan."""

import contextlib
from dataclasses import replace

import numpy as np
import pytest
import torch

from emu_planner.engine import picture
from emu_planner.engine.config import PlannerConfig
from emu_planner.engine.planner import EmuPlanner
from emu_planner.engine.sampler import Sampling
from emu_planner.model.checkpoint import CheckpointError, save_transformer, save_vision_tokenizer
from emu_planner.model.ibq import VisionTokenizer
from emu_planner.model.text import train_bpe, write_folder
from emu_planner.plan import (
    ErrorCode,
    FinishReason,
    Frame,
    Generation,
    KeyframeProgress,
    Observation,
    Outcome,
    PlanComplete,
    PlanError,
    PlanStarted,
    Step,
    StepComplete,
    StepOutcome,
    Stop,
    Task,
    TextDelta,
    collect,
)
from tests.engine.conftest import CONFIG, INSTRUCTION, SUBGOALS

ROWS, COLUMNS = 2, 4


def events_of(planner, frames, history=(), stop=None, **asked):
    task = Task(INSTRUCTION, Generation(seed=1, **asked))
    return list(planner.plan(task, frames, history, stop=stop))


def steps_of(events):
    return [event.step for event in events if isinstance(event, StepComplete)]


def test_a_whole_plan(planner, frames):
    events = events_of(planner, frames)
    assert events[0] == PlanStarted(observation_seq=3, seed=1, observation_stamp_s=5.0)
    steps = steps_of(events)
    assert [(step.index, step.subgoal) for step in steps] == list(enumerate(SUBGOALS))
    assert all(step.keyframe.rgb.shape == (32, 64, 3) for step in steps)
    assert all(step.keyframe.views == ("front", "side") for step in steps)
    assert all(0.5 < step.confidence <= 1 for step in steps)
    assert events[-1].reason is FinishReason.STOP


def test_words_and_rows_come_before_the_step(planner, frames):
    events = events_of(planner, frames, max_subgoals=1)[1:-1]
    said = [event for event in events if isinstance(event, TextDelta)]
    assert "".join(event.text for event in said) == SUBGOALS[0]
    assert len(said) > 1
    rows = [KeyframeProgress(0, COLUMNS * (row + 1), ROWS * COLUMNS) for row in range(ROWS)]
    assert events[len(said) : -1] == rows
    assert isinstance(events[-1], StepComplete)


def test_the_keyframe_is_the_decoded_grid(planner, parts, frames):
    keyframe = steps_of(events_of(planner, frames))[0].keyframe
    imagined = np.random.default_rng(1).integers(0, 32, (2, ROWS, COLUMNS))[0]
    assert picture.decode(parts[1], imagined, CONFIG.views) == keyframe


def test_timing_adds_up(planner, frames):
    events = events_of(planner, frames)
    whole = events[-1].timing
    parts = [event.timing for event in events if isinstance(event, StepComplete)]
    assert parts[0].prompt_tokens == whole.prompt_tokens > 0
    assert parts[1].prompt_tokens == 0
    # both steps, then ESS
    assert sum(part.generated_tokens for part in parts) + 1 == whole.generated_tokens
    assert whole.prefill_s > 0
    assert min(whole.text_s, whole.keyframe_s, whole.decode_s) > 0


def test_the_limit_of_subgoals(planner, frames):
    events = events_of(planner, frames, max_subgoals=1)
    assert [step.subgoal for step in steps_of(events)] == [SUBGOALS[0]]
    assert events[-1].reason is FinishReason.LENGTH


def test_without_keyframes_the_words_stay_the_same(planner, frames):
    events = events_of(planner, frames, keyframes=False)
    assert [step.subgoal for step in steps_of(events)] == list(SUBGOALS)
    assert all(step.keyframe is None for step in steps_of(events))
    assert not any(isinstance(event, KeyframeProgress) for event in events)
    assert events[-1].reason is FinishReason.STOP


def test_without_keyframes_the_last_image_is_not_even_generated(planner, frames):
    timing = events_of(planner, frames, keyframes=False, max_subgoals=1)[-1].timing
    assert timing.keyframe_s == 0
    assert timing.generated_tokens <= CONFIG.max_subgoal_tokens


def test_numbers_go_on_after_the_history(planner, frames):
    history = [StepOutcome(Step(index, "x"), Outcome.SUCCEEDED) for index in (0, 4)]
    events = events_of(planner, frames, history, max_subgoals=2)
    assert [step.index for step in steps_of(events)] == [5, 6]
    assert events[-1].reason is FinishReason.LENGTH


def test_the_prompt_tells_what_was_reached_where_the_model_can_read_it(parts, frames):
    outcomes = (Outcome.SUCCEEDED, Outcome.FAILED, Outcome.SUCCEEDED, Outcome.SKIPPED)
    words = ("first", "failed", "third", "skipped")
    past = [StepOutcome(Step(i, words[i]), outcome) for i, outcome in enumerate(outcomes)]
    assert "done" not in prompt_of(parts, frames, past, history=0)
    assert f"{INSTRUCTION}. done: third" in prompt_of(parts, frames, past, history=1)
    whole = prompt_of(parts, frames, past, history=5)
    assert f"{INSTRUCTION}. done: first, third" in whole
    assert not {"failed", "skipped"} & set(whole.split())


def prompt_of(parts, frames, past, *, history):
    """The words of the prompt that a plan with this past begins with."""
    planner = EmuPlanner(*parts, replace(CONFIG, history=history))
    decode, prompts = planner._decoder.generate, []

    def watch(branches, grammar, sampler, decoding, prompt, **more):
        prompts.append(planner.tokenizer.decode(prompt, skip_special_tokens=True))
        return decode(branches, grammar, sampler, decoding, prompt, **more)

    planner._decoder.generate = watch
    # the model knows one plan, and not what follows another prompt
    with contextlib.suppress(PlanError):
        events_of(planner, frames, past, max_subgoals=1)
    return prompts[0]


def test_a_stop_ends_the_stream_between_tokens(planner, frames):
    stop, events = Stop(), []
    for event in planner.plan(Task(INSTRUCTION), frames, stop=stop):
        events.append(event)
        if isinstance(event, TextDelta):
            stop.request()
    assert [type(event) for event in events] == [PlanStarted, TextDelta, PlanComplete]
    assert events[-1].reason is FinishReason.INTERRUPTED


def test_the_seed_decides_and_is_told(parts, frames):
    hot = Sampling(temperature=1.5)
    planner = EmuPlanner(*parts, replace(CONFIG, image=hot))

    def plan(seed):
        task = Task(INSTRUCTION, Generation(seed=seed, max_subgoals=1))
        return collect(INSTRUCTION, planner.plan(task, frames))

    assert plan(3) == plan(3)
    assert plan(3).steps != plan(4).steps
    drawn = plan(None)
    assert plan(drawn.seed) == drawn


def test_settings_of_the_task_go_over_those_of_the_checkpoint(parts, frames):
    planner = EmuPlanner(*parts, replace(CONFIG, image=Sampling(temperature=50.0), guidance_scale=2.0))
    calm = events_of(planner, frames, temperature=0.0, guidance_scale=1.0)
    assert steps_of(calm) == steps_of(events_of(EmuPlanner(*parts, CONFIG), frames))
    assert steps_of(calm) != steps_of(events_of(planner, frames))


def test_guided_plans_have_the_same_words(planner, frames):
    assert [step.subgoal for step in steps_of(events_of(planner, frames, guidance_scale=2.0))] == list(
        SUBGOALS
    )


def test_a_full_context_ends_the_plan_with_its_whole_steps(parts, frames):
    prompt = events_of(EmuPlanner(*parts, CONFIG), frames)[-1].timing.prompt_tokens
    planner = EmuPlanner(*parts, replace(CONFIG, context=prompt + 25))
    events = events_of(planner, frames)
    assert [step.subgoal for step in steps_of(events)] == [SUBGOALS[0]]
    assert events[-1].reason is FinishReason.LENGTH


def refuse(planner, frames, code, words, **asked):
    with pytest.raises(PlanError, match=words) as raised:
        events_of(planner, frames, **asked)
    assert raised.value.code is code


def test_an_instruction_that_leaves_no_room_is_refused(parts, frames):
    planner = EmuPlanner(*parts, replace(CONFIG, context=60))
    refuse(planner, frames, ErrorCode.INVALID_REQUEST, "shorter instruction")


def test_an_endless_subgoal_is_no_plan(parts, frames):
    planner = EmuPlanner(*parts, replace(CONFIG, max_subgoal_tokens=1))
    refuse(planner, frames, ErrorCode.INVALID_OUTPUT, "step 0 is longer than 1 tokens")


@pytest.mark.parametrize(
    ("token", "words"),
    [("boi", "no subgoal before it"), ("eog", r"extra_61.* inside the subgoal of step 0")],
)
def test_malformed_output_is_no_plan(parts, frames, token, words, monkeypatch):
    model, _vision, tokenizer = parts
    head = model.head

    def biased(hidden, rows=None):
        logits = head(hidden, rows)
        if rows.start == 0:
            logits[..., getattr(tokenizer.vocabulary, token)] += 1000
        return logits

    monkeypatch.setattr(model, "head", biased)
    refuse(EmuPlanner(*parts, CONFIG), frames, ErrorCode.INVALID_OUTPUT, words)


def test_an_end_inside_a_subgoal_is_no_plan(parts, frames, monkeypatch):
    model, _vision, tokenizer = parts
    head, calls = model.head, []

    def ends_after_one_word(hidden, rows=None):
        logits = head(hidden, rows)
        calls.append(rows)
        logits[..., tokenizer.vocabulary.ess] += 1000 * (len(calls) - 1)
        return logits

    monkeypatch.setattr(model, "head", ends_after_one_word)
    refuse(EmuPlanner(*parts, CONFIG), frames, ErrorCode.INVALID_OUTPUT, "ends inside step 0")


def test_an_empty_plan_means_nothing_is_left(parts, frames, monkeypatch):
    model, _vision, tokenizer = parts
    head = model.head

    def done(hidden, rows=None):
        logits = head(hidden, rows)
        logits[..., tokenizer.vocabulary.ess] += 1000
        return logits

    monkeypatch.setattr(model, "head", done)
    events = events_of(EmuPlanner(*parts, CONFIG), frames)
    assert [type(event) for event in events] == [PlanStarted, PlanComplete]
    assert events[-1].reason is FinishReason.STOP


def test_a_folder_plans_as_its_parts_do(parts, planner, frames, tmp_path):
    model, vision, tokenizer = parts
    save_transformer(model, tmp_path, shard_bytes=50_000)
    save_vision_tokenizer(vision, tmp_path)
    write_folder(tmp_path, train_bpe([INSTRUCTION, *SUBGOALS] * 3, 30), tokenizer.vocabulary.codes)
    CONFIG.save(tmp_path)
    loaded = EmuPlanner.load(tmp_path, threads=1)
    assert loaded.config == CONFIG
    task = Task(INSTRUCTION, Generation(seed=1))
    assert collect("", loaded.plan(task, frames)) == collect("", planner.plan(task, frames))


def test_parts_of_different_checkpoints_are_refused(parts):
    model, vision, tokenizer = parts
    other = VisionTokenizer(replace(vision.config, n_embed=8))
    with pytest.raises(CheckpointError, match="not of one checkpoint"):
        EmuPlanner(model, other, tokenizer, CONFIG)
    with pytest.raises(CheckpointError, match="multiples of 16"):
        EmuPlanner(model, vision, tokenizer, replace(CONFIG, picture_height=40))


def test_planner_json(tmp_path):
    assert PlannerConfig.from_folder(tmp_path) == PlannerConfig()
    CONFIG.save(tmp_path)
    assert PlannerConfig.from_folder(tmp_path) == CONFIG
    path = tmp_path / "planner.json"
    for text, words in (
        ('{"veiws": []}', "unknown fields"),
        ('{"views": []}', "one or more"),
        ('{"text": {"temperature": -1}}', "temperature"),
        ('{"image": {"heat": 1}}', "heat"),
        ("[]", "planner.json"),
        ("{", "planner.json"),
    ):
        path.write_text(text)
        with pytest.raises(CheckpointError, match=words):
            PlannerConfig.from_folder(tmp_path)


GREY = {name: np.full((32, 32, 3), value, np.uint8) for name, value in (("front", 10), ("side", 200))}


def compose(*frames):
    return picture.compose(Observation(tuple(frames)), ("front", "side"), 64, 32)


def test_views_stand_side_by_side_whatever_order_they_came_in():
    rgb = compose(Frame(GREY["side"], "side"), Frame(GREY["front"], "front"))
    assert (rgb[:, :32] == 10).all()
    assert (rgb[:, 32:] == 200).all()


def test_sizes_are_averaged_down():
    fine = np.repeat(np.repeat(GREY["front"], 4, axis=0), 2, axis=1)
    fine[::2] += 20
    rgb = compose(Frame(fine, "front"), Frame(GREY["side"], "side"))
    assert (rgb[:, :32] == 20).all()


def test_a_lone_picture_is_taken_whole_or_repeated():
    both = np.hstack([GREY["front"], GREY["side"]])
    assert (compose(Frame(both, "file")) == both).all()
    rgb = compose(Frame(GREY["side"], "webcam"))
    assert rgb.shape == (32, 64, 3)
    assert (rgb == 200).all()


def test_cameras_that_are_missing_are_named():
    with pytest.raises(PlanError, match=r"\['left', 'side'\]; this checkpoint needs \['front', 'side'\]"):
        compose(Frame(GREY["side"], "side"), Frame(GREY["front"], "left"))
    with pytest.raises(PlanError, match="no picture"):
        compose()


def test_pixels_survive_the_range_of_the_model(parts, monkeypatch):
    seen = []
    vision = parts[1]
    monkeypatch.setattr(
        vision, "encode", lambda images: seen.append(images) or torch.zeros(1, 2, 4, dtype=torch.int64)
    )
    rgb = np.arange(32 * 64 * 3, dtype=np.uint32).reshape(32, 64, 3).astype(np.uint8)
    picture.encode(vision, rgb)
    monkeypatch.setattr(vision, "decode", lambda _ids: seen[0])
    back = picture.decode(vision, np.zeros((2, 4), np.int64), ("front", "side")).rgb
    assert seen[0].min() == -1
    assert seen[0].max() == 1
    assert np.abs(back.astype(int) - rgb).max() <= 1
