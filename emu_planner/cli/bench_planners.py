"""Planners under test by their names on the command line: who makes them, in a process of their own.

Imports torch or gRPC only where a planner is made.
"""

import functools
import hashlib
import importlib
import inspect
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from emu_planner.plan import Event, FrameSource, StepOutcome, Stop, Task
from emu_planner.plan.planner import Planner
from sim.bench.controls import CONTROLS
from sim.camera import SIZE, VIEWS

if TYPE_CHECKING:
    from emu_planner.model.ibq import VisionTokenizer
    from emu_planner.wire.client import RemotePlanner

_GRPC = "grpc://"


@dataclass(frozen=True)
class Entry:
    """A planner as the benchmark wants it."""

    name: str
    # None: a control of that name
    make: Callable[[], Planner] | None
    # what tells this planner from others of the same name
    identity: dict[str, Any] = field(default_factory=dict)
    draws_pixels: bool = False

    @property
    def workers(self) -> int:
        """Worker processes when nobody says how many.

        One for a planner: a service runs one plan at a time, and a model wants the whole machine, so
        that more would wait for each other and run into the time limit. A control: one a core.
        """
        return 1 if self.make is not None else os.cpu_count() or 1


@dataclass(frozen=True)
class WithTokenizer:
    """A planner beside the vision tokenizer that its keyframes come from."""

    planner: Planner
    vision: "VisionTokenizer"

    def plan(
        self,
        task: Task,
        frames: FrameSource,
        history: Sequence[StepOutcome] = (),
        *,
        stop: Stop | None = None,
    ) -> Iterator[Event]:
        """See plan.Planner."""
        yield from self.planner.plan(task, frames, history, stop=stop)

    def round_trip(self, picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """The picture through the tokenizer and back."""
        from emu_planner.engine.picture import decode, encode

        return decode(self.vision, encode(self.vision, picture), ("picture",)).rgb

    def random_picture(self, picture: NDArray[np.uint8], seed: int) -> NDArray[np.uint8]:
        """What the tokenizer makes of random codes, as many as it has for this picture."""
        from emu_planner.engine.picture import decode, encode

        codes = encode(self.vision, picture)
        drawn = np.random.default_rng(seed).integers(0, self.vision.config.n_embed, codes.shape, codes.dtype)
        return decode(self.vision, drawn, ("picture",)).rgb


def find(name: str, vision: str | None) -> Entry:
    """The planner of a name.

    Args:
        name: nano or a checkpoint, grpc://HOST:PORT, MODULE:CALLABLE, or a control.
        vision: a checkpoint whose vision tokenizer made the pictures, or "none": they are pixels.

    Raises:
        ValueError: there is no such planner or checkpoint, or it draws pictures of another size.
        PlanError: SERVER_UNAVAILABLE, no service answers there.
    """
    pixels, said = vision == "none", vision is not None
    vision = None if pixels else vision
    if name in CONTROLS:
        if said:
            raise ValueError(f"{name} is a control and has no tokenizer; leave --vision out")
        if CONTROLS[name].derived:
            raise ValueError(f"{name} derives from another planner; name it in --controls")
        return Entry(name, None, draws_pixels=True)
    if name.startswith(_GRPC):
        server = name.removeprefix(_GRPC)
        make: Callable[[], Planner] = functools.partial(_remote, server, vision)
        return Entry(name, make, {**_server_identity(server), **_tokenizer_identity(vision)}, pixels)
    if ":" in name and "/" not in name:
        own = {"source_sha256": _source_sha256(name)}
        make = functools.partial(_own, name, vision)
        return Entry(name, make, {**own, **_tokenizer_identity(vision)}, pixels)
    from emu_planner.model.checkpoint import resolve
    from sim.bench.versions import folder_sha256

    # before any process starts: a wrong name ends here, and one on the hub is downloaded once
    folder = resolve(name)
    _check_pictures(name, folder)
    make = functools.partial(_model, str(folder), vision)
    identity = {"checkpoint_sha256": folder_sha256(folder), **_tokenizer_identity(vision)}
    return Entry(Path(name).name, make, identity, pixels)


def _check_pictures(name: str, folder: Path) -> None:
    """Keyframes are compared with the simulator's pixel by pixel, and the ceiling is of their own size."""
    from emu_planner.engine.config import PlannerConfig

    config = PlannerConfig.from_folder(folder)
    drawn = (config.picture_width, config.picture_height)
    wanted = (SIZE * len(VIEWS), SIZE)
    if (config.views, drawn) != (VIEWS, wanted):
        raise ValueError(
            f"{name} draws pictures of {drawn[0]}x{drawn[1]} px with the views {list(config.views)} (its "
            f"planner.json); the benchmark's scenes have {wanted[0]}x{wanted[1]} px with {list(VIEWS)}. "
            "Train for those, or give MODULE:CALLABLE, a planner that resizes"
        )


def _server_identity(server: str) -> dict[str, str]:
    """A service may come back with another model at the same address, so it is asked."""
    with _client(server) as client:
        info = client.server_info()
    return {"server": server, "model": info.model, "model_version": info.model_version}


def _source_sha256(name: str) -> str | None:
    """Hash of the file that MODULE:CALLABLE is written in, not of what that imports; None: no such file."""
    found = _named(name)
    try:
        path = inspect.getsourcefile(found)
    except TypeError:
        # an object that can be called: it is where it was made
        path = inspect.getsourcefile(importlib.import_module(name.partition(":")[0]))
    return None if path is None else hashlib.sha256(Path(path).read_bytes()).hexdigest()


def _tokenizer_identity(vision: str | None) -> dict[str, str]:
    if vision is None:
        return {}
    from emu_planner.model.checkpoint import resolve, vision_folder
    from sim.bench.versions import folder_sha256

    return {"vision_sha256": folder_sha256(vision_folder(resolve(vision)))}


def _client(server: str) -> "RemotePlanner":
    from emu_planner.wire.client import ClientConfig, RemotePlanner
    from emu_planner.wire.credentials import Credentials

    return RemotePlanner(server, ClientConfig(credentials=Credentials.from_environment()))


# ---- in the planner's process


def _one_thread() -> None:
    import torch

    torch.set_num_threads(1)


def _vision(checkpoint: str) -> "VisionTokenizer":
    from emu_planner.model.checkpoint import load_vision_tokenizer, resolve

    _one_thread()
    return load_vision_tokenizer(resolve(checkpoint))


def _model(checkpoint: str, vision: str | None) -> Planner:
    from emu_planner.engine.planner import EmuPlanner

    _one_thread()
    return WithTokenizer(EmuPlanner.load(checkpoint), _vision(vision or checkpoint))


def _remote(server: str, vision: str | None) -> Planner:
    planner = _client(server)
    return planner if vision is None else WithTokenizer(planner, _vision(vision))


def _own(name: str, vision: str | None) -> Planner:
    planner: Planner = _named(name)()
    return planner if vision is None else WithTokenizer(planner, _vision(vision))


def _named(name: str) -> Callable[[], Planner]:
    """What MODULE:CALLABLE names. ValueError: nothing that can be called."""
    module, _, attribute = name.partition(":")
    try:
        found = getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError) as error:
        raise ValueError(f"no planner {name!r}: {error}") from error
    if not callable(found):
        raise ValueError(f"{name} is no class or function that makes a planner")
    return found
