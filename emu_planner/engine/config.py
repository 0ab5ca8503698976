"""planner.json: how to plan with a checkpoint. Knows no tensor."""

import functools
import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path

from torch import Tensor

from emu_planner.engine import dida, jacobi, raster
from emu_planner.engine.dida import DidaConfig
from emu_planner.engine.jacobi import JacobiConfig
from emu_planner.engine.raster import Decoding, Tokens
from emu_planner.engine.request import DECODERS
from emu_planner.engine.sampler import Sampling
from emu_planner.model.checkpoint import CheckpointError
from emu_planner.model.metric_path import PathConfig

FILE = "planner.json"


@dataclass(frozen=True)
class PlannerConfig:
    """What a checkpoint was trained to see, and its sampling defaults.

    The defaults are those for published checkpoints, which have no planner.json.
    """

    # cameras, left to right in the picture
    views: tuple[str, ...] = ("camera",)
    # size of the whole picture that the model sees and imagines, pixels
    picture_width: int = 512
    picture_height: int = 512
    # sampling of words
    text: Sampling = field(default=Sampling(temperature=1.0, top_k=1024, top_p=0.9))
    # sampling of visual codes
    image: Sampling = field(default=Sampling(temperature=1.0, top_k=10240, top_p=1.0))
    # classifier-free guidance of visual codes; 1: none
    guidance_scale: float = 3.0
    # "raster" or "jacobi": the same tokens, one a pass or as many as were guessed right; "dida": other
    # ones, a picture in dida.steps passes
    decoder: str = "raster"
    # of the jacobi decoder
    jacobi: JacobiConfig = field(default=JacobiConfig())
    # of the dida decoder; None: the model is not adapted to it
    dida: DidaConfig | None = None
    # most tokens in one subgoal; a longer one is no plan
    max_subgoal_tokens: int = 256
    # most subgoals of the past that the prompt tells, of those that were reached; 0: none, for a model
    # that has not learned to read them
    history: int = 0
    # most tokens of prompt and plan together; 0: as many as the model was trained on
    context: int = 0

    def __post_init__(self) -> None:
        if not self.views or len(set(self.views)) != len(self.views):
            raise ValueError(f"views are {list(self.views)}; expected one or more different names")
        if min(self.picture_width, self.picture_height) < 1 or self.picture_width % len(self.views):
            raise ValueError(
                f"picture is {self.picture_width}x{self.picture_height} px; expected a width that "
                f"divides into {len(self.views)} views"
            )
        if self.guidance_scale < 1:
            raise ValueError(f"guidance_scale is {self.guidance_scale}; expected 1 (none) or more")
        if self.decoder not in DECODERS:
            raise ValueError(f"decoder is {self.decoder!r}; expected one of {list(DECODERS)}")
        if self.decoder == "dida" and self.dida is None:
            raise ValueError(
                "decoder is dida, and this checkpoint is not adapted to it (its planner.json has no dida): "
                "take raster or jacobi, or adapt it with emu-planner train dida"
            )
        if self.max_subgoal_tokens < 1 or min(self.context, self.history) < 0:
            raise ValueError(
                f"max_subgoal_tokens is {self.max_subgoal_tokens}, context {self.context}, history "
                f"{self.history}; expected at least 1, 0 and 0"
            )

    @property
    def decoding(self) -> Decoding:
        """The sampling defaults as the decoder takes them."""
        return Decoding(self.text, self.image, self.guidance_scale)

    def told(self, done: Sequence[str]) -> Sequence[str]:
        """Of the subgoals that were reached, oldest first, those that the prompt tells."""
        return done[-self.history :] if self.history else ()

    def generate(self, codes: Tensor) -> Callable[..., Tokens]:
        """The decoder: raster.generate, or what takes the same arguments.

        Args:
            codes: the vectors [V, D] of the vision tokenizer's codes.
        """
        if self.dida is not None and self.decoder == "dida":
            return functools.partial(dida.generate, config=self.dida, codes=codes)
        if self.decoder == "jacobi":
            return functools.partial(jacobi.generate, config=self.jacobi)
        return raster.generate

    @classmethod
    def from_folder(cls, folder: Path | str) -> "PlannerConfig":
        """Read planner.json of a checkpoint folder; the defaults when there is none.

        Raises:
            CheckpointError: the file holds an unknown field or a wrong value.
        """
        path = Path(folder) / FILE
        if not path.is_file():
            return cls()
        try:
            values = json.loads(path.read_text(encoding="utf-8"))
            unknown = values.keys() - {f.name for f in fields(cls)}
            if unknown:
                raise ValueError(f"unknown fields {sorted(unknown)}")
            for name in ("text", "image"):
                if name in values:
                    values[name] = Sampling(**values[name])
            if "jacobi" in values:
                values["jacobi"] = JacobiConfig(**values["jacobi"])
            if values.get("dida") is not None:
                noise = PathConfig(**values["dida"].pop("path", {}))
                values["dida"] = DidaConfig(**values["dida"], path=noise)
            if "views" in values:
                values["views"] = tuple(values["views"])
            return cls(**values)
        except (ValueError, TypeError, AttributeError) as error:
            raise CheckpointError(f"{path}: {error}") from error

    def save(self, folder: Path | str) -> None:
        """Write planner.json into a checkpoint folder."""
        text = json.dumps(asdict(self), indent=2) + "\n"
        (Path(folder) / FILE).write_text(text, encoding="utf-8")
