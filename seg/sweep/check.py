"""What can be known of a sweep's settings before its first trial."""

import math
from collections.abc import Sequence
from itertools import cycle, islice, product
from pathlib import Path

from hydra.core.override_parser.overrides_parser import OverridesParser

from seg.configure.compose import compose
from seg.configure.config import check_signatures, checked
from seg.core.errors import ConfigError
from seg.sweep.space import Dimension
from seg.training.settings import SECTIONS

SWEPT = tuple(section for section in SECTIONS if section != "task")
"""The sections that may vary: those that a training reads, but for the task, by which the figure itself would be another."""

COMBINATIONS = 16
"""Of groups' options, that are composed at most; of more, so many that each option is among them."""


def check_overrides(overrides: Sequence[str], space: Sequence[Dimension]) -> None:
    """Raise ConfigError for an override that no trial can keep, or that the space says as well."""
    keys = {dimension.key for dimension in space}
    for override in OverridesParser.create().parse_overrides(list(overrides)):
        key, text = override.get_key_element(), override.input_line
        if override.is_sweep_override():
            raise ConfigError(f"{text}: a sweep's choices stand in sweep.space, as in 'sweep.space={{{key}: [...]}}'")
        if override.is_delete():
            raise ConfigError(f"{text}: an experiment, as which the best trial is kept, can only set keys; set it to null if that will do")
        if key in ("runtime.trial", "hydra.run.dir", "experiment.name"):
            raise ConfigError(f"{text}: seg sweep sets it for each trial; leave it out")
        if key in keys:
            raise ConfigError(f"{text}: {key} varies in sweep.space; leave it out here or there")


def check_space(conf: Path, space: Sequence[Dimension], fixed: Sequence[str]) -> None:
    """Raise ConfigError for a key or value that no training takes: every choice and both ends of every range are composed once or more."""
    for dimension in space:
        if dimension.key.lstrip("+").partition(".")[0] not in SWEPT:
            raise ConfigError(
                f"sweep.space.{dimension.key}: trials differ in what a training reads; expected a key or group of {', '.join(SWEPT)}"
            )
    for row in rows(conf, space):
        check_signatures(checked(compose(conf, [*fixed, *row])[0]))


def rows(conf: Path, space: Sequence[Dimension]) -> list[list[str]]:
    """Overrides with every combination of groups' options (or, of many, with every option), and every other key's examples."""
    groups = [d for d in space if (conf / d.key).is_dir()]
    keys = [d for d in space if d not in groups]
    options = [[f"{d.key}={text}" for text in d.examples()] for d in groups]
    values = [[f"{d.key}={text}" for text in d.examples()] for d in keys]
    if math.prod(map(len, options)) > COMBINATIONS:
        chosen = _side_by_side(options)
    else:
        chosen = [list(combination) for combination in product(*options)]
    return [[*combination, *row] for combination in chosen for row in _side_by_side(values) or [[]]]


def _side_by_side(columns: Sequence[Sequence[str]]) -> list[list[str]]:
    """As many rows as the longest column has entries; shorter ones begin again."""
    longest = max(map(len, columns), default=0)
    return [list(row) for row in zip(*(islice(cycle(column), longest) for column in columns), strict=True)]
