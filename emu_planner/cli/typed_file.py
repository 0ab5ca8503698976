"""Settings from YAML and TOML files, checked against names and types. Knows no setting by name."""

import difflib
import importlib
from collections.abc import Collection, Mapping
from pathlib import Path
from types import NoneType
from typing import Any, get_args

_WORDS = {str: "text", int: "a whole number", float: "a number", bool: "true or false", NoneType: "nothing"}


class SettingError(ValueError):
    """A setting has an unknown name or a wrong value; the message says what to do."""


def read_table(path: Path) -> dict[str, Any]:
    """The names and values in a .yaml, .yml or .toml file.

    Raises:
        SettingError: there is no such file, it has another ending, or is not of its kind.
    """
    kinds = {".yaml": ("yaml", "pip install PyYAML"), ".yml": ("yaml", "pip install PyYAML")}
    kinds[".toml"] = ("tomllib", "it comes with Python 3.11")
    if path.suffix not in kinds:
        raise SettingError(f"{path} ends in {path.suffix!r}; expected one of {sorted(kinds)}")
    if not path.is_file():
        raise SettingError(f"there is no settings file {path}")
    name, remedy = kinds[path.suffix]
    try:
        module = importlib.import_module(name)
    except ImportError as error:
        raise SettingError(f"{path} cannot be read without {name} ({remedy})") from error
    failures = (module.YAMLError if name == "yaml" else module.TOMLDecodeError, UnicodeDecodeError)
    try:
        text = path.read_text(encoding="utf-8")
        values = module.safe_load(text) if name == "yaml" else module.loads(text)
    except failures as error:
        raise SettingError(
            f"{path} is no {path.suffix[1:].upper()}: {' '.join(str(error).split())}"
        ) from error
    if values is None:
        return {}
    if not isinstance(values, dict):
        raise SettingError(f"{path} holds {describe(values)}, expected names and their values")
    return values


def check_names(
    given: Collection[Any], known: Collection[str], where: str, others: Mapping[str, str] | None = None
) -> None:
    """Refuse names that are not known.

    Args:
        given: names as they were written.
        known: all that are allowed.
        where: what they stand in, for the message.
        others: names that something is called elsewhere, and the known one for each.

    Raises:
        SettingError: a name is unknown; the message tells the nearest known one.
    """
    for name in given:
        if name not in known:
            other = (others or {}).get(str(name))
            close = difflib.get_close_matches(str(name), known, n=1, cutoff=0.0)
            advice = f"here it is called {other!r}" if other else f"the nearest known one is {close[0]!r}"
            raise SettingError(f"{where}: unknown key {name!r}; {advice}")


def check_value(name: str, value: Any, kind: Any, where: str) -> Any:
    """The value as the type that is expected.

    Args:
        name: of the setting.
        value: as the file has it.
        kind: str, int, float, bool, None, a union of them, or tuple[str, ...].
        where: what it stands in, for the message.

    Raises:
        SettingError: it is of another type.
    """
    if kind == tuple[str, ...]:
        texts = [value] if isinstance(value, str) else value
        if isinstance(texts, list) and all(isinstance(text, str) for text in texts):
            return tuple(texts)
        raise SettingError(f"{where}: {name} is {describe(value)}; expected text, or a list of texts")
    kinds = get_args(kind) or (kind,)
    # a bool is an int to Python, and YAML reads 5 where 5.0 is meant
    if type(value) in kinds:
        return value
    if type(value) is int and float in kinds:
        return float(value)
    expected = " or ".join(_WORDS[kind] for kind in kinds)
    # YAML reads 16:9 as a number of base 60
    remedy = "; write it in quotes" if str in kinds and not isinstance(value, dict | list) else ""
    raise SettingError(f"{where}: {name} is {describe(value)}; expected {expected}{remedy}")


def describe(value: Any) -> str:
    """A value in few words, with its type."""
    kinds = {**_WORDS, list: "a list", dict: "a table of names and values"}
    words = kinds.get(type(value), type(value).__name__)
    return words if isinstance(value, list | dict | NoneType) else f"{value!r}, {words}"
