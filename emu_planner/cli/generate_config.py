"""What `emu-planner generate` is asked to do: flags and a settings file, as one checked value.

Sampling settings have the published names. In a file they stand beside the other keys or, as
published, in a table sampling_params. A flag goes before the file. Needs no torch.
"""

import argparse
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any, get_type_hints

from emu_planner.cli.prompts import Prompt, make_prompts, read_prompts
from emu_planner.cli.typed_file import SettingError, check_names, check_value, read_table
from emu_planner.engine.request import DECODERS, MAX_IMAGES, SETTINGS, SHARES, Settings

# names and types of what may be set for sampling
SAMPLING: Mapping[str, Any] = MappingProxyType(get_type_hints(Settings))
# what the published configurations call our settings
_PUBLISHED = {
    "model_path": "checkpoint",
    "vq_path": "vision",
    "tokenizer_path": "tokenizer",
    "save_path": "output",
    "hf_device": "device",
    "vq_device": "device",
    "task": "task_type",
    "images": "image",
    "reference_image": "image",
    "size": "aspect_ratio",
    "temperature": "text_temperature",
    "top_k": "text_top_k",
    "top_p": "text_top_p",
    "guidance_scale": "classifier_free_guidance",
}


@dataclass(frozen=True)
class GenerateConfig:
    """One run of `emu-planner generate`."""

    # what kind of story; one of SETTINGS
    task_type: str = ""
    # the model and, where they lie apart, its vision and text tokenizer: folders or hub ids
    checkpoint: str = ""
    vision: str | None = None
    tokenizer: str | None = None
    # one prompt with its pictures...
    prompt: str | None = None
    image: tuple[str, ...] = ()
    # ...or many, from a file (in a settings file also the prompts themselves)
    prompts: str | None = None
    # where stories go: DIR/proto/NAME.pb
    output: str | None = None
    # of the first prompt; each further one has the next
    seed: int = 6666
    # make what is there again
    overwrite: bool = False
    # this process takes every num_workers-th prompt, from number worker_id
    num_workers: int = 1
    worker_id: int = 0
    # what runs the model
    device: str = "auto"
    threads: int = 1
    # how images are decoded, one of DECODERS; None: as the checkpoint says
    decoder: str | None = None
    # whether passes are recorded as CUDA graphs; None: where it pays
    graphs: bool | None = None
    # whether weights are rounded to 8 bits
    fp8: bool = False
    # how processes of torchrun share the model; None: by tensors
    share: str | None = None
    # what differs from the task's own sampling settings, by the names of Settings
    sampling: Mapping[str, Any] = field(default_factory=dict)
    # prompts that stand in the settings file itself
    written_prompts: tuple[Prompt, ...] = ()

    def __post_init__(self) -> None:
        if self.task_type not in SETTINGS:
            raise SettingError(f"the task type is {self.task_type!r}; expected one of {list(SETTINGS)}")
        if not self.checkpoint:
            raise SettingError(
                "no checkpoint is given; name a folder or a hub id (docs/generate.md says which)"
            )
        given = [self.prompt is not None, self.prompts is not None, bool(self.written_prompts)]
        if sum(given) != 1:
            what = "several are" if any(given) else "none is"
            raise SettingError(
                f"{what} given of --prompt, --prompts and prompts in the settings file; expected one"
            )
        if self.image and self.prompt is None:
            raise SettingError(
                "pictures of several prompts stand beside each as reference_image, not in --image"
            )
        if not 0 <= self.seed < 2**63 or self.threads < 1:
            raise SettingError(f"seed is {self.seed}, threads {self.threads}; expected 0 to 2^63, 1 or more")
        if self.decoder not in (None, *DECODERS):
            raise SettingError(f"the decoder is {self.decoder!r}; expected one of {list(DECODERS)}")
        if self.share not in (None, *SHARES):
            raise SettingError(f"share is {self.share!r}; expected one of {list(SHARES)}")
        if not 0 <= self.worker_id < self.num_workers:
            raise SettingError(
                f"worker_id is {self.worker_id} of num_workers {self.num_workers}; expected 0 to one less"
            )
        self.settings(SETTINGS[self.task_type])

    def settings(self, base: Settings) -> Settings:
        """The settings of the task with what differs. RequestError: a value makes no sense."""
        return replace(base, **self.sampling)

    @property
    def folder(self) -> Path:
        """Where the stories go."""
        if self.output is not None:
            return Path(self.output)
        return Path("outputs", Path(self.checkpoint).resolve().name or "model", self.task_type)

    def all_prompts(self) -> list[Prompt]:
        """Every prompt, whoever is to work on it. SettingError: one is wrong or has no picture."""
        if self.prompt is not None:
            prompts = [Prompt("story_000", self.prompt, tuple(map(Path, self.image)))]
        elif self.prompts is not None:
            prompts = read_prompts(Path(self.prompts))
        else:
            prompts = list(self.written_prompts)
        for prompt in prompts:
            if len(prompt.images) > MAX_IMAGES:
                raise SettingError(
                    f"{prompt.name} has {len(prompt.images)} pictures; the model takes at most {MAX_IMAGES}"
                )
            if self.task_type == "x2i" and not prompt.images:
                raise SettingError(f"x2i edits pictures, and {prompt.name} has none; give 1 to {MAX_IMAGES}")
        return prompts


