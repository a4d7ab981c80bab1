"""The best trial as an option of conf/experiment: the groups' options and the keys in which it differs from conf/."""

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from seg.configure.compose import compose
from seg.core.errors import ConfigError
from seg.core.outputs import write_whole

MARK = "# Written by seg sweep, which replaces it as long as it is as written. check="
APART = ("sweep", "experiment", "paths", "runtime", "overrides")
"""Sections that an experiment does not set: they are of the command, not of what is trained."""


def experiment_path(conf: Path, study: str) -> Path:
    """The option of a study's best trial."""
    return conf / "experiment" / f"{study}.yaml"


def is_ours(path: Path) -> bool:
    """Whether a file may be replaced: it is not there, or is as a sweep has written it."""
    if not path.exists():
        return True
    lines = path.read_text(encoding="utf-8").splitlines()
    return len(lines) > 1 and lines[1] == MARK + _check(lines)


def write_experiment(conf: Path, study: str, overrides: Sequence[str], found: str) -> bool:
    """Write conf/experiment/<study>.yaml, which gives what `overrides` give; whether it was written, as it is not where somebody's own is.

    found: of what value, and how, for a comment.
    """
    path = experiment_path(conf, study)
    if not is_ours(path):
        return False
    content = experiment_of(conf, study, overrides)
    lines = ["# @package _global_", "", f"# dvc exp run -S experiment={study}", f"# {found}"]
    for key, value in content.items():
        inline = None if isinstance(value, dict) else False  # as the other files of conf/ have it
        lines += yaml.safe_dump({key: value}, sort_keys=False, width=1000, default_flow_style=inline).splitlines()
    lines[1] = MARK + _check(lines)
    text = "\n".join(lines) + "\n"
    before = path.read_text(encoding="utf-8") if path.exists() else None
    if text != before:
        write_whole(path, text)
    both = (compose(conf, given)[0] for given in ([f"experiment={study}"], list(overrides)))
    made, wanted = ({section: value for section, value in params.items() if section not in APART} for params in both)
    if made != wanted:
        path.unlink() if before is None else path.write_text(before, encoding="utf-8")
        raise ConfigError(f"{path}: cannot say what {' '.join(overrides)} give; take these overrides themselves")
    return True


def experiment_of(conf: Path, study: str, overrides: Sequence[str]) -> dict[str, Any]:
    wanted, choices = compose(conf, list(overrides))
    groups = {group: option for group, option in choices.items() if group not in APART}
    _, usual = compose(conf, ["~experiment"])  # whose place the file takes
    chosen = {group: option for group, option in groups.items() if option != usual.get(group)}
    base, _ = compose(conf, ["~experiment", *(f"{group}={option}" for group, option in groups.items())])
    content: dict[str, Any] = {"experiment": {"name": study}}
    if chosen:
        content["defaults"] = [{f"override /{group}": option} for group, option in chosen.items()]
    for section, value in wanted.items():
        if section not in APART and (changed := _changed(base[section], value)) is not None:
            content[section] = changed
    return content


def _changed(here: Any, there: Any) -> Any:
    """What of `there` is not as it is `here`; of dicts key by key. None where nothing is."""
    if not isinstance(here, dict) or not isinstance(there, dict):
        return there if here != there else None
    changed: dict[str, Any] = {}
    for key, value in there.items():
        if key not in here or (here[key] != value and value is None):
            changed[key] = value
        elif (inner := _changed(here[key], value)) is not None:
            changed[key] = inner
    return changed or None


def _check(lines: Sequence[str]) -> str:
    """Of all lines but the second, which holds it."""
    return hashlib.sha256("\n".join([lines[0], *lines[2:]]).encode()).hexdigest()[:16]
