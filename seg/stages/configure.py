"""`configure`: conf/ and overrides -> params.yaml, and data/raw, the link to the data set that `prepare` depends on.

`dvc exp run -S ...` composes params.yaml itself and does not say with which overrides; `dvc repro` composes nothing. In
the first case the overrides are worked out and recorded; in the second conf/ is composed again with the recorded ones."""

import hashlib
import json
import os
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from omegaconf import OmegaConf

from seg.configure.compose import CHOICES, compose, literal
from seg.configure.config import Config, check_signatures, checked
from seg.configure.read import yaml_said
from seg.configure.template import SECTION, digests, tracks_code
from seg.core.environment import conf_folder
from seg.core.errors import ConfigError, UsageError
from seg.core.outputs import write_whole
from seg.settings.inputs import RAW, WEIGHTS, find_root, link_input, local_weights
from seg.settings.section import Params, leaves

PARAMS = Path("params.yaml")
OVERRIDES = "overrides"
FOLLOWS = "folds"  # a section that follows from plan.folds, so that no override of it is recorded
OF_FOLDS = ("divide", "fold", "folds")  # stages that there are with plan.folds alone
RESTORE = "go back (git checkout HEAD -- params.yaml), or delete the file to start from conf/"
HEADER = "# Composed from conf/ by `seg configure`: edit conf/, or the list `overrides` below, then `dvc repro`. check="
OUTER_GROUPS = ("experiment", "task")  # an option of theirs may choose the options of others, so they are told first


@dataclass(frozen=True, slots=True)
class Arguments:
    """Of the command line. overrides: they replace the recorded ones, if there are any. clear: forget the recorded ones."""

    overrides: Sequence[str] = ()
    clear: bool = False


def run(project: Path, given: Arguments) -> None:
    """Bring params.yaml and data/raw up to date."""
    if given.clear and given.overrides:
        fix = "leave --clear out, as overrides replace those that were recorded before"
        raise UsageError(f"configure: --clear forgets the recorded overrides, and {given.overrides[0]} is one to record; {fix}")
    overrides = list(given.overrides) if given.overrides or given.clear else None
    conf, path = conf_folder(project), project / PARAMS
    old = read(path) if path.exists() else None
    in_experiment = old is not None and "DVC_EXP_NAME" in os.environ and overrides is None
    if old is not None and not in_experiment:
        refuse_edited(path, old)
    recorded = list((old or {}).get(OVERRIDES) or [])
    if in_experiment and old is not None and not _gives(conf, recorded, old):
        overrides = derive(conf, old)
    new, _ = compose(conf, overrides if overrides is not None else recorded)
    new[OVERRIDES] = overrides if overrides is not None else recorded
    if tracks_code(project):
        new[SECTION] = digests()
    if in_experiment and old is not None and not _same(new, old):
        raise ConfigError(f"params.yaml is not conf/ with {new[OVERRIDES]}; does every file of conf/*/ say `name: <its file name>`?")
    config = checked(_without_code(new))
    refuse_paths(new[OVERRIDES])
    check_signatures(config, known=_known(_committed(project) if in_experiment else old))
    root, weights = find_root(project, config.data.root, config.data.obtain), local_weights(project, config.model.weights)
    refuse_own_output(project, config, weights)
    link_input(project, RAW, root)
    link_input(project, WEIGHTS, weights)
    say_upgrade(old, new)
    if new != old or not path.exists() or not path.read_text(encoding="utf-8").startswith(HEADER):
        for line in differences(_without_code(old) if old else None, _without_code(new)):
            print(f"params.yaml: {line}")
        write(path, new)
    if "DVC_STAGE" in os.environ and old is not None and old.get(FOLLOWS) != new[FOLLOWS]:
        fix = "run `dvc repro` once more"
        raise ConfigError(f"plan.folds={new['plan']['folds']}: is recorded now, but DVC had read before which stages there are; {fix}")
    print("configured" + (f" with {' '.join(new[OVERRIDES])}" if new[OVERRIDES] else " with the defaults of conf/"))


def read(path: Path) -> Params:
    try:
        content = OmegaConf.to_container(OmegaConf.load(path))
    except Exception as error:
        if any(line.startswith("<<<<<<< ") for line in path.read_text(encoding="utf-8", errors="replace").splitlines()):
            take = f"take one with `git checkout --ours {path.name}` (or --theirs)"
            fix = f"{take}, then `seg configure OVERRIDES` with what shall hold, and `git add {path.name}`"
            raise ConfigError(f"{path}: holds both sides of a merge; {fix}") from None
        raise ConfigError(f"{yaml_said(error, [path])}; {RESTORE}") from None
    if not isinstance(content, dict):
        raise ConfigError(f"{path}: expected keys and values; {RESTORE}")
    return content  # type: ignore[return-value]


def write(path: Path, params: Params) -> None:
    """Write params.yaml whole, or not at all."""
    write_whole(path, f"{HEADER}{checksum(params)}\n{OmegaConf.to_yaml(OmegaConf.create(params))}")


def checksum(params: Params) -> str:
    """Of everything but the list of overrides, which people may edit."""
    return hashlib.sha256(json.dumps({**params, OVERRIDES: 0}, sort_keys=True).encode()).hexdigest()[:16]


