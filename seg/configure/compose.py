"""conf/ and overrides -> plain data; every mistake becomes one line with the nearest right name."""

import re
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any

import yaml
from hydra import compose as hydra_compose
from hydra import initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from seg.configure.read import yaml_said
from seg.configure.template import template
from seg.core.errors import ConfigError, did_you_mean
from seg.settings.planned import AUTO
from seg.settings.section import Params, leaves

EXAMPLE = {"model": "unet", "loss": "ce", "optimizer": "sgd", "scheduler": "cosine", "augment": "medium"}
"""An option of each group that may be left to the plan."""
GROWING = ("predict", "evaluate", "export", "trainer")  # groups all of whose options have the same keys, to which versions add
CHOICES = "fold_stages"  # a section that another one is chosen from, and nothing else reads


def compose(conf: Path, overrides: list[str]) -> tuple[Params, dict[str, str]]:
    """conf/config.yaml with `overrides` -> its resolved content (without Hydra's own) and the option of every group."""
    options, config = explain(conf, overrides)
    if options != overrides:
        config = _composed(conf, overrides)
    chosen = config.hydra.runtime.choices
    choices = {g: o for g, o in chosen.items() if not g.startswith("hydra/") and isinstance(o, str)}
    return _with_new_keys(plain(config), choices, conf), choices


def _with_new_keys(params: Params, choices: Mapping[str, str], conf: Path) -> Params:
    """With what the package's own conf/ has and a project's, which a former version wrote, lacks: keys of sections whose keys are fixed. An
    option takes them from the package's of its name, or else from the one that is chosen there."""
    own = template() / "conf"
    if conf.resolve() == own.resolve():
        return params
    there = _read(own / "config.yaml")
    chosen = {group: option for entry in there["defaults"] if isinstance(entry, dict) for group, option in entry.items()}
    given = {name: section for name, section in there.items() if isinstance(section, dict)}
    for group in GROWING:
        named = own / group / f"{choices.get(group)}.yaml"
        given[group] = _read(named if named.is_file() else own / group / f"{chosen[group]}.yaml")
    missing = {name: section for name, section in given.items() if isinstance(params.get(name), dict)}
    return params | {name: {k: v for k, v in section.items() if "${" not in str(v)} | params[name] for name, section in missing.items()}


@lru_cache(maxsize=64)
def _read(path: Path) -> Params:
    return yaml.safe_load(path.read_text(encoding="utf-8"))


def explain(conf: Path, overrides: list[str], sweep: bool = False) -> tuple[list[str], DictConfig]:
    """Raise ConfigError for the first override that names no group, option or key there is. sweep: one may give several values. Gives
    those that choose an option, and what comes of them alone."""
    groups, selected = _groups(conf), list[str]()
    parsed = _parse(overrides, groups)
    for override in parsed:
        if override.is_sweep_override() and not sweep:
            problem = f"{override.input_line}: gives several values, where one is expected; to run once for each, write seg train -m"
            raise ConfigError(f"{problem} {override.input_line}; a value with a comma is written in quotes or brackets")
        key = override.get_key_element()
        if key in groups and not override.is_delete():
            for option in _values(override):
                if option not in groups[key]:
                    raise ConfigError(f"{key}={option}: no such option; {did_you_mean(option, groups[key], f'options of {key}')}")
            selected += [f"{key}={option}" for option in _values(override)[:1]]
    composed = _composed(conf, selected)
    _refuse_unknown(parsed, leaves(plain(composed, resolve=False)), groups)
    return selected, composed


def explain_recorded(conf: Path, recorded: Path, overrides: list[str]) -> None:
    """The same for overrides of `recorded`, a params.yaml, whose options were chosen when it was written."""
    groups = _groups(conf)
    parsed = _parse(overrides, groups)
    for override, text in zip(parsed, overrides, strict=True):
        if override.get_key_element() in groups:
            raise ConfigError(f"{text}: params.yaml, which -cn pipeline reads, has no options; run `seg configure {text}` first")
    _refuse_unknown(parsed, leaves(OmegaConf.to_container(OmegaConf.load(recorded))), {})


def _groups(conf: Path) -> dict[str, list[str]]:
    folders = (folder for folder in conf.iterdir() if folder.is_dir() and folder.name not in ("hydra", "serve"))  # read without Hydra
    return {folder.name: sorted(f.stem for f in folder.glob("*.yaml")) for folder in folders}


def _refuse_unknown(parsed: list[Override], keys: Params, groups: dict[str, list[str]]) -> None:
    for override in parsed:
        key = override.key_or_group
        if key in groups or key.replace("/", ".").split(".")[0] == "hydra" or override.is_add() or override.is_force_add():
            continue
        if not any(k == key or k.startswith(f"{key}.") for k in keys):
            said = _unknown_key(key, list(keys), list(groups))
            raise ConfigError(_planned(key, keys, "did you mean" in said) or said)


def _planned(key: str, values: Params, slip: bool) -> str | None:
    """What to say of a key below one that the plan chooses. slip: whether it resembles a key that there is."""
    parts = key.split(".")
    for outer in (".".join(parts[:n]) for n in range(1, len(parts))):
        if values.get(outer) == AUTO or (values.get(f"{outer}._target_") == AUTO and not slip):
            group = parts[0]
            if outer == "augment.crop":  # of no option
                return f"{key}: the plan chooses {outer}; set all of it, as in '{outer}={{size:[256,256],foreground:0.5}}'"
            named = f"{group}={EXAMPLE.get(group, '<option>')} {key}=..."
            return f"{key}: the plan chooses {outer} ({group}=auto); name an option of {group} as well, as in {named}"
    return None


