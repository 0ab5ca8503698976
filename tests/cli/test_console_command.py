"""The arguments of `emu-planner console`: what fits together, and what is said when it does not."""

import importlib.util
from pathlib import Path

import pytest

from emu_planner.cli.main import main

needs_page = pytest.mark.skipif(
    importlib.util.find_spec("nicegui") is None, reason="the page needs requirements/console.txt"
)


def test_without_the_page_it_says_what_to_install(monkeypatch, capsys):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert main(["console", "--demo"]) == 2
    assert "requirements/console.txt" in capsys.readouterr().err


@needs_page
@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["--demo", "--host", "0.0.0.0"], "reached from other machines"),
        (["--demo", "--host", "0.0.0.0", "--tokens", "t"], "reached from other machines"),
        (["--robot", "arm", "--server", "127.0.0.1:1"], "--server is for --demo"),
        (["--demo", "--tls-key", "k"], "go together"),
        (["--demo", "--seed", "-1"], "negative"),
        (["--demo", "--picture-rate", "0"], "--picture-rate"),
        (["--demo", "--scene", "opera"], "unknown family"),
        (["--demo", "--tokens", "/nowhere/tokens"], "cannot read the token file"),
        (["--replay", "/nowhere"], "cannot read"),
    ],
)
def test_what_does_not_fit_together(arguments: list[str], complaint: str, capsys):
    assert main(["console", "--port", "0", *arguments]) == 2
    assert complaint in capsys.readouterr().err


@needs_page
def test_a_port_that_is_taken(capsys):
    import socket

    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        assert main(["console", "--demo", "--port", str(taken.getsockname()[1])]) == 3
    assert "cannot listen" in capsys.readouterr().err


@pytest.mark.parametrize("arguments", [[], ["--demo", "--robot", "arm"]])
def test_exactly_one_robot(arguments: list[str], capsys):
    with pytest.raises(SystemExit):
        main(["console", *arguments])
    capsys.readouterr()


def test_the_token_file_is_the_services_own(tmp_path: Path):
    from emu_planner.cli.console import _sign_in
    from emu_planner.service.access import hash_token

    path = tmp_path / "tokens"
    path.write_text(f"anna {hash_token('secret')}\n")
    holder = _sign_in(path)
    assert holder("secret") == "anna"
    assert holder("guess") is None
    assert holder("") is None
