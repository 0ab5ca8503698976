"""EmuPlanner: the model as a Planner. Frames to prompt, generated tokens to steps.

    planner = EmuPlanner.load("nano")
    frames = Still(Observation((Frame(rgb, camera="front"), Frame(other_rgb, camera="side"))))
    for event in planner.plan(Task("stack the red block on the blue one"), frames):
        if isinstance(event, StepComplete):
            show(event.step.subgoal, event.step.keyframe)

A plan runs in the caller's thread; several may run at once on one EmuPlanner, and share its passes
when it has a scheduler. Timeouts are the business of whoever serves it. Knows no network, robot or
simulator.
"""

import secrets
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import torch

from emu_planner.engine import picture
from emu_planner.engine.arena import rounded
from emu_planner.engine.branches import Branches
from emu_planner.engine.cache import ContextFullError
from emu_planner.engine.config import PlannerConfig
from emu_planner.engine.decoders import Decoder, decoder_of
from emu_planner.engine.grammar import Grammar
from emu_planner.engine.loaded import check_parts, load_parts
from emu_planner.engine.raster import Decoding, Tokens
from emu_planner.engine.reader import Clock, StepReader
from emu_planner.engine.sampler import Sampler
from emu_planner.engine.scheduler import Scheduler, SchedulerConfig
from emu_planner.engine.session import SharedRows
from emu_planner.engine.together import Sharing, check_plans, follow
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
    Outcome,
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
        plans: as many at once share the model's passes, by the raster decoder, in memory that is
            taken now; further ones wait. 1, and with the dida decoder: each plan computes for itself,
            with memory of its own.
        graphs: of plans that compute for themselves: see decoder_of. Memory and recordings are kept
            from plan to plan, and one plan at a time has them; one beside it is decoded plainly.
        sharing: of the model, with other processes, which make every pass too: see `follow`. One plan at
            a time.

    Raises:
        CheckpointError: the parts do not belong together, so many plans have no room in memory, or plans
            at once are asked of processes that share the model.
    """

    def __init__(
        self,
        model: Transformer,
        vision: VisionTokenizer,
        tokenizer: TextTokenizer,
        config: PlannerConfig,
        *,
        plans: int = 1,
        graphs: bool = False,
        sharing: Sharing | None = None,
    ) -> None:
        self.config = config
        self.tokenizer = tokenizer
        self._model, self._vision, self._vocabulary = model, vision, tokenizer.vocabulary
        check_parts(model, vision, tokenizer)
        if sharing is not None:
            check_plans(plans)
        down = vision.config.downsampling
        if config.picture_width % down or config.picture_height % down:
            raise CheckpointError(
                f"the planner's picture is {config.picture_width}x{config.picture_height} px; both "
                f"sides must be multiples of {down}"
            )
        # (h, w) of a picture in tokens
        self.size = (config.picture_height // down, config.picture_width // down)
        self._context = config.context or model.config.max_position_embeddings
        # a pass over a whole picture leaves no room for others: dida has nothing to share
        self._scheduler = self._share(plans) if plans > 1 and config.decoder != "dida" else None
        if self._scheduler is not None:
            self._decoder: Decoder = self._scheduler
        elif sharing is not None:
            self._decoder = sharing.decoder(model, config.generate(vision.codes), graphs=graphs)
        else:
            self._decoder = decoder_of(model, config.generate(vision.codes), graphs=graphs)

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
        plans: int = 1,
        graphs: bool = False,
        fp8: bool = False,
        sharing: Sharing | None = None,
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
            plans, graphs, sharing: see EmuPlanner.
            fp8: see load_transformer.

        Raises:
            CheckpointError: see resolve, load_transformer, load_vision_tokenizer and EmuPlanner.
        """
        if threads is not None:
            torch.set_num_threads(threads)
        folder = resolve(checkpoint)
        config = PlannerConfig.from_folder(folder)
        if decoder is not None:
            config = replace(config, decoder=decoder)
        parts = load_parts(
            folder,
            vision=vision,
            tokenizer=tokenizer,
            device=device,
            dtype=dtype,
            progress=progress,
            fp8=fp8,
            mesh=None if sharing is None else sharing.mesh,
        )
        if decoder is None and graphs and config.decoder == "jacobi" and parts.model.lm_head.weight.is_cuda:
            # the same codes, and recorded passes of one code are faster than plain ones of many
            config = replace(config, decoder="raster")
        return cls(*parts, config, plans=plans, graphs=graphs, sharing=sharing)

    def follow(self, sharing: Sharing) -> int:
        """In a process that is not asked: make every pass that the first one makes, until that ends.

        Returns:
            How many answers these were.
        """
        return follow(self._decoder, sharing.ranks)

    def plan(
        self,
        task: Task,
        frames: FrameSource,
        history: Sequence[StepOutcome] = (),
        *,
        stop: Stop | None = None,
    ) -> Iterator[Event]:
        """See Planner.plan. Of the history the prompt tells the subgoals that were reached, where the
        checkpoint has learned to read them; the frame shows the rest.

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

        prompt = self._prompt(task.instruction, grid, history)
        decoding = _override(self.config.decoding, asked)
        clock.add("prompt_tokens", len(prompt))
        branches = self._branches(grid, decoding)
        tokens = self._decoder.generate(
            branches,
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
            # closed at once: memory that is shared or lent is given back
            with closing(_charged(tokens, branches, clock)) as charged:
                reason = yield from reader.read(charged)
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

    def _prompt(self, instruction: str, grid: Grid, history: Sequence[StepOutcome]) -> list[int]:
        done = [past.step.subgoal for past in history if past.outcome is Outcome.SUCCEEDED]
        prompt = vla_prompt(self.tokenizer, instruction, [grid], self.config.told(done))
        if len(prompt) + grid.size > self._context:
            raise PlanError(
                ErrorCode.INVALID_REQUEST,
                f"the prompt takes {len(prompt)} of {self._context} tokens and leaves no room for "
                "a plan; use a shorter instruction",
            )
        return prompt

    def _branches(self, grid: Grid, decoding: Decoding) -> Branches | SharedRows:
        guided = decoding.guidance_scale != 1
        unconditional = unconditional_prompt(self.tokenizer, [grid]) if guided else None
        return self._decoder.branches(capacity=self._context, unconditional=unconditional)

    def _share(self, plans: int) -> Scheduler:
        """Memory for that many plans of full length, each with a row for guidance."""
        try:
            return Scheduler(self._model, SchedulerConfig(cells=plans * 2 * rounded(self._context)))
        except ValueError as error:
            raise CheckpointError(f"{plans} plans at once: {error}") from error


def _charged(tokens: Tokens, branches: Branches | SharedRows, clock: Clock) -> Tokens:
    """The same tokens; with the first, the clock is told of waiting and of what was known already."""
    with closing(tokens):
        for count, token in enumerate(tokens):
            if count == 0 and isinstance(branches, SharedRows):
                clock.add("cached_tokens", branches.cached_tokens)
                clock.add("queue_s", branches.queue_s)
                clock.add("prefill_s", -branches.queue_s)  # the wait for the first token holds it too
            yield token


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
