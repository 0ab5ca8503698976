"""tools/ablate.py: what it says of settings that cannot be. What it trains: tests/training/test_runs.py."""

from pathlib import Path

import pytest

from tools import ablate


@pytest.mark.parametrize("name", ["..", ".", "codes", "table.md", ": --width 64"])
def test_a_name_that_is_no_folder_of_its_own_is_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    given = ["--data", "none", "--tokenizer", "none", "--out", str(tmp_path / "out")]
    assert ablate.main([*given, name]) == 2
    assert "name" in capsys.readouterr().out
    assert not list(tmp_path.iterdir())


def test_a_record_that_a_kill_cut_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "base").mkdir()
    (tmp_path / "base" / "options.json").write_text('["--da')
    assert ablate.main(["--data", "none", "--tokenizer", "none", "--out", str(tmp_path), "base"]) == 2
    assert "options.json" in capsys.readouterr().out