def _unknown_key(key: str, keys: list[str], groups: list[str]) -> str:
    parent, _, last = key.rpartition(".")
    while parent and not any(k.startswith(f"{parent}.") for k in keys):
        parent, _, last = parent.rpartition(".")
    prefix = f"{parent}." if parent else ""
    siblings = {k[len(prefix) :].split(".")[0] for k in keys if k.startswith(prefix)} | (set() if parent else set(groups))
    hint = did_you_mean(last, siblings, f"keys of {parent}" if parent else "groups and keys")
    added = f"; to pass a further argument, write +{key}=..." if f"{prefix}_target_" in keys else ""
    return f"unknown key {key}: {hint}{added}"


def _parse(overrides: list[str], groups: Mapping[str, Collection[str]]) -> list[Override]:
    parser, parsed = OverridesParser.create(), list[Override]()
    for text in overrides:
        if "=" not in text and not text.startswith("~"):
            meant = [f"{group}={text}" for group, options in groups.items() if text in options]
            hint = f"; did you mean {' or '.join(meant)}?" if meant else f", as in data.root={text}" if Path(text).is_dir() else ""
            raise ConfigError(f"{text!r} is not an override: write key=value{hint}")
        try:
            parsed += parser.parse_overrides([text])
        except HydraException:
            raise ConfigError(_unreadable(text)) from None
    return parsed


def _unreadable(text: str) -> str:
    key, _, value = text.partition("=")
    if not key or key != key.strip() or value != value.strip():
        return f"{text}: cannot be read as key=value; write no spaces around the first ="
    if '"' in value or "'" in value:
        return f"{key}: its value {value} cannot be read; close each quote, and enclose one that belongs to the value in the other kind"
    meaning = "a character with a meaning of its own, one of =~^,:()[]{}"
    return f"{key}: its value {value} holds {meaning}; put it into quotes: '{key}=\"{value}\"'"


def _values(override: Override) -> list[str]:
    if override.is_sweep_override():  # of a glob or a range each job's own composition tells
        return [str(v) for v in override.sweep_string_iterator()] if override.is_choice_sweep() else []
    value = override.value()
    return [str(v) for v in value] if isinstance(value, list) else [str(value)]


def _composed(conf: Path, overrides: list[str]) -> DictConfig:
    """What Hydra composes, to be read only: a command asks for the same several times, and each takes a good part of a second."""
    folder = conf.resolve()
    files = sorted(folder.rglob("*.yaml"))
    return _composed_once(folder, tuple(overrides), tuple((str(f), f.stat().st_mtime_ns, f.stat().st_size) for f in files))


@lru_cache(maxsize=64)
def _composed_once(conf: Path, overrides: tuple[str, ...], _files: tuple[tuple[str, int, int], ...]) -> DictConfig:
    try:
        with _hydra_of_its_own(), initialize_config_dir(str(conf), version_base="1.3"):
            return hydra_compose("config", overrides=list(overrides), return_hydra_config=True)
    except (HydraException, OmegaConfBaseException) as error:
        raise ConfigError(_one_line(error)) from None
    except (YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(yaml_said(error, sorted(conf.rglob("*.yaml")))) from None


@contextmanager
def _hydra_of_its_own() -> Iterator[None]:
    """Without the one that the process has, as within a command that Hydra started, or in somebody's notebook; it comes back."""
    outer = GlobalHydra.instance().hydra
    GlobalHydra.instance().clear()
    try:
        yield
    finally:
        GlobalHydra.instance().hydra = outer


def plain(config: DictConfig, resolve: bool = True) -> Params:
    """A composed configuration as plain data, without Hydra's own; ConfigError where an interpolation fails."""
    ours = OmegaConf.masked_copy(config, [str(key) for key in config if key != "hydra"])
    try:
        found: Params = OmegaConf.to_container(ours, resolve=resolve)  # type: ignore[assignment]
    except OmegaConfBaseException as error:
        raise ConfigError(_one_line(error)) from None
    return {key: section for key, section in found.items() if not resolve or key != CHOICES}


def literal(value: Any) -> str:
    """A value in Hydra's override grammar, where inside quotes a backslash is special only before a quote."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int | float):
        return repr(value)
    if isinstance(value, list):
        return "[" + ",".join(map(literal, value)) + "]"
    if isinstance(value, dict):
        return "{" + ",".join(f"{k}:{literal(v)}" for k, v in value.items()) + "}"
    if re.fullmatch(r"[A-Za-z_][\w/-]*", value, re.ASCII) and value.lower() not in {"null", "true", "false", "nan", "inf"}:
        return str(value)
    return "'" + re.sub(r"(\\+)$", r"\1\1", re.sub(r"(\\*)'", r"\1\1\\'", value)) + "'"


def _one_line(error: Exception) -> str:
    cause = f" ({error.__cause__})" if error.__cause__ else ""
    return " ".join(f"{error}{cause}".split())
