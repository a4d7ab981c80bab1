"""What a file of someone else's may build: a closed list of networks, with plain values for arguments.

A prefix of allowed modules is no such list: some function below each of them runs commands, unpickles, downloads or writes files.
docs/security.md says what this is for."""

import inspect
import math
import sys
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, get_args

import yaml
from torch import nn

from seg.core.errors import ConfigError
from seg.settings.section import Target
from seg.settings.targets import check_allowed, locate, nested

KNOWN: dict[str, Any] = yaml.safe_load(Path(__file__).with_name("known.yaml").read_text(encoding="utf-8"))
NETWORKS, MODELS, METRICS = (
    frozenset(f"{package}.{name}" for package, names in KNOWN[kind].items() for name in names) for kind in ("networks", "models", "metrics")
)
LIBRARIES = {"seg", "segmentation_models_pytorch", "torchvision", "timm", "torch", "albumentations", "lightning", "hydra", "omegaconf"}
"""Packages in which a user's word means one class or function, named in full: each holds functions that run what they get."""

WEIGHTS = ("encoder_weights", "weights_backbone", "weights", "pretrained")
"""The arguments by which networks ask a hub for weights. A checkpoint brings its own."""

MOST, DEEPEST, LONGEST = 100_000, 32, 10_000  # values, levels, characters
WIDEST = 2**16  # the largest whole number that an argument of a network may be: of channels, of pixels, of an image's side


def check_plain(content: Any, name: str) -> None:
    """Raise ConfigError where a value is anything but numbers, text and truth values in lists and dicts of a bounded size."""
    todo, seen = [(content, 0)], 0
    while todo:
        value, depth = todo.pop()
        seen += 1
        if seen > MOST or depth > DEEPEST:
            raise ConfigError(f"{name}: holds more than {MOST} values, or more than {DEEPEST} in each other")
        if isinstance(value, Mapping):
            todo += [(inner, depth + 1) for pair in value.items() for inner in pair]
        elif isinstance(value, list | tuple):
            todo += [(inner, depth + 1) for inner in value]
        elif isinstance(value, str):
            if len(value) > LONGEST:
                raise ConfigError(f"{name}: holds a text of {len(value)} characters")
        elif type(value) is int:
            if abs(value) >= 2**63:
                raise ConfigError(f"{name}: holds a number that is out of range")
        elif value is not None and type(value) not in (float, bool):
            raise ConfigError(f"{name}: holds a {type(value).__name__}, expected numbers, text and lists of them")


def check_file_target(target: Target, allow: Sequence[str], key: str, known: Collection[str], base: type = nn.Module) -> None:
    """Raise ConfigError where a file's `_target_` is neither in `known` nor a user's own, or its arguments are not plain.

    allow: the user's `targets.allow`. A module in it that is of no LIBRARIES is the user's word for what lies below; an entry that is
    the full name of a class or function is one for that, wherever it lies. base: of what a class must be."""
    own = target.target not in known
    parameters = inspect.signature(_found(target.target, allow, key, known, base)).parameters
    named = {n for n, p in parameters.items() if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)}
    for name, value in target.arguments.items():
        at = f"{key}.{name}"
        if name not in named | {"name", *KNOWN["further_arguments"]} and not own:
            raise ConfigError(f"{at}: is no argument of {target.target} that a file may give")
        inner = list(nested(value, at))
        if inner and not (name in named and _takes_modules(parameters[name].annotation, own)):
            raise ConfigError(f"{inner[0][0]}._target_={inner[0][1].target}: a file may give only a value here, not a call")
        for place, one in inner:
            check_file_target(one, allow, place, NETWORKS)
        _check_bounds(value, at)


def check_uncalled(target: Target, allow: Sequence[str], key: str, known: Collection[str]) -> None:
    """Raise ConfigError as `check_file_target` does, by the name alone; nothing is imported, and no argument may be a call."""
    check_name(target.target, allow, key, known)
    for place, inner in nested(target.arguments, key):
        raise ConfigError(f"{place}._target_={inner.target}: a file may give only a value here, not a call")


def check_aside(value: Any, key: str, allow: Sequence[str]) -> None:
    """Raise ConfigError where a part of a file that is never built names what no such part is: a call in the place of a value.

    A loss is a call, and so are the losses of a sum. Nothing is imported, nothing is called."""
    for place, target in nested(value, key):
        check_allowed(target.target, allow, place)
        name = target.target
        loss = name.startswith("seg.models.losses.") or name.endswith("Loss") or name == "seg.models.instance.TermWeights"
        library = name.partition(".")[0] in LIBRARIES
        if not (place == key or place.endswith((".loss", ".class_loss"))) or (library and not loss and name not in allow):
            raise ConfigError(f"{place}._target_={name}: is no loss, and a file may not name anything else here")


def without_hub(target: Target) -> Target:
    """The same call with no weights by name, so that nothing is asked of a hub."""
    return Target.model_validate({"_target_": target.target} | target.arguments | {n: None for n in WEIGHTS if n in target.arguments})


def check_name(name: str, allow: Sequence[str], key: str, known: Collection[str]) -> None:
    """Raise ConfigError where a name is neither in `known` nor a user's own; nothing is imported."""
    check_allowed(name, allow, key)
    words = [w for w in allow if w.partition(".")[0] not in LIBRARIES | sys.stdlib_module_names]
    if name in known or name in allow or any(name.startswith(f"{word}.") for word in words):
        return
    module = name if name.partition(".")[0] in LIBRARIES else name.rpartition(".")[0]
    problem = f"{key}._target_={name}: a file builds only the networks that seg knows by name, and this is none of them"
    raise ConfigError(f"{problem}; if you trust the file, append {module} to targets.allow in your conf/config.yaml")


def _found(name: str, allow: Sequence[str], key: str, known: Collection[str], base: type) -> Callable[..., Any]:
    """The class or builder function itself, looked at: where it was defined, and what it is."""
    check_name(name, allow, key, known)
    found = locate(name, allow, key)
    home, package = str(getattr(found, "__module__", None)), name.partition(".")[0]
    kind = issubclass(found, base) if inspect.isclass(found) else inspect.isfunction(found) and base is nn.Module
    if home.partition(".")[0] != package or getattr(found, "__qualname__", "") != name.rpartition(".")[2] or not kind:
        raise ConfigError(f"{key}._target_={name}: is {home}'s, and no {base.__name__} nor a function that builds one")
    return found


def _takes_modules(annotation: Any, own: bool) -> bool:
    """Whether an argument is declared as a module, or a list or dict of modules; of a user's own class also one that is not declared."""
    if annotation is inspect.Parameter.empty:
        return own
    if inspect.isclass(annotation):
        return issubclass(annotation, nn.Module)
    return "Module" in annotation if isinstance(annotation, str) else any(_takes_modules(inner, False) for inner in get_args(annotation))


def _check_bounds(value: Any, key: str) -> None:
    if isinstance(value, Mapping):
        for name, inner in value.items():
            _check_bounds(inner, f"{key}.{name}")
    elif isinstance(value, list | tuple):
        for number, inner in enumerate(value):
            _check_bounds(inner, f"{key}[{number}]")
    elif type(value) in (int, float) and not (math.isfinite(value) and abs(value) <= WIDEST):
        raise ConfigError(f"{key}={value}: expected a number up to {WIDEST}")
