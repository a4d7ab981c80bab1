"""`_target_`: from a name in the configuration to a called class or function, from allowed modules alone.

What a call needs and only the running program knows (the number of classes, say) is passed by `build` to whichever
argument of the given names the signature has.
"""

import inspect
from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from typing import Any

from pydantic import TypeAdapter, ValidationError

from seg.errors import ConfigError, did_you_mean, nearest
from seg.schema import Target


def check_allowed(name: str, allow: Sequence[str], key: str) -> None:
    """Raise ConfigError where `name` does not lie under one of the modules `allow`."""
    if not _lies_under(name, allow):
        raise ConfigError(
            f"{key}._target_={name}: is not in an allowed module ({', '.join(allow)}); "
            "to allow its module, append it to targets.allow in conf/config.yaml"
        )


def locate(name: str, allow: Sequence[str], key: str) -> Callable[..., Any]:
    """The class or function that `name` means. It must be defined in an allowed module, not merely imported there."""
    check_allowed(name, allow, key)
    parts = name.split(".")
    found: Any = None
    for cut in range(len(parts) - 1, 0, -1):
        try:
            found = import_module(".".join(parts[:cut]))
        except ModuleNotFoundError as error:
            if error.name and not ".".join(parts[:cut]).startswith(error.name):
                raise ConfigError(f"{key}._target_={name}: needs the package {error.name}; pip install it") from None
            continue
        break
    if found is None:
        raise ConfigError(f"{key}._target_={name}: there is no module {parts[0]}; pip install it, or correct the name")
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


def check_arguments(target: Target, allow: Sequence[str], key: str, given: Sequence[str] = ()) -> None:
    """Raise ConfigError where the arguments do not fit the signature; `given` ones are passed at run time."""
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
        if target.target.startswith("seg."):
            _check_type(value, named[argument].annotation, f"{key}.{argument}")
    required = {n for n, p in named.items() if p.default is p.empty and n not in given}
    if absent := sorted(required - target.arguments.keys()):
        raise ConfigError(f"{key}.{absent[0]} is missing: {target.target} needs it")


def _check_type(value: Any, annotation: Any, key: str) -> None:
    try:
        TypeAdapter(annotation).validate_python(value)
    except ValidationError as error:
        expected = error.errors()[0]["msg"].removeprefix("Input should be ")
        raise ConfigError(f"{key}={value!r}: expected {expected}, got {type(value).__name__}") from None


def build(target: Target, allow: Sequence[str], key: str, runtime: Mapping[str, Any], *positional: Any) -> Any:
    """Call the target with its arguments, and with those of `runtime` that its signature names."""
    call = locate(target.target, allow, key)
    parameters = inspect.signature(call).parameters
    arguments = {k: v for k, v in target.arguments.items() if k != "name" or "name" in parameters}
    arguments |= {name: value for name, value in runtime.items() if name in parameters}
    try:
        return call(*positional, **arguments)
    except (TypeError, ValueError, KeyError, AssertionError) as error:
        if isinstance(error, ConfigError):
            raise
        message = " ".join(str(error.args[0] if error.args else error).split())
        raise ConfigError(f"{key}: {target.target} does not take these arguments: {message[:600]}") from error
