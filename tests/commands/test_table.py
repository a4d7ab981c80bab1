"""The table of commands agrees with the stages, with Hydra and with the reference."""

import typing
from dataclasses import fields
from importlib import import_module
from pathlib import Path

import pytest

from seg.commands.parser import parse, values_of
from seg.commands.table import COMMANDS, HELP, HYDRA, help_of, usage

ROOT = Path(__file__).parents[2]
LEAST = {"new": ["cells"], "init": ["raw"], "compare": ["a", "b"], "predict": ["a.ckpt", "x.png"], "export": ["a.ckpt"]}
LEAST |= {"explain": ["a.ckpt", "x.png"], "track": ["a.ckpt", "x.mp4"], "next": ["a.ckpt", "x"], "serve": ["a.ckpt"]}
"""The fewest words that each command takes."""

MOST = {
    "new": ["cells"],
    "init": ["raw", "--name", "a", "--as", "coco", "--images", "i", "--labels", "l", "--set", "a=1", "--set", "b=2", "--force"],
    "configure": ["--clear", "a=1"],
    "sweep": ["a=1"],
    "clean": ["--remove"],
    "compare": ["a", "b", "--out", "o", "--data", "d", "--images", "3"],
    "predict": ["a.ckpt", "x.png", "a=1", "--out", "o", "--force"],
    "export": ["a.ckpt", "a=1"],
    "explain": ["a.ckpt", "x.png", "a=1", "--class", "b", "--at", "3,4", "--out", "o"],
    "track": ["a.ckpt", "x.mp4", "a=1", "--out", "o", "--lost", "3", "--plain"],
    "next": ["a.ckpt", "b.ckpt", "x", "a=1", "--out", "o", "--count", "3", "--coverage", "30", "--data", "d"],
    "serve": ["a.ckpt", "b.onnx", "a=1"],
    "models": ["--encoders", "a"],
}
PLAIN = [name for name, command in COMMANDS.items() if not command.composed]


def fits(value: object, kind: object) -> bool:
    """Whether a value is of an annotation: a class, a union of classes, or a sequence of one."""
    if typing.get_origin(kind) in (typing.Union, type(int | None)):
        return any(fits(value, one) for one in typing.get_args(kind))
    if inner := typing.get_args(kind):
        return isinstance(value, list | tuple) and all(fits(one, inner[0]) for one in value)
    return isinstance(value, kind)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", PLAIN)
def test_a_stage_gets_its_arguments_in_their_types(name: str) -> None:
    """Each is annotated with the type that the table converts words to, and has the default that the help shows."""
    arguments = import_module(f"seg.stages.{name}").Arguments
    kinds = typing.get_type_hints(arguments)
    for words in (LEAST.get(name, []), MOST[name]):
        values = values_of(COMMANDS[name], parse(COMMANDS[name], words))
        assert values.keys() == {field.name for field in fields(arguments)}
        assert {key for key, value in values.items() if not fits(value, kinds[key])} == set()
    required = {positional.attribute: values[positional.attribute] for positional in COMMANDS[name].positionals}
    least = values_of(COMMANDS[name], parse(COMMANDS[name], LEAST.get(name, [])))
    default = arguments(**required)
    for option in COMMANDS[name].options:
        assert getattr(default, option.attribute) == least[option.attribute], option


def test_hydras_options_are_all_known_and_take_values_where_hydra_does() -> None:
    from hydra._internal.utils import get_args_parser

    theirs = {name: action for action in get_args_parser()._actions for name in action.option_strings}
    ours = {name: option for option in (HELP, *HYDRA) for name in option.names}
    assert ours.keys() == theirs.keys()
    for name, action in theirs.items():
        option = ours[name]
        assert (option.value is None) == (action.nargs == 0), name
        assert (option.lone is None) == (action.nargs != "?"), name
        assert list(option.choices) == list(action.choices or []), name


def markdown() -> str:
    """The table of commands in docs/reference.md."""
    rows = ["| command | what it does |", "|---|---|"]
    for command in COMMANDS.values():
        line = f"seg {command.name} [OVERRIDE ...]" if command.composed else usage(command)
        cell = f"`{line}`".replace("|", r"\|")
        rows.append(f"| {cell} | {command.summary}. {command.about} |")
    return "\n".join(rows)


def test_the_reference_has_the_table_of_commands() -> None:
    """Where it differs, put what `markdown()` gives into docs/reference.md."""
    assert markdown() in (ROOT / "docs/reference.md").read_text(), markdown()


@pytest.mark.parametrize("name", COMMANDS)
def test_every_help_has_the_same_parts(name: str) -> None:
    command, shown = COMMANDS[name], help_of(COMMANDS[name])
    assert shown.startswith(f"usage: seg {name} ")
    assert f"\n\nExamples\n  seg {name}" in shown
    assert all(f"\n  {positional.name} " in shown for positional in command.positionals)
    assert "\n  -h, --help " in shown
    assert max(map(len, shown.splitlines())) <= 110
    for example, _ in command.examples:  # each is one that the command takes
        words = [word.strip("'") for word in example.split()]
        assert words[:2] == ["seg", name]
        parsed = parse(command, words[2:])
        assert command.composed or values_of(command, parsed)
