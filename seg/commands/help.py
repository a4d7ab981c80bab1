"""The help of `seg` and of each command, from the table of commands."""

import textwrap
from collections.abc import Sequence

from seg.commands.table import COMMANDS, HELP, OVERVIEW, Command, Option, Positional

WIDTH = 110


def overview() -> str:
    rows = _rows([(command.name, command.summary) for command in COMMANDS.values()])
    return f"usage: seg COMMAND [ARGUMENT ...]     the same as python -m seg COMMAND\n\n{rows}\n\n{OVERVIEW}"


def usage(command: Command) -> str:
    """seg COMMAND with its arguments and options."""
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
    first = textwrap.fill(
        f"usage: {usage(command)}", WIDTH, subsequent_indent=" " * len(f"usage: seg {command.name} "), break_on_hyphens=False
    )
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
