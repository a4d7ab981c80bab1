"""The space of a sweep: `sweep.space` as dimensions, each a key with a range or choices; and what can be known before a trial."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from itertools import cycle, islice, product
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from pydantic import ValidationError

from seg.configure.compose import compose, literal
from seg.configure.config import check_signatures, checked
from seg.core.errors import ConfigError, nearest
from seg.settings.section import Section, explain
from seg.training.settings import SECTIONS

if TYPE_CHECKING:
    import optuna

EXAMPLE = "{optimizer.lr: {low: 1.0e-3, high: 1.0, log: true}, model: [unet_small, unet]}"


class _Range(Section):
    low: int | float
    high: int | float
    step: int | float | None = None  # an entry of a space has no place for defaults
    log: bool = False


@dataclass(frozen=True, slots=True)
class Range:
    """Numbers from low to high, both included; whole ones where low, high and step are. step: between them, from low on."""

    key: str
    low: float
    high: float
    step: float | None
    log: bool

    @property
    def whole(self) -> bool:
        return all(isinstance(number, int) for number in (self.low, self.high, self.step or 1))

    def suggest(self, trial: "optuna.Trial") -> str:
        """The trial's value, as an override has it: of six digits."""
        if self.whole:
            return str(trial.suggest_int(self.key, int(self.low), int(self.high), step=int(self.step or 1), log=self.log))
        return repr(float(f"{trial.suggest_float(self.key, self.low, self.high, step=self.step, log=self.log):.6g}"))

    def examples(self) -> list[str]:
        return [repr(self.low), repr(self.high)]

    def __str__(self) -> str:
        tail = (f", step {self.step:g}" if self.step else "") + (", log" if self.log else "")
        return f"{self.key}: {self.low:g} to {self.high:g}{tail}"


@dataclass(frozen=True, slots=True)
class Choice:
    """Values as overrides have them: of a key, or options of a group."""

    key: str
    texts: tuple[str, ...]

    def suggest(self, trial: "optuna.Trial") -> str:
        return str(trial.suggest_categorical(self.key, self.texts))

    def examples(self) -> list[str]:
        return list(self.texts)

    def __str__(self) -> str:
        return f"{self.key}: {', '.join(self.texts)}"


Dimension = Range | Choice


def read_space(section: Mapping[str, Any] | None) -> list[Dimension]:
    """The dimensions of `sweep.space`, in its order; ConfigError for the first that is not well said, or where there is none."""
    found = [_dimension(key, value) for key, value in _entries(section or {}, "")]
    if not found:
        raise ConfigError(f"sweep.space is empty: say what may vary, in a file of conf/sweep or as in 'sweep.space={EXAMPLE}'")
    keys = [dimension.key for dimension in found]
    if twice := next((key for key in keys if keys.count(key) > 1), None):
        raise ConfigError(f"sweep.space.{twice}: is there twice")
    return found


def _entries(section: Mapping[str, Any], prefix: str) -> Iterator[tuple[str, Any]]:
    """Keys may be dotted or nested: {optimizer.lr: ...} and {optimizer: {lr: ...}} are the same."""
    for key, value in section.items():
        if isinstance(value, Mapping) and value and not {"low", "high"} & value.keys():
            yield from _entries(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def _dimension(key: str, value: Any) -> Dimension:
    if isinstance(value, Mapping):
        return _range(key, value)
    if not isinstance(value, list) or not value:
        guess = nearest(key.rpartition(".")[2], _Range.model_fields)
        hint = f"; did you mean '{guess}'?" if guess else ""
        raise ConfigError(f"sweep.space.{key}={value!r}: expected a list of choices, or a range such as {{low: 0.1, high: 1.0}}{hint}")
    texts = tuple(map(literal, value))
    if len(set(texts)) < len(texts):
        raise ConfigError(f"sweep.space.{key}={value!r}: has a choice twice")
    return Choice(key, texts)


def _range(key: str, value: Mapping[str, Any]) -> Range:
    try:
        given = _Range.model_validate(dict(value))
    except ValidationError as error:
        raise ConfigError(explain(error, _Range, f"sweep.space.{key}")) from None
    low, high, step = given.low, given.high, given.step
    faults = {
        "low below high": not low < high,
        "low above 0 where log is true": given.log and low <= 0,
        "either step or log": given.log and step is not None,
        "step above 0": step is not None and step <= 0,
    }
    fault = next((expected for expected, failed in faults.items() if failed), None)
    if not fault and step is not None and (Decimal(str(high)) - Decimal(str(low))) % Decimal(str(step)):
        fault = "high to be a number of steps from low"
    if fault:
        raise ConfigError(f"sweep.space.{key}={dict(value)!r}: expected {fault}")
    return Range(key, low, high, step, given.log)


def overrides_of(space: Sequence[Dimension], trial: "optuna.Trial") -> list[str]:
    return [f"{dimension.key}={dimension.suggest(trial)}" for dimension in space]


def most_epochs(space: Sequence[Dimension], otherwise: int) -> int:
    """The greatest trainer.max_epochs of any trial."""
    return next((max(int(float(text)) for text in d.examples()) for d in space if d.key == "trainer.max_epochs"), otherwise)


SWEPT = tuple(section for section in SECTIONS if section != "task")
"""The sections that may vary: those that a training reads, but for the task, by which the figure itself would be another."""

COMBINATIONS = 16  # of groups' options, that are composed at most; of more, so many that each option is among them


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
            fix = f"expected a key or group of {', '.join(SWEPT)}"
            raise ConfigError(f"sweep.space.{dimension.key}: trials differ in what a training reads; {fix}")
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
