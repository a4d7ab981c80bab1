"""`_target_`: from a name in the configuration to a called class or function, from allowed modules alone.

What a call needs and only the running program knows (the number of classes, say) is passed by `build` to whichever
argument of the given names the signature has. An argument may hold further `_target_`s, at any depth: they are called first.
Arguments of libraries' classes and functions are compared with the types that their signatures declare. Configurations hold plain values
alone, so what a signature takes beside those is left out; where nothing is left, every value passes."""

import inspect
import json
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from enum import Enum
from importlib import import_module
from pathlib import Path
from types import NoneType, SimpleNamespace, UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from pydantic import TypeAdapter, ValidationError

from seg.core.errors import ArgumentError, ConfigError, did_you_mean, nearest
from seg.settings.section import Target, explain

SWITCHES = {"no": "false", "off": "false", "false": "false", "yes": "true", "on": "true", "true": "true"}
"""Words that are text, and so on, where a switch is meant."""

UNKNOWN = object()
_PLAIN = (bool, int, float, str, NoneType, dict, list, Any)
_LISTS = (list, tuple, set, frozenset, Sequence, Iterable)


def types_of(call: Callable[..., Any]) -> dict[str, Any]:
    """{argument: its type among plain values, or UNKNOWN}: its annotation's, or else that of its default."""
    parameters = inspect.signature(call).parameters
    declared = {name: _plain(_resolved(p.annotation, call)) for name, p in parameters.items() if p.annotation is not p.empty}
    return {name: declared[name] if name in declared else _of_default(p.default) for name, p in parameters.items()}


def check_type(value: Any, kind: Any, key: str) -> None:
    """Raise ConfigError where a plain value is not of the type, of which UNKNOWN takes all but words for on and off."""
    word = value.lower() if isinstance(value, str) else ""
    if word in SWITCHES and (kind is UNKNOWN or bool in (kind, *get_args(kind))):
        raise ConfigError(f"{key}={value!r}: is text, which counts as true; write {SWITCHES[word]}, without quotes")
    if kind is UNKNOWN:
        return
    try:
        TypeAdapter(kind).validate_json(json.dumps(value), strict=True)
    except ValidationError as error:
        raise ConfigError(explain(error, kind, key)) from None


def _resolved(annotation: Any, call: Callable[..., Any]) -> Any:
    """An annotation that is text, as the call's module means it."""
    if not isinstance(annotation, str):
        return annotation
    try:
        return get_type_hints(SimpleNamespace(__annotations__={"it": annotation}), vars(sys.modules[call.__module__]))["it"]
    except Exception:  # a name that only a type checker resolves
        return UNKNOWN


def _of_default(default: Any) -> Any:
    if isinstance(default, bool):
        return bool | None
    return float | None if isinstance(default, int | float) else UNKNOWN


def _plain(kind: Any) -> Any:
    """The part of an annotation that plain values may have."""
    origin, inner = get_origin(kind), [_plain(one) for one in get_args(kind) if one is not ...]
    if origin in (Union, UnionType):
        known = [one for one in inner if one is not UNKNOWN]
        return Union[tuple(known)] if set(known) - {NoneType} else UNKNOWN  # noqa: UP007 - of types that are known at run time
    if origin is Literal:
        return kind if not any(isinstance(one, Enum) for one in get_args(kind)) else UNKNOWN
    if kind in _LISTS or (origin in _LISTS and (not inner or UNKNOWN in inner)):
        return list
    if origin is tuple and ... not in get_args(kind):
        return tuple[tuple(inner)]  # type: ignore[misc]
    if origin in _LISTS:
        return list[inner[0]]  # type: ignore[valid-type]
    if kind is Mapping or origin in (dict, Mapping):
        return dict
    if inspect.isclass(kind) and issubclass(kind, Path):
        return str
    return kind if kind in _PLAIN else UNKNOWN


def check_allowed(name: str, allow: Sequence[str], key: str) -> None:
    """Raise ConfigError where `name` does not lie under one of the modules `allow`."""
    if not _lies_under(name, allow):
        what = f"{key}._target_={name}: is not in an allowed module ({', '.join(allow)})"
        raise ConfigError(f"{what}; to allow its module, append it to targets.allow in conf/config.yaml")


def locate(name: str, allow: Sequence[str], key: str) -> Callable[..., Any]:
    """The class or function that `name` means. It must be defined in an allowed module, not merely imported there."""
    check_allowed(name, allow, key)
    parts = name.split(".")
    for cut in range(len(parts) - 1, 0, -1):
        try:
            found: Any = import_module(".".join(parts[:cut]))
            break
        except ModuleNotFoundError as error:
            if error.name and not ".".join(parts[:cut]).startswith(error.name):
                raise ConfigError(f"{key}._target_={name}: needs the package {error.name}; pip install it") from None
    else:
        what = f"{key}._target_={name}: there is no module {parts[0]}; pip install it, or correct the name"
        raise ConfigError(f"{what}; if it lies in this folder, run python -m seg in place of seg")
    for position in range(cut, len(parts)):
        if not hasattr(found, parts[position]):
            public = [n for n in dir(found) if not n.startswith("_")]
            guess = nearest(parts[position], public)
            hint = f"; did you mean '{guess}'?" if guess else ""
            raise ConfigError(f"{key}._target_={name}: {'.'.join(parts[:position])} has no '{parts[position]}'{hint}")
        found = getattr(found, parts[position])
    if not callable(found) or inspect.ismodule(found):
        raise ConfigError(f"{key}._target_={name}: is not a class or function")
    home = getattr(found, "__module__", None)
    if not _lies_under(f"{home}.", allow):
        raise ConfigError(f"{key}._target_={name}: is defined in {home}, which is not an allowed module ({', '.join(allow)})")
    return found


