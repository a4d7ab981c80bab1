"""Every command of `seg`: what it does, and the arguments and options it takes, as table.yaml beside this module says.

The parser, the help and the table of docs/reference.md are made from it. A new command costs an entry in table.yaml and a module of its
name in seg/stages: with `run(config, out)` where Hydra composes its settings (`composed`), else with a dataclass `Arguments`, whose fields
are the attributes named there, and `run(project, arguments)`. Nothing more is imported here, so that help starts quickly."""

import textwrap
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from seg.core.urls import on_disk, place_of


def whole_number(text: str) -> int:
    """An integer of 0 or more. ValueError says what is expected."""
    if not text.isascii() or not text.isdigit():
        raise ValueError("a whole number of 0 or more")
    return int(text)


def two_numbers(text: str) -> tuple[int, int]:
    """Two integers of 0 or more with a comma between them. ValueError says what is expected."""
    first, _, second = text.partition(",")
    try:
        return whole_number(first.strip()), whole_number(second.strip())
    except ValueError:
        raise ValueError("two whole numbers, such as 120,64") from None


@dataclass(frozen=True, slots=True)
class Positional:
    """Words without dashes. attribute: of the stage's Arguments. name: in the help. least, most: how many; most=None is any number.
    suffixes: words that end so belong here wherever they stand; the other words belong to the positional without suffixes."""

    attribute: str
    name: str
    text: str
    least: int = 1
    most: int | None = 1
    convert: Callable[[str], Any] = str
    suffixes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Option:
    """Words with dashes. attribute: of the stage's Arguments. value: the name of its value in the help; None for a switch.

    lone: what the option means without a value; None where it needs one. choices: its values; empty for any. apart: the attribute of an
    option that excludes this one. many: it may be given several times, and its values are a list.
    An option without text is taken, and left out of the help."""

    attribute: str
    names: tuple[str, ...]
    text: str = ""
    value: str | None = None
    default: Any = None
    lone: str | None = None
    choices: tuple[str, ...] = ()
    convert: Callable[[str], Any] = str
    apart: str | None = None
    many: bool = False


@dataclass(frozen=True, slots=True)
class Command:
    """overrides: what a word KEY=VALUE means; empty where the command takes none. composed: whether Hydra composes its settings."""

    name: str
    summary: str
    about: str
    examples: tuple[tuple[str, str], ...]
    positionals: tuple[Positional, ...] = ()
    options: tuple[Option, ...] = ()
    overrides: str = ""
    composed: bool = False


HELP = Option("help", ("-h", "--help"), "show this help")

CONVERTERS: dict[str, Callable[[str], Any]] = {"path": on_disk, "place": place_of, "whole_number": whole_number, "two_numbers": two_numbers}
"""What `convert` may say in table.yaml."""


def _made(kind: Callable[..., Any], entries: dict[str, dict[str, Any]]) -> tuple[Any, ...]:
    return tuple(kind(attribute, **_typed(given)) for attribute, given in entries.items())


def _typed(given: dict[str, Any]) -> dict[str, Any]:
    """The keys of an option or a positional as their dataclass has them."""
    typed: dict[str, Any] = {key: tuple(value) if isinstance(value, list) else value for key, value in given.items()}
    if "convert" in typed:
        typed["convert"] = CONVERTERS[typed["convert"]]
        typed |= {"default": typed["convert"](str(typed["default"]))} if "default" in typed else {}
    return typed


def _command(name: str, given: dict[str, Any]) -> Command:
    found: dict[str, Any] = {"composed": False, "overrides": ""} | given | {"examples": tuple(given["examples"].items())}
    found |= {"positionals": _made(Positional, given.get("positionals", {})), "options": _made(Option, given.get("options", {}))}
    if found["composed"]:
        found |= {"options": HYDRA, "overrides": _TABLE["override"]}
    return Command(name, **found)


_TABLE = yaml.load(Path(__file__).with_name("table.yaml").read_bytes(), getattr(yaml, "CSafeLoader", yaml.SafeLoader))

HYDRA: tuple[Option, ...] = _made(Option, _TABLE["hydra"])  # the options of Hydra's command line

OVERVIEW: str = _TABLE["overview"]
COMMANDS = {name: _command(name, given) for name, given in _TABLE["commands"].items()}
WIDTH = 110


def overview() -> str:
    rows = _rows([(command.name, command.summary) for command in COMMANDS.values()])
    return f"usage: seg COMMAND [ARGUMENT ...]     the same as python -m seg COMMAND\n\n{rows}\n\n{OVERVIEW}"


def usage(command: Command) -> str:
    parts = ["seg", command.name, *map(_positional, command.positionals)]
    parts += ["[OVERRIDE ...]"] if command.overrides else []
    shown = [option for option in command.options if option.text]
    for option in shown:
        if option.apart is None:
            parts.append(f"[{option.names[0]}{_value(option)}]")
        elif option.apart in [later.attribute for later in shown[shown.index(option) :]]:
            other = next(later for later in shown if later.attribute == option.apart)
            parts.append(f"[{option.names[0]}{_value(option)} | {other.names[0]}{_value(other)}]")
    return " ".join(parts)


def help_of(command: Command) -> str:
    """What `seg COMMAND --help` shows; groups and keys of settings follow where Hydra composes them."""
    arguments = [(one.name, one.text) for one in command.positionals]
    arguments += [("OVERRIDE", command.overrides)] if command.overrides else []
    options = [(", ".join(option.names) + _value(option), _text(option)) for option in (*command.options, HELP) if option.text]
    indent = " " * len(f"usage: seg {command.name} ")
    first = textwrap.fill(f"usage: {usage(command)}", WIDTH, subsequent_indent=indent, break_on_hyphens=False)
    summary = textwrap.fill(f"{command.summary[0].upper()}{command.summary[1:]}.", WIDTH)
    blocks = [first, f"{summary}\n{textwrap.fill(command.about, WIDTH)}", _rows(arguments + options)]
    blocks.append("Examples\n" + _rows(list(command.examples), "  # "))
    return "\n\n".join(blocks)


def _positional(positional: Positional) -> str:
    if positional.most == 1:
        return positional.name
    return f"{positional.name}..." if positional.least == 1 else f"{positional.name} {positional.name} ..."


def _value(option: Option) -> str:
    if option.value is None:
        return ""
    return f" {option.value}" if option.lone is None else f" [{option.value}]"


def _text(option: Option) -> str:
    choices = f": {', '.join(option.choices)}" if option.choices else ""
    return option.text + choices + ("" if option.default in (None, ()) else f" (default: {option.default})")


def _rows(rows: Sequence[tuple[str, str]], gap: str = "  ") -> str:
    """Two columns, the second wrapped."""
    first = max(len(name) for name, _ in rows)
    lines = []
    for name, text in rows:
        start = f"  {name:<{first}}{gap}"
        lines.append(textwrap.fill(text, WIDTH, initial_indent=start, subsequent_indent=" " * len(start), break_on_hyphens=False))
    return "\n".join(lines)
