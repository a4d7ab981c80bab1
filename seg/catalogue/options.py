"""The options of conf/model and conf/loss: name, size or settings, and the first line of each file."""

import warnings
from contextlib import suppress
from pathlib import Path

import torch

from seg.configure.compose import compose
from seg.configure.config import Config, checked
from seg.core.errors import ConfigError, InputError
from seg.data.sample import ClassInfo
from seg.data.store import DatasetInfo
from seg.models.build import assemble, build_network
from seg.models.dry_run import freeze_unused
from seg.settings.planned import AUTO
from seg.settings.section import Params
from seg.sources.settings import Data


def models_of(conf: Path) -> list[tuple[str, str, str, str]]:
    """Each model's name, task, number of parameters and source; those of task=semantic first."""
    return sorted(map(row_of, sorted((conf / "model").glob("*.yaml"))), key=lambda row: (row[1] != "semantic", *row[1::-1]))


def losses_of(conf: Path) -> list[tuple[str, str, str]]:
    """Each loss's name, settings and source."""
    return [(path.stem, settings_of(path), source_of(path)) for path in sorted((conf / "loss").glob("*.yaml"))]


def row_of(path: Path) -> tuple[str, str, str, str]:
    """A model's name, task, number of parameters (that of `auto` is the plan's) and source; or, in its place, why it cannot be built."""
    task = "?"
    try:
        content = _plain(path)
        tasks = [str(name) for name in content["task"]] if isinstance(content.get("task"), list) else [str(content.get("task"))]
        task = ", ".join(tasks)
        if content.get("network") == AUTO:
            return path.stem, "any", "-", source_of(path)
        config = checked(compose(path.parents[1], [f"task={tasks[0]}", f"model={path.stem}"])[0])
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
    data = facts(config.data)
    model = assemble(config, data, build_network(config, data, None), None, data.mean, data.std)
    with suppress(RuntimeError, ValueError, AssertionError):  # a network for one size of images: all of its parameters are counted
        freeze_unused(model, data.channels, (224, 224))
    return sum(p.numel() for p in model.parameters() if p.requires_grad)


def facts(data: Data) -> DatasetInfo:
    """What a network needs to know of the data set that is configured: its classes and channels."""
    ones = [1.0] * data.channels
    classes = [ClassInfo(c.name, (c.color[0], c.color[1], c.color[2])) for c in data.classes]
    return DatasetInfo(data.name, "", classes, data.channels, ones, ones, {"train": {"class_pixels": [1] * len(classes)}}, "")


def settings_of(path: Path) -> str:
    """The keys of an option's call."""
    return ", ".join(key for key in _plain(path) if key not in ("name", "_target_", "defaults")) or "-"


def source_of(path: Path) -> str:
    """The first comment of a file, which says what the option is and where it comes from."""
    first = path.read_text(encoding="utf-8").partition("\n")[0]
    return first.lstrip("# ").strip() if first.startswith("#") else ""


def _plain(path: Path) -> Params:
    from omegaconf import OmegaConf

    try:
        content = OmegaConf.to_container(OmegaConf.load(path))
    except Exception as error:
        raise ConfigError(f"{path}: is not readable as YAML ({' '.join(str(error).split())})") from None
    return content if isinstance(content, dict) else {}  # type: ignore[return-value]
