"""tools/measure_tasks.py asks a random model in all six ways and tells a whole answer from a cut one."""

import io

import pytest
from rich.console import Console

from emu_planner.engine.request import SETTINGS
from tools import measure_tasks

SIZES = {"hidden": 128, "layers": 1, "vocabulary": 600, "codes": 64, "vision-channels": 32}
SMALL = [word for name, value in SIZES.items() for word in (f"--{name}", str(value))]
SMALL += ["--device", "cpu", "--image-area", "4096", "--words", "3"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("checkpoint")


def measured(folder, *words):
    console = Console(file=io.StringIO(), width=160)
    result = measure_tasks.run_all(folder, measure_tasks.read_arguments([*SMALL, *words]), console)
    measure_tasks.show(result, console)
    return {run["task"]: run for run in result["tasks"]}, console.file.getvalue()


def test_every_task_is_asked():
    assert measure_tasks.read_arguments([]).tasks == list(SETTINGS)


def test_a_task_gets_a_whole_answer(folder):
    runs, table = measured(folder, "--tasks", "t2i", "x2i", "vla")
    assert list(runs) == ["t2i", "x2i", "vla"]
    for task, run in runs.items():
        assert run["faults"] == []
        count = 1 if task in ("t2i", "x2i") else 2
        assert len(run["pictures"]) == count
        # the words of each text, the id that opens each picture, and the end
        assert run["text_tokens"] == (2 if count == 1 else 2 * 3 + 2 + 1)
        assert run["visual_tokens"] == count * (3 * 4 if task == "t2i" else 4 * 4)
    assert "2 of 64x64" in table


def test_an_answer_that_is_cut_is_told(folder):
    runs, table = measured(folder, "--tasks", "story", "--max-new-tokens", "40")
    assert runs["story"]["faults"] == ["cut", "1 pictures of 2"]
    assert "cut" in table


def test_sizes_that_do_not_fit_are_refused(folder):
    with pytest.raises(SystemExit, match="at least 256"):
        measured(folder, "--codes", "500")
