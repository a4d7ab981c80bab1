"""`models`: what there is to choose from, read from conf/ and from the libraries: models, losses and encoders, with their sizes."""

import sys
import warnings
from collections.abc import Iterable
from contextlib import suppress
from fnmatch import fnmatch
from pathlib import Path

import torch
from rich.console import Console
from rich.table import Table

from seg.configure.compose import compose
from seg.configure.config import Config, checked
from seg.core.environment import conf_folder
from seg.core.errors import ConfigError, InputError, did_you_mean
from seg.data.sample import ClassInfo
from seg.data.store import DatasetInfo
from seg.models.build import build_model
from seg.models.dry_run import freeze_unused
from seg.models.encoders import describe, encoder_names
from seg.settings.section import Params

WIDE = 300
"""Columns where the output is no terminal, so that no row is broken."""


def run(project: Path, arguments: list[str]) -> None:
    """Print the tables. `arguments`: none, or --encoders and a pattern of names."""
    if not arguments:
        show_options(conf_folder(project))
    elif arguments[0] != "--encoders":
        raise ConfigError(f"models: unknown argument {arguments[0]}; {did_you_mean(arguments[0], ['--encoders'], 'arguments')}")
    elif len(arguments) > 2:
        raise ConfigError(f"models --encoders: expected one pattern, got {len(arguments) - 1}; quote it, as in 'tu-resnet*'")
    else:
        show_encoders(arguments[1] if len(arguments) == 2 else None)


def show_options(conf: Path) -> None:
    """Every option of conf/model and conf/loss: a name, its size or settings, and the first line of its file."""
    classes = len(compose(conf, [])[0]["data"]["classes"])
    models = sorted((conf / "model").glob("*.yaml"))
    rows = [row_of(path) for path in models]
    print(f"Models: model=<name>; parameters that learn, with {classes} classes and the settings of conf/model/<name>.yaml\n")
    show(("name", "task", "parameters", "source"), sorted(rows, key=lambda row: (row[1] != "semantic", *row[1::-1])))
    print("\nLosses: loss=<name>\n")
    show(("name", "settings", "source"), [(p.stem, settings_of(p), source_of(p)) for p in sorted((conf / "loss").glob("*.yaml"))])
    print("\nEncoders of models that take an encoder_name: seg models --encoders [PATTERN]")


def row_of(path: Path) -> tuple[str, str, str, str]:
    """A model's name, task, number of parameters and source; or, instead of the source, why it cannot be built."""
    task = "?"
    try:
        task = str(_plain(path).get("task"))
        config = checked(compose(path.parents[1], [f"task={task}", f"model={path.stem}"])[0])
        return path.stem, task, f"{num_parameters(config):,}", source_of(path)
    except InputError as error:
        return path.stem, task, "-", f"cannot be built: {error}"


def num_parameters(config: Config) -> int:
    """The parameters that learn. On the meta device nothing is allocated for them; what cannot be built there is built in memory."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            with torch.device("meta"):
                return _count(config)
        except ConfigError:
            return _count(config)


def _count(config: Config) -> int:
    data = facts(config)
    model = build_model(config, data, pretrained=False)
    with suppress(RuntimeError, ValueError, AssertionError):  # a network for one size of images: all of its parameters are counted
        freeze_unused(model, data.channels, (224, 224))
    return sum(p.numel() for p in model.parameters() if p.requires_grad)


def facts(config: Config) -> DatasetInfo:
    """What a network needs to know of the data set that is configured: its classes and channels."""
    data, ones = config.data, [1.0] * config.data.channels
    classes = [ClassInfo(c.name, (c.color[0], c.color[1], c.color[2])) for c in data.classes]
    return DatasetInfo(data.name, "", classes, data.channels, ones, ones, {"train": {"class_pixels": [1] * len(classes)}}, "")


def show_encoders(pattern: str | None) -> None:
    """Encoders whose name matches (a part of it, or with wildcards); without a pattern all but timm's."""
    names = encoder_names()
    if pattern is None:
        chosen = [name for name in names if not name.startswith("tu-")]
        rest = f"\nand {len(names) - len(chosen)} of timm, as tu-<name>: seg models --encoders 'tu-resnet*'"
    else:
        wanted = pattern if any(c in pattern for c in "*?[") else f"*{pattern}*"
        chosen, rest = [name for name in names if fnmatch(name, wanted)], ""
        if not chosen:
            raise ConfigError(f"models --encoders {pattern}: no encoder's name matches; " + did_you_mean_of(pattern, names))
    print("Encoders: model.network.encoder_name=<name>; parameters, and the strides at which there are features\n")
    show(("name", "parameters", "strides"), [(name, *_described(name)) for name in chosen])
    if rest:
        print(rest)


def did_you_mean_of(pattern: str, names: Iterable[str]) -> str:
    """The nearest names, of too many to list them."""
    from difflib import get_close_matches

    close = get_close_matches(pattern.strip("*"), list(names), n=3, cutoff=0.5)
    return f"did you mean {' or '.join(close)}?" if close else "seg models --encoders lists them"


def _described(name: str) -> tuple[str, str]:
    count, strides = describe(name)
    return (f"{count:,}" if count else "-"), (" ".join(map(str, strides)) if strides else "-")


def settings_of(path: Path) -> str:
    """The keys of an option's call."""
    return ", ".join(key for key in _plain(path) if key not in ("name", "_target_", "defaults")) or "-"


def source_of(path: Path) -> str:
    """The first comment of a file, which says what the option is and where it comes from."""
    first = path.read_text().partition("\n")[0]
    return first.lstrip("# ").strip() if first.startswith("#") else ""


def _plain(path: Path) -> Params:
    from omegaconf import OmegaConf

    try:
        content = OmegaConf.to_container(OmegaConf.load(path))
    except Exception as error:
        raise ConfigError(f"{path}: is not readable as YAML ({' '.join(str(error).split())})") from None
    return content if isinstance(content, dict) else {}  # type: ignore[return-value]


def show(columns: tuple[str, ...], rows: list[tuple[str, ...]]) -> None:
    """An aligned table, numbers to the right; as wide as it has to be where no terminal shows it."""
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for column in columns:
        table.add_column(column, justify="right" if column == "parameters" else "left", overflow="fold")
    for row in rows:
        table.add_row(*row)
    console = Console(width=None if sys.stdout.isatty() else WIDE, highlight=False, markup=False)
    with console.capture() as captured:
        console.print(table)
    print("\n".join(line.rstrip() for line in captured.get().splitlines()))
