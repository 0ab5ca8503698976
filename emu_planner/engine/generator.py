"""Generator: text and pictures for all six tasks of Emu3.5, part by part.

    apart = {"vision": "BAAI/Emu3.5-VisionTokenizer", "tokenizer": "Emu3.5/src/tokenizer_emu3_ibq"}
    generator = Generator.load("BAAI/Emu3.5", **apart, device="cuda")
    request = Request("story", "Tell a story about a clay astronaut exploring Mars.")
    for part in generator.generate(request, seed=1):
        if isinstance(part, Picture):
            save(part.rgb)

An answer runs in the caller's thread; several may run at once. Semantics: the published inference
code, without its defects (tests/engine/test_published_defects.py). Knows no file but a checkpoint.
"""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import torch

from emu_planner.engine import picture, raster
from emu_planner.engine.answer import AnswerReader
from emu_planner.engine.branches import Branches
from emu_planner.engine.config import FILE, PlannerConfig
from emu_planner.engine.decoders import Decoder, Generate, decoder_of
from emu_planner.engine.grammar import Grammar
from emu_planner.engine.loaded import check_parts, load_parts
from emu_planner.engine.parts import Part
from emu_planner.engine.raster import Decoding
from emu_planner.engine.request import SETTINGS, Request, RequestError, Settings
from emu_planner.engine.sampler import Sampler, Sampling
from emu_planner.engine.session import SharedRows
from emu_planner.engine.together import Sharing, follow
from emu_planner.model.checkpoint import Devices, Progress, resolve
from emu_planner.model.ibq import VisionTokenizer
from emu_planner.model.pixels import fit_area, resize_bicubic
from emu_planner.model.prompt import (
    TEMPLATES,
    Grid,
    conditional_prompt,
    size_tokens,
    unconditional_prompt,
)
from emu_planner.model.text import TextTokenizer
from emu_planner.model.transformer import Transformer
from emu_planner.plan import Stop

# The published seed. (The published code never gives it to torch; here it decides.)
SEED = 6666


