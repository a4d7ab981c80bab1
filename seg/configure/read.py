"""One group of conf/ and what its command needs beside it, read without Hydra: quickly, in any folder, thread or program.

Hydra keeps one configuration for a whole process, which may be another program's. Commands that use a finished model need the keys of
one group alone, so they read the files themselves: the group's option, the options that its `defaults` name, and conf/config.yaml."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import MarkedYAMLError

from seg.configure.template import conf_of, template
from seg.core.errors import ConfigError, did_you_mean
from seg.settings.section import Params, leaves

BESIDE = ("targets", "paths", "runtime.engine", "runtime.address", "runtime.progress", "runtime.threads")  # beside its group


def read_group(project: Path, group: str, overrides: Sequence[str], command: str) -> Params:
    """{group: its keys, and BESIDE} of the project's conf/ or of the package's. `overrides`: KEY=VALUE, or <group>=OPTION. ConfigError for
    an override of anything else, which the command would not obey."""
    conf = conf_of(project, group)
    base = _load(conf / "config.yaml")
    chosen = [o.partition("=")[2] for o in overrides if o.partition("=")[0] == group]
    option = chosen[-1] if chosen else next((d[group] for d in base["defaults"] if OmegaConf.is_dict(d) and group in d), "default")
    own = template() / "conf"  # has what a conf/ that a former version wrote lacks
    beneath = _option(own / group, option if (own / group / f"{option}.yaml").is_file() else "default", ())
    found = OmegaConf.create({group: OmegaConf.merge(beneath, base.get(group) or {}, _option(conf / group, option, ()))})
    for key in BESIDE:
        OmegaConf.update(found, key, OmegaConf.select(base, key, default=OmegaConf.select(_load(own / "config.yaml"), key)))
    known = leaves(OmegaConf.to_container(found))
    for text in overrides:
        key, equals, value = text.partition("=")
        if key != group:
            _set(found, key.lstrip("+"), value if equals else None, known, command, group)
    return OmegaConf.to_container(found, resolve=True)  # type: ignore[return-value]


def _set(found: DictConfig, key: str, value: str | None, known: dict[str, Any], command: str, group: str) -> None:
    if value is None:
        raise ConfigError(f"{command}: {key!r} is not an override: write key=value")
    if key not in known and not any(k.startswith(f"{key}.") for k in known):
        if not key.startswith(tuple(f"{name.partition('.')[0]}." for name in (group, *BESIDE))):
            allowed = f"{group}.*, {', '.join(f'{b}.*' if '.' not in b else b for b in BESIDE)}"
            raise ConfigError(f"{key}={value}: seg {command} reads {allowed} alone; a model keeps the other settings of its training")
        section = key.partition(".")[0]
        hint = did_you_mean(key, [k for k in known if k.startswith(f"{section}.")], f"keys of {section}")
        raise ConfigError(f"unknown key {key}: {hint}")
    try:
        OmegaConf.update(found, key, OmegaConf.from_dotlist([f"value={value}"])["value"], merge=True)
    except (OmegaConfBaseException, ValueError) as error:
        raise ConfigError(f"{key}={value}: {' '.join(str(error).split())[:200]}") from None


def _option(folder: Path, name: str, inside: tuple[str, ...]) -> DictConfig:
    """An option of a group over those that its `defaults` list names."""
    path = folder / f"{name}.yaml"
    if not path.is_file() or name in inside:
        raise ConfigError(f"{folder.name}={name}: no such option; {did_you_mean(name, [p.stem for p in folder.glob('*.yaml')], 'options')}")
    content = _load(path)
    others = [d for d in content.pop("defaults", []) if isinstance(d, str) and d != "_self_"]
    merged = OmegaConf.merge(*[_option(folder, other, (*inside, name)) for other in others], content)
    assert isinstance(merged, DictConfig)
    return merged


def _load(path: Path) -> DictConfig:
    try:
        content = OmegaConf.load(path)
    except Exception as error:  # YAML's scanner, OmegaConf, and the file system each have errors of their own
        raise ConfigError(f"{path}: cannot be read as YAML ({yaml_said(error, [path])})") from None
    if not isinstance(content, DictConfig):
        raise ConfigError(f"{path}: expected keys and values")
    return content


def yaml_said(error: Exception, files: Iterable[Path]) -> str:
    """One line. files: those that may be meant, where the error names none."""
    if isinstance(error, MarkedYAMLError) and error.problem_mark is not None:
        mark = error.problem_mark
        advice = "; indent with spaces" if "\\t" in str(error.problem) else ""
        return f"{mark.name}, line {mark.line + 1}: is not YAML: {error.problem}{advice}"
    if isinstance(error, UnicodeDecodeError):
        for path in files:
            for number, line in enumerate(path.read_bytes().splitlines(), start=1):
                try:
                    line.decode()
                except UnicodeDecodeError:
                    return f"{path}, line {number}: is not UTF-8; save the file with this encoding"
    return " ".join(str(error).split())[:300]