def refuse_edited(path: Path, params: Params) -> None:
    """Raise ConfigError where params.yaml is not as `configure` wrote it."""
    line = path.read_text(encoding="utf-8").partition("\n")[0]
    if not line.startswith(HEADER):
        what = "an experiment that failed leaves it so. Repeat the experiment"
        raise ConfigError(f"{path.name} was not written by `seg configure`: {what}, or {RESTORE}")
    if line != HEADER + checksum(params):
        raise ConfigError(
            f"{path.name} was edited by hand, where the edit would be lost. Put the change into conf/, or into the list `overrides` "
            f"of {path.name}, and restore the rest (git checkout HEAD -- {path.name}), or delete the file to start from conf/"
        )


def refuse_paths(overrides: list[str]) -> None:
    """Raise ConfigError for an override of a folder that dvc.yaml fixes."""
    if moved := [o for o in overrides if o.lstrip("+~").startswith("paths.")]:
        raise ConfigError(f"{moved[0]}: dvc.yaml fixes the pipeline's folders; paths.* is for commands typed by hand (seg train ...)")


def refuse_own_output(project: Path, config: Config, weights: Path | None) -> None:
    """Raise ConfigError for weights that the pipeline's own training writes: DVC removes them before it trains."""
    if weights and weights.resolve().is_relative_to((project / config.paths.train).resolve()):
        fix = f"copy it, to weights/{weights.name} say, and set model.weights=weights/{weights.name}"
        raise ConfigError(f"model.weights={config.model.weights}: is what `train` writes, and DVC removes it before it trains; {fix}")


def say_upgrade(old: Params | None, new: Params) -> None:
    """Tell which stages another version of the package will run again."""
    before, after = ((p or {}).get(SECTION) or {} for p in (old, new))
    left_out = ("version", "configure", *(() if new["plan"]["folds"] else OF_FOLDS))
    stages = [name for name in after if name not in left_out]
    changed = [stage for stage in stages if before and before.get(stage) != after[stage]]
    if changed:
        former, now = before.get("version"), after["version"]
        versions = f"{former} -> {now}" if former != now else f"{now} was changed"
        print(f"seg {versions}: the code of {', '.join(changed)} is another, so these stages run again")


def derive(conf: Path, params: Params) -> list[str]:
    """The overrides of conf/ that give `params`: options by each group's `name`, then the leaves that differ."""
    overrides: list[str] = []
    base, choices = compose(conf, [])
    for group in sorted(choices, key=lambda g: (OUTER_GROUPS.index(g) if g in OUTER_GROUPS else len(OUTER_GROUPS), g)):
        name = (params.get(group) or {}).get("name")
        if name and name != (base.get(group) or {}).get("name") and (conf / group / f"{name}.yaml").is_file():
            overrides.append(f"{group}={name}")
            base, _ = compose(conf, overrides)
    here, there = ({k: v for k, v in _from_conf(p).items() if k != FOLLOWS} for p in (base, params))
    return overrides + sorted(_changes(here, there, ""), key=lambda o: "+~".find(o[0]))  # changed, added, removed


def _changes(here: Params, there: Params, prefix: str) -> list[str]:
    """The overrides that make `there` of `here`, two parts of a configuration; dicts are gone through key by key."""
    changes = [f"~{prefix}{key}" for key in here if key not in there]
    for key, value in there.items():
        before = here.get(key)
        if isinstance(before, dict) and isinstance(value, dict):
            changes += _changes(before, value, f"{prefix}{key}.")
        elif key not in here and isinstance(value, dict) and value:
            changes += _changes({}, value, f"{prefix}{key}.")
        elif key not in here or before != value:
            changes.append(f"{'' if key in here else '+'}{prefix}{key}={literal(value)}")
    return changes


def differences(old: Params | None, new: Params) -> list[str]:
    """What changed, a line a key; nothing when there was no params.yaml."""
    if old is None:
        return []
    before, after = leaves(old), leaves(new)
    return [f"{k}: {before.get(k)} -> {after.get(k)}" for k in sorted({*before, *after}) if before.get(k) != after.get(k)]


def _gives(conf: Path, overrides: list[str], params: Params) -> bool:
    try:
        return _same(compose(conf, overrides)[0], params)
    except ConfigError:
        return False


def _from_conf(params: Params) -> Params:
    """What conf/ composes of them."""
    return {k: v for k, v in params.items() if k not in (OVERRIDES, SECTION, CHOICES)}


def _without_code(params: Params) -> Params:
    return {k: v for k, v in params.items() if k not in (SECTION, CHOICES)}


def _same(a: Params, b: Params) -> bool:
    return _from_conf(a) == _from_conf(b)


def _committed(project: Path) -> Params | None:
    """params.yaml as git has it; DVC has overwritten the one in the folder."""
    shown = subprocess.run(["git", "show", f"HEAD:./{PARAMS}"], cwd=project, capture_output=True, text=True, encoding="utf-8")
    content = OmegaConf.to_container(OmegaConf.create(shown.stdout)) if shown.returncode == 0 else None
    return content if isinstance(content, dict) else None  # type: ignore[return-value]


def _known(old: Params | None) -> Config | None:
    try:
        return checked(_without_code(old)) if old else None
    except ConfigError:
        return None
