"""Words of the command line, by the table of commands -> the values of a command's arguments. UsageError for what it cannot take."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from seg.commands.table import HELP, Command, Option, Positional
from seg.core.errors import InputError, UsageError, did_you_mean, nearest


@dataclass(frozen=True, slots=True)
class Parsed:
    """options: values by attribute, of those that were given. typed: the same options as words. words: all others."""

    options: dict[str, Any] = field(default_factory=dict)
    typed: list[str] = field(default_factory=list)
    words: list[str] = field(default_factory=list)

    @property
    def help(self) -> bool:
        return HELP.attribute in self.options


def parse(command: Command, given: Sequence[str]) -> Parsed:
    """Options apart from the other words, in any order; after `--` nothing is an option."""
    parsed, words = Parsed(), list(given)
    while words:
        word = words.pop(0)
        if word == "--":
            parsed.words.extend(words)
            break
        if not word.startswith("-") or word == "-":
            parsed.words.append(word)
            continue
        name, equals, text = word.partition("=")
        option = next((one for one in (HELP, *command.options) if name in one.names), None)
        if option is None:
            raise _unknown(command, word, words)
        text = _value(command, option, name, text if equals else None, words)
        if option.choices and text not in option.choices:
            raise wrong(command, f"{name} {text}: {did_you_mean(text, option.choices, 'expected one of')}")
        value: Any = text
        if option.many:
            value = [*parsed.options.get(option.attribute, ()), value]
        parsed.options[option.attribute] = True if option.value is None else value
        parsed.typed.extend([name] if option.value is None else [name, text])
    for option in command.options:
        if option.apart and {option.attribute, option.apart} <= parsed.options.keys():
            other = next(one for one in command.options if one.attribute == option.apart)
            raise wrong(command, f"{option.names[-1]} and {other.names[-1]} exclude each other; give one of them")
    return parsed


def _value(command: Command, option: Option, name: str, text: str | None, words: list[str]) -> str:
    """The option's value: behind `=`, else the next word, which is taken from `words`."""
    if option.value is None:
        if text is not None:
            raise wrong(command, f"{name} takes no value, got {text}")
        return ""
    if text is not None:
        return text
    if words and not words[0].startswith("-") and (option.lone is None or "=" not in words[0]):
        return words.pop(0)
    if option.lone is None:
        raise wrong(command, f"{name} needs a value: {name} {option.value}")
    return option.lone


def values_of(command: Command, parsed: Parsed) -> dict[str, Any]:
    """The arguments of a command that Hydra does not compose, by the attributes of its stage's Arguments."""
    overrides, words = _apart(command, parsed.words)
    values: dict[str, Any] = {"overrides": overrides} if command.overrides else {}
    for option in command.options:
        given = parsed.options.get(option.attribute)
        if given is None:
            values[option.attribute] = False if option.value is None else option.default
        elif given is True:
            values[option.attribute] = True
        else:
            try:
                values[option.attribute] = [option.convert(one) for one in given] if option.many else option.convert(given)
            except InputError:
                raise
            except ValueError as error:
                raise wrong(command, f"{option.names[-1]} {given}: expected {error}") from None
    return values | _positionals(command, words, parsed.options)


def _apart(command: Command, words: Sequence[str]) -> tuple[list[str], list[str]]:
    """Overrides, and the words that are none. Where a command takes nothing else, every word is meant as an override."""
    if command.overrides:
        overrides = [word for word in words if not command.positionals or _is_override(word)]
        return overrides, [word for word in words if word not in overrides]
    for word in words:
        key, equals, value = word.partition("=")
        option = next((one for one in command.options if f"--{key}" in one.names), None)
        if equals and option and not Path(word).exists():
            raise wrong(command, f"{word}: options are written with dashes, as in --{key}{f' {value}' if option.value else ''}")
    return [], list(words)


def _is_override(word: str) -> bool:
    """Whether a word is KEY=VALUE, and neither a file's name nor a pattern of names, which may hold = too."""
    key = word.partition("=")[0]
    return "=" in word and not Path(word).exists() and not set(key) & set("/\\*?[ ")


def _positionals(command: Command, words: Sequence[str], given: Mapping[str, Any]) -> dict[str, Any]:
    rest, values = list(words), {}
    for positional in sorted(command.positionals, key=lambda one: not one.suffixes):
        own = [word for word in rest if not positional.suffixes or Path(word).suffix in positional.suffixes]
        rest = [word for word in rest if word not in own]
        if len(own) < positional.least:
            raise wrong(command, _expected(positional, own))
        if positional.most is not None and len(own) > positional.most:
            raise wrong(command, f"expected one {positional.name}, got {len(own)}: {' '.join(own)}")
        converted = [positional.convert(word) for word in own]
        values[positional.attribute] = converted[0] if positional.most == 1 else converted
    if rest:
        raise wrong(command, f"takes no such argument: {' '.join(rest)}{_hint(command, given, rest[0])}")
    return values


def _hint(command: Command, given: Mapping[str, Any], word: str) -> str:
    """What a word too many was meant for: the value of an option that may stand alone, or a part of a pattern that the shell expanded."""
    option = next((one for one in command.options if one.lone is not None), None)
    if option is None:
        return ""
    if option.attribute in given:
        return "; write a pattern in quotes"
    return f"; did you mean {option.names[-1]}{'' if nearest(word, [option.attribute]) else f' {word}'}?"


def _expected(positional: Positional, own: Sequence[str]) -> str:
    article = "an" if positional.name[0] in "AEIO" else "a"
    name = f"{article} {positional.name}" if positional.least == 1 else f"{positional.least} or more of {positional.name}"
    got = f", got {len(own)} ({' '.join(own)})" if own else ""
    return f"expected {name}{got}: {positional.text}"


def _unknown(command: Command, word: str, following: Sequence[str]) -> UsageError:
    """An option that there is not. Where overrides are taken, the word may be one that needs no dashes."""
    name, _, value = word.partition("=")
    bare = name.lstrip("-")
    names = [one for option in (HELP, *command.options) if option.text for one in option.names]
    near = nearest(bare, [one.lstrip("-") for one in names])
    if name == "-S" and command.overrides:
        alone = following[0] if following else "KEY=VALUE"
        return wrong(command, f"unknown option -S: it belongs to `dvc exp run`; here overrides stand alone: {alone}")
    hints = [f"did you mean '{next(one for one in names if one.lstrip('-') == near)}'?"] if near else []
    if command.overrides:
        hints.append(f"{'S' if near else 's'}ettings are written without dashes, as in {bare}={value or 'VALUE'}")
    elif not near:
        hints.append(f"options: {', '.join(names)}")
    return wrong(command, f"unknown option {name}: {' '.join(hints)}")


def wrong(command: Command, message: str) -> UsageError:
    return UsageError(f"{command.name}: {message}; see seg {command.name} --help")
