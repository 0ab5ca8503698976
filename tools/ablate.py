"""Train short language models that differ in one setting each, and print one table of what they lost.

python -m tools.ablate --data runs/data --tokenizer runs/tokenizer/checkpoint --out runs/ablate --steps 1000
python -m tools.ablate ... "base" "wide: --width 512" "half the data: --episodes 35000"
python -m tools.ablate ... --bench 20

A setting is NAME: OPTIONS of `emu-planner train lm`; without any, a list of visual weights, history and data
sizes is tried. The first one makes the words; all others take them, so that a loss means the same everywhere.
All have the same seed, and their held-out plans are the same: none tells history, visual codes count half.
With --bench each model is measured on the first scenes of suite quick too.

Every run is a folder of OUT that goes on where it stopped; what is done is only told again. The table is
OUT/table.md, and the curves are drawn by tools/draw_curves.py.
"""

import argparse
import json
import shlex
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from emu_planner.model.vocabulary import tokenizer_files
from sim.bench.summary import summarise, vector

# without arguments: what Emu3.5 and nano's model card leave open
SETTINGS = (
    "base",
    "visual weight 0.15: --visual-weight 0.15",
    "visual weight 1: --visual-weight 1",
    "no history: --history 0",
    "1000 episodes: --episodes 1000",
    "5000 episodes: --episodes 5000",
)
# in OUT, and no run
_TAKEN = (".", "..", "codes", "table.md")
_LOSSES = {
    "held out": "held_out", "words": "held_out_text", "codes": "held_out_visual", "training": "loss",
}  # fmt: skip
# of the benchmark: shares as summary.py calls them, and metrics
_SHARES = {
    "plans valid": "plans whose every subgoal is valid",
    "done, closed loop": "task success, closed loop",
    "pictures agree": "keyframes that show what the words say",
}


@dataclass(frozen=True)
class Setting:
    """One model of the table."""

    name: str
    options: tuple[str, ...]

    @property
    def folder(self) -> str:
        """Of its run."""
        return "".join(c if c.isalnum() or c in "-_." else "-" for c in self.name)


def parse(text: str) -> Setting:
    """NAME or NAME: OPTIONS. ValueError: no name, or one that cannot be a run's folder."""
    name, _, options = text.partition(":")
    if not name.strip():
        raise ValueError(f"{text!r} has no name; expected NAME: OPTIONS, as {SETTINGS[1]!r}")
    setting = Setting(name.strip(), tuple(shlex.split(options)))
    if setting.folder in _TAKEN:
        raise ValueError(f"{name.strip()!r} is the name of something else in OUT; take another")
    return setting


def train(setting: Setting, out: Path, common: Sequence[str], words: Path | None) -> None:
    """Train one model to its end, from where it stands.

    Args:
        words: checkpoint whose words it takes; None: it makes its own.

    Raises:
        ValueError: its folder holds a run with other options.
        CalledProcessError: the training failed; it has said why.
    """
    run = out / setting.folder
    options = [*common, *setting.options]
    run.mkdir(parents=True, exist_ok=True)
    record = run / "options.json"
    told = json.dumps(options)
    if not record.exists():
        # whole or not at all
        part = record.with_suffix(".part")
        part.write_text(told)
        part.replace(record)
    elif record.read_text() != told:
        raise ValueError(f"{run} was begun with other options (options.json); take a new --out or remove it")
    if (run / "done").exists():
        return
    if words is not None:
        checkpoint = run / "checkpoint"
        checkpoint.mkdir(exist_ok=True)
        for path in (*tokenizer_files(words), words / "tokenizer_config.json"):
            if path.is_file():
                shutil.copyfile(path, checkpoint / path.name)
    emu_planner("train", "lm", *options, "--out", str(run))
    (run / "done").touch()


def measure(run: Path, scenes: int) -> dict[str, str]:
    """What the benchmark says of a run's model on its first scenes; a run of it goes on too."""
    out = run / f"bench-{scenes}"
    words = ("--scenes", str(scenes), "--checkpoint", str(run / "checkpoint"), "--out", str(out))
    emu_planner("bench", "quick", "--controls", "", *words)
    results = json.loads((out / "results.json").read_text())
    rows = results["entrants"][results["planner"]["name"]]
    if any(row["kind"] != "score" for row in rows):
        return dict.fromkeys((*_SHARES, "score"), "failed")
    told = {figure.name: str(figure) for figure in summarise(rows)}
    score = next(mean for mean in vector(rows) if mean.name == "score")
    return {**{head: told[name] for head, name in _SHARES.items()}, "score": score.short}


def losses(run: Path) -> dict[str, str]:
    """The last losses in a run's log, and its step; that of training counts codes as the setting says."""
    last: dict[str, float] = {}
    for line in (run / "log.jsonl").read_text().splitlines():
        last.update(json.loads(line))
    return {"steps": f"{last['step']:g}", **{head: f"{last[name]:.4f}" for head, name in _LOSSES.items()}}


def table(rows: Sequence[dict[str, str]]) -> str:
    """Rows as Markdown; a column for every name that any of them has."""
    names = list(dict.fromkeys(name for row in rows for name in row))
    cells = [names, ["---"] * len(names), *([row.get(name, "") for name in names] for row in rows)]
    return "".join(f"| {' | '.join(line)} |\n" for line in cells)


def emu_planner(*words: str) -> None:
    """Run a subcommand; CalledProcessError: it failed."""
    subprocess.run([sys.executable, "-m", "emu_planner.cli.main", *words], check=True)


def main(argv: Sequence[str] | None = None) -> int:
    """Train all, print the table; 0, 1 when a run failed, 2 for wrong arguments."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("settings", nargs="*", default=SETTINGS, metavar="NAME: OPTIONS")
    parser.add_argument("--data", required=True, help="folder of episodes, as of train lm")
    parser.add_argument("--tokenizer", required=True, help="checkpoint of the vision tokenizer")
    parser.add_argument("--out", type=Path, required=True, help="folder for all runs")
    parser.add_argument("--steps", type=int, default=1000, help="of each (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--options", default="", metavar="WORDS", help="more options for all, in one string")
    parser.add_argument("--bench", type=int, default=0, metavar="SCENES", help="measure plans too")
    args = parser.parse_args(argv)
    common = [
        *("--data", args.data, "--tokenizer", args.tokenizer, "--codes", str(args.out / "codes")),
        *("--steps", str(args.steps), "--seed", str(args.seed), *shlex.split(args.options)),
    ]
    rows: list[dict[str, str]] = []
    try:
        settings = [parse(text) for text in args.settings]
        if len({setting.folder for setting in settings}) < len(settings):
            raise ValueError("two settings have one name")
        words = None
        for setting in settings:
            run = args.out / setting.folder
            train(setting, args.out, common, words)
            words = words or run / "checkpoint"
            found = {"setting": setting.name, "options": " ".join(setting.options), **losses(run)}
            rows.append({**found, **(measure(run, args.bench) if args.bench else {})})
            (args.out / "table.md").write_text(table(rows))
    except ValueError as error:
        print(f"ablate: {error}")
        return 2
    except subprocess.CalledProcessError as error:
        print(f"ablate: a run failed with {error.returncode} (see above); the same command goes on there")
        return 1
    print(table(rows), end="")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
