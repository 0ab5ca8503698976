"""EmuPlanner: the model as a Planner. Frames to prompt, generated tokens to steps.

    planner = EmuPlanner.load("nano")
    frames = Still(Observation((Frame(rgb, camera="front"), Frame(other_rgb, camera="side"))))
    for event in planner.plan(Task("stack the red block on the blue one"), frames):
        if isinstance(event, StepComplete):
            show(event.step.subgoal, event.step.keyframe)

A plan runs in the caller's thread; several may run at once on one EmuPlanner. Timeouts are the
business of whoever serves it. Knows no network, robot or simulator.
"""

import secrets
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import torch

from emu_planner.engine import picture
from emu_planner.engine.branches import Branches
from emu_planner.engine.cache import ContextFullError
from emu_planner.engine.config import PlannerConfig
from emu_planner.engine.grammar import Grammar
from emu_planner.engine.loaded import check_parts, load_parts
from emu_planner.engine.raster import Decoding
from emu_planner.engine.reader import Clock, StepReader
from emu_planner.engine.sampler import Sampler
from emu_planner.model.checkpoint import CheckpointError, Devices, Progress, resolve
from emu_planner.model.ibq import VisionTokenizer
from emu_planner.model.prompt import Grid, unconditional_prompt, vla_prompt
from emu_planner.model.text import TextTokenizer
from emu_planner.model.transformer import Transformer
from emu_planner.plan import (
    ErrorCode,
    Event,
    FinishReason,
    FrameSource,
    Generation,
    Keyframe,
    Observation,
    PlanComplete,
    PlanError,
    PlanStarted,
    StepOutcome,
    Stop,
    Task,
)


class EmuPlanner:
    """A Planner that runs an Emu3.5-like model in this process.

    Args:
        model, vision, tokenizer: the parts of one checkpoint.
        config: its planner.json.

    Raises:
        CheckpointError: the parts do not belong together.
    """

    def __init__(
        self,
        model: Transformer,
        vision: VisionTokenizer,
        tokenizer: TextTokenizer,
        config: PlannerConfig,
    ) -> None:
        self.config = config
        self.tokenizer = tokenizer
        self._model, self._vision, self._vocabulary = model, vision, tokenizer.vocabulary
        check_parts(model, vision, tokenizer)
        down = vision.config.downsampling
        if config.picture_width % down or config.picture_height % down:
            raise CheckpointError(
                f"the planner's picture is {config.picture_width}x{config.picture_height} px; both "
                f"sides must be multiples of {down}"
            )
        # (h, w) of a picture in tokens
        self.size = (config.picture_height // down, config.picture_width // down)
        self._context = config.context or model.config.max_position_embeddings

    @classmethod
    def load(
        cls,
        checkpoint: Path | str = "nano",
        *,
        vision: Path | str | None = None,
        tokenizer: Path | str | None = None,
        device: Devices = "cpu",
        dtype: torch.dtype | None = None,
        threads: int | None = None,
        progress: Progress | None = None,
        decoder: str | None = None,
    ) -> "EmuPlanner":
        """The planner of a checkpoint.

        Args:
            checkpoint: as for emu_planner.model.checkpoint.resolve.
            vision: folder or hub id of the vision tokenizer; None: vision_tokenizer/ in the checkpoint.
            tokenizer: likewise of the text tokenizer; None: the checkpoint's own.
            device: where the model runs; several: its layers are spread over them, the vision
                tokenizer runs on the first.
            dtype: of the transformer; None: as stored. The vision tokenizer runs in float32.
            decoder: one of request.DECODERS; None: as planner.json says.
            threads: CPU threads of torch, for the whole process; None: leave them as they are.
            progress: called with bytes read and all bytes, for each of the two.

        Raises:
            CheckpointError: see resolve, load_transformer and load_vision_tokenizer.
        """
        if threads is not None:
            torch.set_num_threads(threads)
        folder = resolve(checkpoint)
        config = PlannerConfig.from_folder(folder)
        if decoder is not None:
            config = replace(config, decoder=decoder)
        parts = load_parts(
            folder, vision=vision, tokenizer=tokenizer, device=device, dtype=dtype, progress=progress
        )
        return cls(*parts, config)

    def plan(
        self,
        task: Task,
        frames: FrameSource,
        history: Sequence[StepOutcome] = (),
        *,
        stop: Stop | None = None,
    ) -> Iterator[Event]:
        """See Planner.plan. History only sets the first step's number: the frame shows the rest.

        With task.generation.keyframes False a step is whole as soon as its words are. Its image is
        then generated only when another subgoal must follow, and is neither decoded nor returned.
        """
        stop = stop or Stop()
        asked = task.generation
        seed = secrets.randbits(63) if asked.seed is None else asked.seed
        observation = frames.newest()
        clock = Clock()
        with clock.measure("prefill_s"):
            grid = self._look(observation)
        yield PlanStarted(observation.seq, seed, observation.stamp_s)

        prompt = self._prompt(task.instruction, grid)
        decoding = _override(self.config.decoding, asked)
        clock.add("prompt_tokens", len(prompt))
        tokens = self.config.generate(
            self._branches(grid, decoding),
            Grammar(self._vocabulary, self.size),
            Sampler(seed, self._model.lm_head.weight.device),
            decoding,
            prompt,
            boi=self._vocabulary.boi,
            ends=(self._vocabulary.ess, self._vocabulary.eos),
            stopped=lambda: stop.requested,
        )
        first = max((outcome.step.index + 1 for outcome in history), default=0)
        reader = StepReader(
            self.tokenizer,
            self._imagine,
            self.size,
            asked,
            first=first,
            max_subgoal_tokens=self.config.max_subgoal_tokens,
            clock=clock,
        )
        try:
            reason = yield from reader.read(tokens)
        except ContextFullError:
            reason = FinishReason.LENGTH
        yield PlanComplete(reason, clock.plan())

    def _imagine(self, grid: Grid) -> Keyframe:
        """The picture of a grid of codes [h, w]."""
        return picture.decode(self._vision, grid, self.config.views)

    def _look(self, observation: Observation) -> Grid:
        """The codes [h, w] of what the cameras see."""
        config = self.config
        rgb = picture.compose(observation, config.views, config.picture_width, config.picture_height)
        return picture.encode(self._vision, rgb)

    def _prompt(self, instruction: str, grid: Grid) -> list[int]:
        prompt = vla_prompt(self.tokenizer, instruction, [grid])
        if len(prompt) + grid.size > self._context:
            raise PlanError(
                ErrorCode.INVALID_REQUEST,
                f"the prompt takes {len(prompt)} of {self._context} tokens and leaves no room for "
                "a plan; use a shorter instruction",
            )
        return prompt

    def _branches(self, grid: Grid, decoding: Decoding) -> Branches:
        guided = decoding.guidance_scale != 1
        unconditional = unconditional_prompt(self.tokenizer, [grid]) if guided else None
        return Branches(self._model, capacity=self._context, unconditional=unconditional)


def _override(decoding: Decoding, asked: Generation) -> Decoding:
    """The checkpoint's defaults with what the task asks for put over them."""
    names = ("temperature", "top_k", "top_p")
    changes = {name: getattr(asked, name) for name in names if getattr(asked, name) is not None}
    scale = asked.guidance_scale
    return Decoding(
        replace(decoding.text, **changes),
        replace(decoding.image, **changes),
        decoding.guidance_scale if scale is None else scale,
    )
