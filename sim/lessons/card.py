"""The data card of a folder of lessons: counted from its own lines, and how to make it again."""

from collections import Counter
from pathlib import Path

from sim.card import CARD
from sim.shards import Run


def write(run: Run) -> Path:
    """Write the card beside the data; returns its path."""
    path = run.folder / CARD
    part = path.with_suffix(".md.tmp")
    part.write_text(of_run(run), encoding="ascii")
    part.replace(path)
    return path


def of_run(run: Run) -> str:
    """The card, as Markdown."""
    lessons, pictures, words = Counter[str](), Counter[str](), Counter[str]()
    questions: dict[str, set[str]] = {}
    for shard in run.shards:
        for line in shard.lines():
            task = line["task"]
            lessons[task] += 1
            pictures[task] += len(line["frames"])
            words[task] += sum(len(text.split()) for _, text in line["parts"])
            questions.setdefault(task, set()).add(line["instruction"])
    rows = [
        f"| {task} | {count} | {pictures[task] / count:.1f} | {words[task] / count:.0f} "
        f"| {len(questions[task])} |"
        for task, count in sorted(lessons.items())
    ]
    settings = run.settings
    return "\n".join(
        [
            "# Lessons of emu_planner",
            "",
            f"{sum(lessons.values())} lessons, {sum(pictures.values())} pictures of 384 x 192 px, "
            "all made by the simulator: words and pictures are exact.",
            "",
            "| task | lessons | pictures each | words of the answer each | different questions |",
            "| --- | --- | --- | --- | --- |",
            *rows,
            "",
            "Made by, and made again bit for bit by:",
            "",
            f"    emu-planner data lessons --tasks {settings['tasks']} --episodes {settings['episodes']} "
            f"--first-seed {settings['first_seed']} --out FOLDER",
            "",
            "`shard-XXXXX.frames` holds the pictures, PNG one after the other (front view left, side view",
            "right); `shard-XXXXX.jsonl` holds a lesson a line, its `frames` being (offset, length) in that",
            "file: first the references of the question, then the answer's. `parts` are the answer in its",
            "order, `truths` what each picture shows (symbols, places in metres, cameras), `asked` what the",
            "words ask for. `sim.lessons.data.LessonReader` reads the folder; `emu-planner data verify`",
            "checks it. All seeds are training seeds: below 1000000000.",
            "",
        ]
    )