class Generator:
    """An Emu3.5-like model that answers with text and pictures.

    Args:
        model, vision, tokenizer: the parts of one checkpoint.
        settings: for each task, what a request without settings gets.
        decode: raster.generate, or what takes the same arguments.
        scheduler: of this model, if answers that run at once shall share its passes; then it decodes, as
            may any other Decoder that is given.
        graphs: of answers that compute for themselves: see decoder_of. Memory and recordings are kept
            from answer to answer, and one answer at a time has them; one beside it is decoded plainly.

    Raises:
        CheckpointError: the parts do not belong together.
    """

    def __init__(
        self,
        model: Transformer,
        vision: VisionTokenizer,
        tokenizer: TextTokenizer,
        *,
        settings: Mapping[str, Settings] = SETTINGS,
        decode: Generate = raster.generate,
        scheduler: Decoder | None = None,
        graphs: bool = False,
    ) -> None:
        check_parts(model, vision, tokenizer)
        self.tokenizer, self.settings = tokenizer, settings
        self._model, self._vision = model, vision
        self._decoder: Decoder = scheduler or decoder_of(model, decode, graphs=graphs)

    @classmethod
    def load(
        cls,
        checkpoint: Path | str,
        *,
        vision: Path | str | None = None,
        tokenizer: Path | str | None = None,
        device: Devices = "cpu",
        dtype: torch.dtype | None = None,
        progress: Progress | None = None,
        decoder: str | None = None,
        graphs: bool = False,
        fp8: bool = False,
        sharing: Sharing | None = None,
    ) -> "Generator":
        """The generator of a checkpoint.

        Args:
            checkpoint: as for emu_planner.model.checkpoint.resolve. Its planner.json, if there is
                one, gives the defaults of the task vla.
            vision: the vision tokenizer, where it lies apart; None: inside the checkpoint.
            tokenizer: likewise the text tokenizer's files.
            device: where the model runs; several: its layers are spread over them.
            dtype: of the transformer; None: as stored. The vision tokenizer runs in float32.
            progress: called with bytes read and all bytes, for each of the two.
            decoder: one of request.DECODERS; None: as planner.json says, else raster.
            graphs: see Generator.
            fp8: see load_transformer.
            sharing: of the model, with other processes, which `follow`. One answer at a time.

        Raises:
            CheckpointError: see resolve, load_transformer and load_vision_tokenizer.
        """
        folder = resolve(checkpoint)
        config, settings = PlannerConfig.from_folder(folder), dict(SETTINGS)
        if (folder / FILE).is_file():
            settings["vla"] = _settings_of(config)
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
        decode = config.generate(parts.vision.codes)
        shared = None if sharing is None else sharing.decoder(parts.model, decode, graphs=graphs)
        return cls(*parts, settings=settings, decode=decode, scheduler=shared, graphs=graphs)

    def follow(self, sharing: Sharing) -> int:
        """In a process that is not asked: make every pass that the first one makes, until that ends.

        Returns:
            How many answers these were.
        """
        return follow(self._decoder, sharing.ranks)

    def generate(self, request: Request, *, seed: int = SEED, stop: Stop | None = None) -> Iterator[Part]:
        """The parts of the answer, each as soon as it is whole.

        Args:
            request: what is asked.
            seed: 0 to 2^64 - 1; the same seed and request give the same parts on the same machine.
            stop: when requested, the stream ends soon; an unfinished picture is dropped.

        Raises:
            RequestError: at once, before any part: the prompt or the picture asked for has no room,
                or the seed is out of range.
        """
        if not 0 <= seed < 2**64:
            raise RequestError(f"the seed is {seed}; expected 0 to 2^64 - 1")
        stop = stop or Stop()
        settings = request.settings or self.settings[request.task]
        grids = [self._look(image, settings.image_area) for image in request.images]
        prompt = conditional_prompt(self.tokenizer, TEMPLATES[request.task], request.prompt, grids)
        size, same_size = _size(settings, grids)
        limit = self._limit(settings, prompt, size)
        decoding = _decoding(settings)
        v = self.tokenizer.vocabulary
        tokens = self._decoder.generate(
            # the other rows' prompts lack words, and their answers too: row 0 is the longest
            self._branches(settings, grids, capacity=len(prompt) + limit),
            Grammar(v, size, same_size=same_size),
            Sampler(seed, self._model.lm_head.weight.device),
            decoding,
            prompt,
            boi=v.boi,
            ends=(v.eos,),
            stopped=lambda: stop.requested,
        )
        return AnswerReader(self.tokenizer, self._draw, limit).read(tokens)

    def _look(self, image: picture.Rgb, area: int) -> Grid:
        """The codes [h, w] of a reference picture at the published size."""
        down = self._vision.config.downsampling
        height, width = fit_area(image.shape[0], image.shape[1], area, down)
        return picture.encode(self._vision, resize_bicubic(image, height, width))

    def _draw(self, grid: Grid) -> picture.Rgb:
        return picture.pixels(self._vision, grid)

    def _branches(self, settings: Settings, grids: list[Grid], *, capacity: int) -> Branches | SharedRows:
        """One row, and one for each prompt that guidance contrasts with and that has a weight."""
        three = settings.unconditional_type == "no_text_img_cfg" and settings.image_cfg_scale != 1
        guided = three or settings.classifier_free_guidance != 1
        return self._decoder.branches(
            capacity=capacity,
            unconditional=unconditional_prompt(self.tokenizer, grids) if guided else None,
            imageless=unconditional_prompt(self.tokenizer) if three else None,
            boi=self.tokenizer.vocabulary.boi,
        )

    def _limit(self, settings: Settings, prompt: list[int], size: tuple[int, int] | None) -> int:
        """Most tokens of the answer: what was asked for, or what the model's context leaves."""
        context = self._model.config.max_position_embeddings
        limit = min(settings.max_new_tokens, context - len(prompt))
        if limit < 1:
            raise RequestError(
                f"the prompt takes {len(prompt)} tokens and the model's context is {context}; use fewer "
                "words, fewer reference images or a smaller image_area"
            )
        if size is not None:
            height, width = size
            # BOI, size, rows with their ends
            needed = 1 + len(size_tokens(self.tokenizer.vocabulary, *size)) + height * (width + 1)
            if needed > limit:
                raise RequestError(
                    f"a picture of {height}*{width} tokens takes {needed}; the answer has room for {limit} "
                    f"(max_new_tokens {settings.max_new_tokens}; context {context}, prompt {len(prompt)})"
                )
        return limit


def _size(settings: Settings, grids: list[Grid]) -> tuple[tuple[int, int] | None, bool]:
    """The size of all pictures, None for the model's choice, and whether its first choice holds.

    As published: a size that is asked for, else that of the (last) reference picture, unless sizes
    may differ.
    """
    same = settings.force_same_image_size
    if same is None:
        same = len(grids) <= 1
    asked = settings.target_size()
    if asked is None and same and grids:
        height, width = grids[-1].shape
        asked = height, width
    return asked, same


def _decoding(settings: Settings) -> Decoding:
    return Decoding(
        Sampling(settings.text_temperature, settings.text_top_k, settings.text_top_p),
        Sampling(settings.image_temperature, settings.image_top_k, settings.image_top_p),
        settings.classifier_free_guidance,
        settings.image_cfg_scale,
    )


def _settings_of(config: PlannerConfig) -> Settings:
    """The defaults of the task vla for a checkpoint with a planner.json."""
    text, image = config.text, config.image
    return replace(
        SETTINGS["vla"],
        classifier_free_guidance=config.guidance_scale,
        text_temperature=text.temperature,
        text_top_k=text.top_k,
        text_top_p=text.top_p,
        image_temperature=image.temperature,
        image_top_k=image.top_k,
        image_top_p=image.top_p,
        image_area=config.picture_width * config.picture_height,
    )
