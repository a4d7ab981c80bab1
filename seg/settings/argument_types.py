"""Arguments of libraries' classes and functions, compared with the types that their signatures declare.

Configurations hold plain values alone, so what a signature takes beside those is left out; where nothing is left, every value passes.
"""

import inspect
import json
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from enum import Enum
from pathlib import Path
from types import NoneType, SimpleNamespace, UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from pydantic import TypeAdapter, ValidationError

from seg.core.errors import ConfigError
from seg.settings.section import explain

SWITCHES = {"no": "false", "off": "false", "false": "false", "yes": "true", "on": "true", "true": "true"}
"""Words that are text, and so on, where a switch is meant."""

UNKNOWN = object()
_PLAIN = (bool, int, float, str, NoneType, dict, list, Any)
_LISTS = (list, tuple, set, frozenset, Sequence, Iterable)


def types_of(call: Callable[..., Any]) -> dict[str, Any]:
    """{argument: its type among plain values, or UNKNOWN}: its annotation's, or else that of its default."""
    parameters = inspect.signature(call).parameters
    return {
        name: _of_default(p.default) if p.annotation is p.empty else _plain(_resolved(p.annotation, call)) for name, p in parameters.items()
    }


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