# names and types of what may be set beside sampling
_PLAIN: Mapping[str, Any] = MappingProxyType(
    {
        name: kind
        for name, kind in get_type_hints(GenerateConfig).items()
        if name not in ("sampling", "written_prompts")
    }
)


def read_config(args: argparse.Namespace) -> GenerateConfig:
    """The flags that were given, over the settings file if there is one.

    Raises:
        SettingError: a key is unknown, a value of the wrong type, or they do not fit together.
        RequestError: a sampling setting makes no sense.
    """
    values: dict[str, Any] = {}
    sampling: dict[str, Any] = {}
    if args.config is not None:
        values, sampling = _read_file(Path(args.config))
    flags = {name: value for name, value in vars(args).items() if value is not None}
    if {"prompt", "prompts"} & flags.keys():
        # a prompt on the command line takes the place of those in the file
        for name in ("prompt", "prompts", "image", "written_prompts"):
            values.pop(name, None)
    values.update({name: flags[name] for name in _PLAIN if name in flags})
    sampling.update({name: flags[name] for name in SAMPLING if name in flags})
    if "image" in values:
        values["image"] = tuple(values["image"])
    return GenerateConfig(**values, sampling=sampling)


def _read_file(path: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """(plain values, sampling values) of a settings file; paths in it are relative to it."""
    given, where = read_table(path), str(path)
    nested = given.pop("sampling_params", {})
    if not isinstance(nested, dict):
        raise SettingError(f"{where}: sampling_params is no table of names and values")
    check_names(given, [*_PLAIN, *SAMPLING, "sampling_params"], where, _PUBLISHED)
    check_names(nested, SAMPLING, f"{where}: sampling_params", _PUBLISHED)
    if twice := given.keys() & nested.keys():
        raise SettingError(f"{where}: {sorted(twice)} stand beside sampling_params and inside it")
    plain = {name: value for name, value in given.items() if name in _PLAIN}
    written = plain.pop("prompts", None)
    plain = {name: check_value(name, value, _PLAIN[name], where) for name, value in plain.items()}
    if isinstance(written, str):
        plain["prompts"] = str(path.parent / written)
    elif written is not None:
        plain["written_prompts"] = tuple(make_prompts(written, path.parent, f"{where}: prompts"))
    if "image" in plain:
        plain["image"] = tuple(str(path.parent / image) for image in plain["image"])
    sampling = {name: value for name, value in given.items() if name in SAMPLING} | nested
    return plain, {name: check_value(name, value, SAMPLING[name], where) for name, value in sampling.items()}


def add_sampling_arguments(parser: argparse.ArgumentParser) -> None:
    """A flag for each sampling setting, with its published name."""
    group = parser.add_argument_group(
        "sampling", "default: as published for the task; vla: as the checkpoint says"
    )
    for setting in fields(Settings):
        flag, kind = "--" + setting.name.replace("_", "-"), SAMPLING[setting.name]
        if setting.name == "aspect_ratio":
            text = 'size of each picture: auto, a ratio as 16:9, or tokens, height first, as "36*64"'
            group.add_argument("--size", flag, dest=setting.name, metavar="SIZE", help=text)
        elif kind in (int, float, str):
            group.add_argument(flag, type=kind, metavar={int: "N", float: "X"}.get(kind, "TEXT"))
        else:
            group.add_argument(flag, action=argparse.BooleanOptionalAction, default=None)