def _lies_under(name: str, allow: Sequence[str]) -> bool:
    return any(name.startswith(f"{module}.") for module in allow)


def nested(value: Any, key: str) -> Iterator[tuple[str, Target]]:
    """Every `_target_` node in a value of dicts and lists, with its key; one that lies within another comes after it."""
    if target := _as_target(value, key):
        yield key, target
        value = target.arguments
    for name, child in _children(value):
        yield from nested(child, f"{key}{name}")


def _as_target(value: Any, key: str) -> Target | None:
    if not isinstance(value, dict) or "_target_" not in value:
        return value if isinstance(value, Target) else None
    if not isinstance(value["_target_"], str):
        raise ConfigError(f"{key}._target_={value['_target_']!r}: expected the name of a class or function")
    return Target.model_validate(value)


def _children(value: Any) -> list[tuple[str, Any]]:
    if isinstance(value, dict):
        return [(f".{name}", child) for name, child in value.items()]
    return [(f"[{number}]", child) for number, child in enumerate(value)] if isinstance(value, list) else []


def _filled(value: Any, key: str, call: Callable[[Target, str], Any]) -> Any:
    """`value` with the outermost `_target_` nodes in it replaced by what `call` makes of each and its key."""
    if target := _as_target(value, key):
        return call(target, key)
    inner = [_filled(child, f"{key}{name}", call) for name, child in _children(value)]
    if isinstance(value, dict):
        return dict(zip(value, inner, strict=True))
    return inner if isinstance(value, list) else value


def check_arguments(target: Target, allow: Sequence[str], key: str, given: Sequence[str] = ()) -> None:
    """Raise ConfigError where the arguments do not fit the signature; `given` ones are passed at run time.

    Those of a nested `_target_` are not looked at."""
    call = locate(target.target, allow, key)
    parameters = dict(inspect.signature(call).parameters)
    open_ended = any(p.kind is p.VAR_KEYWORD for p in parameters.values())
    named = {n: p for n, p in parameters.items() if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)}
    for argument, value in target.arguments.items():
        if argument == "name" and "name" not in named:
            continue
        if argument not in named:
            if open_ended and nearest(argument, named) is None:
                continue
            raise ConfigError(f"unknown key {key}.{argument}: {did_you_mean(argument, named, f'arguments of {target.target}')}")
        if argument in given:
            raise ConfigError(f"{key}.{argument}: is known from the data; leave it out")
        at = f"{key}.{argument}"
        if target.target.startswith("seg."):
            _typed(_filled(value, at, lambda inner, place: locate(inner.target, allow, place)), named[argument].annotation, at)
    if not target.target.startswith("seg."):
        check_types(target, call, key)
    required = {n for n, p in named.items() if p.default is p.empty and n not in given}
    if absent := sorted(required - target.arguments.keys()):
        raise ConfigError(f"{key}.{absent[0]} is missing: {target.target} needs it")


def check_types(target: Target, call: Callable[..., Any], key: str) -> None:
    """Raise ConfigError for an argument of a library's class or function that is of another type than it takes."""
    kinds = types_of(call)
    for argument, value in target.arguments.items():
        if (argument != "name" or argument in kinds) and not any(nested(value, key)):
            check_type(value, kinds.get(argument, UNKNOWN), f"{key}.{argument}")


def _typed(value: Any, annotation: Any, key: str) -> Any:
    """The value as its annotation has it; ConfigError where it does not fit."""
    try:
        return TypeAdapter(annotation).validate_python(value)
    except ValidationError as error:
        raise ConfigError(explain(error, annotation, key)) from None


def build(target: Target, allow: Sequence[str], key: str, runtime: Mapping[str, Any], *positional: Any) -> Any:
    """Call the target with its arguments, and with those of `runtime` that its signature names; nested ones likewise."""
    call = locate(target.target, allow, key)
    parameters = inspect.signature(call).parameters
    arguments = {k: v for k, v in target.arguments.items() if k != "name" or "name" in parameters}
    arguments = {k: _filled(v, f"{key}.{k}", lambda inner, place: build(inner, allow, place, runtime)) for k, v in arguments.items()}
    if target.target.startswith("seg."):
        arguments = {k: _typed(v, parameters[k].annotation, f"{key}.{k}") if k in parameters else v for k, v in arguments.items()}
    else:
        check_types(target, call, key)
    arguments |= {name: value for name, value in runtime.items() if name in parameters}
    try:
        return call(*positional, **arguments)
    except ArgumentError as error:
        raise ConfigError(f"{key}.{error}") from None
    except (TypeError, ValueError, KeyError, AssertionError) as error:
        if isinstance(error, ConfigError):
            raise
        message = " ".join(str(error.args[0] if error.args else error).split())
        raise ConfigError(f"{key}: {target.target} does not take these arguments: {message[:600]}") from error
